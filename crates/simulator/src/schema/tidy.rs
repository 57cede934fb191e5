//! What decoding into Go types does to an object: unknown fields, nulls and empty lists are not there.

use serde_json::{Map, Value};

use crate::kinds::Kind;

const METADATA: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// The metadata of any object.
pub(crate) fn metadata(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.retain(|name, _| METADATA.contains(&name.as_str()));
        nothings(metadata, &[]);
    }
}

/// An object of a built-in kind.
pub(crate) fn tidy(kind: &Kind, object: &mut Value) {
    metadata(object);
    let Some(map) = object.as_object_mut() else { return };
    let fields = fields(kind);
    map.retain(|name, field| {
        fields.contains(&name.as_str()) && (!field.is_null() || ["data", "eventTime"].contains(&name.as_str()))
    });
    for (name, field) in map {
        match (name.as_str(), field) {
            ("data", _) if kind.kind == "ControllerRevision" => {}
            ("apiVersion" | "kind" | "metadata" | "status", _) => {}
            ("spec", Value::Object(spec)) => {
                if let Some(known) = spec_fields(kind) {
                    spec.retain(|name, _| known.contains(&name.as_str()));
                }
                nothings(spec, &[]);
            }
            (_, Value::Object(inner)) => nothings(inner, &[]),
            (_, Value::Array(list)) => {
                list.iter_mut().filter_map(Value::as_object_mut).for_each(|item| nothings(item, &[]))
            }
            _ => {}
        }
    }
}

/// Fields that are maps, of which an empty one is none. Of other objects an empty one says something.
const MAPS: &[&str] = &[
    "labels",
    "annotations",
    "matchLabels",
    "nodeSelector",
    "limits",
    "requests",
    "hard",
    "capacity",
    "allocatable",
    "overhead",
    "parameters",
];

/// Takes away nulls, empty lists and empty maps, deep down.
fn nothings(map: &mut Map<String, Value>, keep: &[&str]) {
    map.retain(|name, field| match field {
        Value::Null => false,
        Value::Array(list) if list.is_empty() => keep.contains(&name.as_str()),
        Value::Object(inner) => {
            nothings(inner, keep);
            !inner.is_empty() || !MAPS.contains(&name.as_str())
        }
        Value::Array(list) => {
            list.iter_mut().filter_map(Value::as_object_mut).for_each(|item| nothings(item, keep));
            true
        }
        _ => true,
    });
}

/// The fields that an object of a kind has at the top.
fn fields(kind: &Kind) -> &'static [&'static str] {
    match kind.kind.as_str() {
        "ConfigMap" => &["apiVersion", "kind", "metadata", "data", "binaryData", "immutable"],
        "Secret" => &["apiVersion", "kind", "metadata", "data", "stringData", "type", "immutable"],
        "ServiceAccount" => {
            &["apiVersion", "kind", "metadata", "secrets", "imagePullSecrets", "automountServiceAccountToken"]
        }
        "Event" => &[
            "apiVersion",
            "kind",
            "metadata",
            "involvedObject",
            "reason",
            "message",
            "source",
            "firstTimestamp",
            "lastTimestamp",
            "count",
            "type",
            "eventTime",
            "series",
            "action",
            "related",
            "reportingComponent",
            "reportingInstance",
            "note",
            "regarding",
            "reportingController",
            "deprecatedCount",
            "deprecatedFirstTimestamp",
            "deprecatedLastTimestamp",
            "deprecatedSource",
        ],
        "Endpoints" => &["apiVersion", "kind", "metadata", "subsets"],
        "EndpointSlice" => &["apiVersion", "kind", "metadata", "addressType", "endpoints", "ports"],
        "ControllerRevision" => &["apiVersion", "kind", "metadata", "data", "revision"],
        "PriorityClass" => {
            &["apiVersion", "kind", "metadata", "value", "globalDefault", "description", "preemptionPolicy"]
        }
        "StorageClass" => &[
            "apiVersion",
            "kind",
            "metadata",
            "provisioner",
            "parameters",
            "reclaimPolicy",
            "mountOptions",
            "allowVolumeExpansion",
            "volumeBindingMode",
            "allowedTopologies",
        ],
        _ => &["apiVersion", "kind", "metadata", "spec", "status"],
    }
}

