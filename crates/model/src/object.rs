use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::digest_parts;

macro_rules! kinds {
    ($($kind:ident => $group:literal, $version:literal, $plural:literal, $namespaced:literal;)+) => {
        /// The kinds of object that a signal can be about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Kind {
            $(#[doc = concat!("`", stringify!($kind), "`")] $kind,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// API group; empty for the core group.
            pub fn group(self) -> &'static str { match self { $(Self::$kind => $group,)+ } }
            /// API version.
            pub fn version(self) -> &'static str { match self { $(Self::$kind => $version,)+ } }
            /// Resource name in the API's paths and RBAC.
            pub fn plural(self) -> &'static str { match self { $(Self::$kind => $plural,)+ } }
            /// Whether its objects live in a namespace.
            pub fn is_namespaced(self) -> bool { match self { $(Self::$kind => $namespaced,)+ } }
            /// The name as Kubernetes writes it.
            pub fn as_str(self) -> &'static str { match self { $(Self::$kind => stringify!($kind),)+ } }
        }
    };
}

kinds! {
    Pod => "", "v1", "pods", true;
    Node => "", "v1", "nodes", false;
    Service => "", "v1", "services", true;
    PersistentVolumeClaim => "", "v1", "persistentvolumeclaims", true;
    PersistentVolume => "", "v1", "persistentvolumes", false;
    ResourceQuota => "", "v1", "resourcequotas", true;
    ConfigMap => "", "v1", "configmaps", true;
    Secret => "", "v1", "secrets", true;
    Namespace => "", "v1", "namespaces", false;
    Deployment => "apps", "v1", "deployments", true;
    ReplicaSet => "apps", "v1", "replicasets", true;
    StatefulSet => "apps", "v1", "statefulsets", true;
    DaemonSet => "apps", "v1", "daemonsets", true;
    Job => "batch", "v1", "jobs", true;
    CronJob => "batch", "v1", "cronjobs", true;
    HorizontalPodAutoscaler => "autoscaling", "v2", "horizontalpodautoscalers", true;
    PodDisruptionBudget => "policy", "v1", "poddisruptionbudgets", true;
    APIService => "apiregistration.k8s.io", "v1", "apiservices", false;
}

impl Kind {
    /// `v1`, `apps/v1`, …
    pub fn api_version(self) -> String {
        if self.group().is_empty() { self.version().to_owned() } else { format!("{}/{}", self.group(), self.version()) }
    }

    /// Deployment, StatefulSet or DaemonSet: what has a pod template and revisions.
    pub fn is_workload(self) -> bool {
        matches!(self, Self::Deployment | Self::StatefulSet | Self::DaemonSet)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Takes the kind, its plural or its singular in any case: `Deployment`, `deployments`, `deployment`.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(s) || kind.plural().eq_ignore_ascii_case(s))
            .copied()
            .ok_or_else(|| UnknownKind(s.to_owned()))
    }
}

/// A kind that signals can't be about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a kind such as Deployment, Pod or Node, found {0:?}")]
pub struct UnknownKind(pub String);

/// One object of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; absent for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its uid, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl ObjectRef {
    /// An object in a namespace.
    pub fn namespaced(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: Some(namespace.into()), name: name.into(), uid: None }
    }

    /// A cluster-scoped object.
    pub fn cluster_scoped(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, namespace: None, name: name.into(), uid: None }
    }

    /// The same object with its uid.
    #[must_use]
    pub fn with_uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = Some(uid.into());
        self
    }

    /// Key of the object by name, without its uid, as lower-case hexadecimal: what incidents and
    /// claims are kept under. Kubernetes names contain characters that NATS keys can't.
    pub fn key(&self, cluster: &str) -> String {
        let mut key =
            digest_parts([cluster, self.kind.as_str(), self.namespace.as_deref().unwrap_or_default(), &self.name]);
        key.truncate(40);
        key
    }

    /// Whether both mean the same object; uids are compared where both have one.
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.namespace == other.namespace
            && self.name == other.name
            && (self.uid.is_none() || other.uid.is_none() || self.uid == other.uid)
    }
}

impl fmt::Display for ObjectRef {
    /// `deployment/shop/cart`, `node/worker-1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str().to_ascii_lowercase();
        match &self.namespace {
            Some(namespace) => write!(f, "{kind}/{namespace}/{}", self.name),
            None => write!(f, "{kind}/{}", self.name),
        }
    }
}

impl FromStr for ObjectRef {
    type Err = BadObjectRef;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || BadObjectRef(s.to_owned());
        let parts: Vec<&str> = s.split('/').collect();
        let (kind, namespace, name) = match parts.as_slice() {
            [kind, name] => (*kind, None, *name),
            [kind, namespace, name] => (*kind, Some((*namespace).to_owned()), *name),
            _ => return Err(bad()),
        };
        let kind: Kind = kind.parse().map_err(|_| bad())?;
        if name.is_empty() || kind.is_namespaced() != namespace.is_some() {
            return Err(bad());
        }
        Ok(Self { kind, namespace, name: name.to_owned(), uid: None })
    }
}

/// Text that names no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected KIND/NAMESPACE/NAME (deployment/shop/cart) or KIND/NAME (node/worker-1), found {0:?}")]
pub struct BadObjectRef(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_back() {
        for text in ["deployment/shop/cart", "node/worker-1", "horizontalpodautoscaler/a/b"] {
            assert_eq!(text.parse::<ObjectRef>().unwrap().to_string(), text);
        }
        for text in ["deployment/cart", "node/a/b", "x/y/z", "deployment", "deployment/shop/"] {
            assert!(text.parse::<ObjectRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn another_uid_is_another_object() {
        let a = ObjectRef::namespaced(Kind::Pod, "shop", "cart-1").with_uid("1");
        let b = ObjectRef::namespaced(Kind::Pod, "shop", "cart-1").with_uid("2");
        assert!(!a.is_same(&b));
        assert!(a.is_same(&ObjectRef::namespaced(Kind::Pod, "shop", "cart-1")));
    }
}