/// The fields that a spec has.
fn spec_fields(kind: &Kind) -> Option<&'static [&'static str]> {
    Some(match kind.kind.as_str() {
        "Deployment" => &[
            "replicas",
            "selector",
            "template",
            "strategy",
            "minReadySeconds",
            "revisionHistoryLimit",
            "paused",
            "progressDeadlineSeconds",
        ],
        "ReplicaSet" => &["replicas", "minReadySeconds", "selector", "template"],
        "StatefulSet" => &[
            "replicas",
            "selector",
            "template",
            "volumeClaimTemplates",
            "serviceName",
            "podManagementPolicy",
            "updateStrategy",
            "revisionHistoryLimit",
            "minReadySeconds",
            "persistentVolumeClaimRetentionPolicy",
            "ordinals",
        ],
        "DaemonSet" => &["selector", "template", "updateStrategy", "minReadySeconds", "revisionHistoryLimit"],
        "Job" => &[
            "parallelism",
            "completions",
            "activeDeadlineSeconds",
            "podFailurePolicy",
            "successPolicy",
            "backoffLimit",
            "backoffLimitPerIndex",
            "maxFailedIndexes",
            "selector",
            "manualSelector",
            "template",
            "ttlSecondsAfterFinished",
            "completionMode",
            "suspend",
            "podReplacementPolicy",
            "managedBy",
        ],
        "CronJob" => &[
            "schedule",
            "timeZone",
            "startingDeadlineSeconds",
            "concurrencyPolicy",
            "suspend",
            "jobTemplate",
            "successfulJobsHistoryLimit",
            "failedJobsHistoryLimit",
        ],
        "Pod" => POD,
        "Service" => &[
            "ports",
            "selector",
            "clusterIP",
            "clusterIPs",
            "type",
            "externalIPs",
            "sessionAffinity",
            "loadBalancerIP",
            "loadBalancerSourceRanges",
            "externalName",
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "publishNotReadyAddresses",
            "sessionAffinityConfig",
            "ipFamilies",
            "ipFamilyPolicy",
            "allocateLoadBalancerNodePorts",
            "loadBalancerClass",
            "internalTrafficPolicy",
            "trafficDistribution",
        ],
        "PodDisruptionBudget" => &["minAvailable", "selector", "maxUnavailable", "unhealthyPodEvictionPolicy"],
        "HorizontalPodAutoscaler" => &["scaleTargetRef", "minReplicas", "maxReplicas", "metrics", "behavior"],
        "PersistentVolumeClaim" => &[
            "accessModes",
            "selector",
            "resources",
            "volumeName",
            "storageClassName",
            "volumeMode",
            "dataSource",
            "dataSourceRef",
            "volumeAttributesClassName",
        ],
        "Node" => &["podCIDR", "podCIDRs", "providerID", "unschedulable", "taints", "configSource", "externalID"],
        "Namespace" => &["finalizers"],
        "ResourceQuota" => &["hard", "scopes", "scopeSelector"],
        "LimitRange" => &["limits"],
        _ => return None,
    })
}

/// The fields of a pod's spec.
pub(crate) const POD: &[&str] = &[
    "volumes",
    "initContainers",
    "containers",
    "ephemeralContainers",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "dnsPolicy",
    "nodeSelector",
    "serviceAccountName",
    "serviceAccount",
    "automountServiceAccountToken",
    "nodeName",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "shareProcessNamespace",
    "securityContext",
    "imagePullSecrets",
    "hostname",
    "subdomain",
    "affinity",
    "schedulerName",
    "tolerations",
    "hostAliases",
    "priorityClassName",
    "priority",
    "dnsConfig",
    "readinessGates",
    "runtimeClassName",
    "enableServiceLinks",
    "preemptionPolicy",
    "overhead",
    "topologySpreadConstraints",
    "setHostnameAsFQDN",
    "os",
    "hostUsers",
    "schedulingGates",
    "resourceClaims",
    "resources",
    "hostnameOverride",
];
