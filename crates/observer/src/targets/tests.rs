use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::DateTime;
use evenkeel_model::SignalState;
use k8s_openapi::api::{apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch, core::v1 as core};
use serde_json::json;

use super::*;
use crate::world::fixture::{deployment, node, pod, put, replica_set};

const SHIPPED: &str = include_str!("../../data/alerts.tsv");

fn resolve(labels: &[(&str, &str)], annotations: &[(&str, &str)], world: &World) -> Subject {
    let resolver = Resolver::new(crate::config::Targets::default().exporters).unwrap();
    let alert = Alert {
        state: SignalState::Firing,
        labels: Labels::from_pairs(labels.iter().copied()),
        annotations: Labels::from_pairs(annotations.iter().copied()),
        starts_at: DateTime::UNIX_EPOCH,
        ends_at: None,
        fingerprint: Cow::Borrowed(""),
    };
    resolver.resolve(&alert, world)
}

fn target(labels: &[(&str, &str)]) -> Option<String> {
    resolve(labels, &[], &World::default()).target.map(|target| target.to_string())
}

fn root(labels: &[(&str, &str)], world: &World) -> Option<String> {
    resolve(labels, &[], world).root.map(|target| target.to_string())
}

/// Labels as the alert of a row really carries them, the exporter's own among them.
fn labels_of(alert: &str, subject: &str, exporter: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([("alertname".to_owned(), alert.to_owned())]);
    if exporter.starts_with("+exporter") {
        for (name, value) in [
            ("job", "kube-state-metrics"),
            ("instance", "10.1.2.3:8080"),
            ("endpoint", "http"),
            ("service", "kps-kube-state-metrics"),
        ] {
            labels.insert(name.to_owned(), value.to_owned());
        }
        if exporter.contains("pod*") {
            labels.insert("pod".to_owned(), "kps-kube-state-metrics-7d4b9-x2x".to_owned());
            labels.insert("container".to_owned(), "kube-state-metrics".to_owned());
        }
    }
    // `cluster,instance,job(,service) |static: long=1h short=5m`
    let names = subject.split('|').next().unwrap_or_default().replace(['(', ')'], ",").replace('/', ",");
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty() && !name.contains(' ')) {
        let value = match name {
            "namespace" => "shop",
            "instance" => "10.0.0.5:10250",
            "job" => "kubelet",
            "uid" => "0a1b",
            "name" => "v1beta1.metrics.k8s.io",
            "pod" if alert == "KubeProxyInstanceUnreachable" => "kube-proxy-abcde",
            "pod" => "cart-7d4b9-x2x",
            "node" => "node-1",
            "job_name" => "tidy-1",
            name => name,
        };
        labels.insert(name.to_owned(), value.to_owned());
    }
    labels
}

#[test]
fn every_shipped_alert_is_about_what_it_says_and_never_about_the_exporter() {
    let mut about: Vec<String> = Vec::new();
    for line in SHIPPED.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let (alert, kind, subject, exporter) = (cells[0], cells[4], cells[6], cells[7]);
        let labels = labels_of(alert, subject, exporter);
        let pairs: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut world = World::default();
        put::<core::Node>(&mut world, &node("node-1", "True", 0));
        let target = resolve(&pairs, &[], &world).target;
        assert_eq!(target.as_ref().map_or("-", |target| target.kind.as_str()), kind, "{alert}: {labels:?}");
        let text = target.map_or_else(|| "-".to_owned(), |target| target.to_string());
        assert!(!text.contains("kube-state-metrics"), "{alert}: {text}");
        about.push(format!("{alert}\t{text}"));
    }
    assert_eq!(about.len(), 65);
    insta::assert_snapshot!(about.join("\n"));
}

#[test]
fn without_the_label_of_its_kind_a_shipped_alert_is_about_nothing() {
    let exporter = [("namespace", "monitoring"), ("pod", "kube-state-metrics-1"), ("service", "kube-state-metrics")];
    for alert in ["KubeDeploymentReplicasMismatch", "KubeNodeNotReady", "KubeJobFailed", "KubeHpaMaxedOut"] {
        let mut labels = exporter.to_vec();
        labels.push(("alertname", alert));
        assert_eq!(target(&labels), None, "{alert}");
    }
    assert_eq!(target(&[("alertname", "KubePodCrashLooping"), ("pod", "cart-1")]), None, "no namespace");
    let odd = [("alertname", "KubeDeploymentRolloutStuck"), ("namespace", "shop"), ("deployment", "../secrets/x")];
    assert_eq!(target(&odd), None, "no name");
}

#[test]
fn what_the_exporter_said_goes_before_what_the_scrape_put_in_its_place() {
    let labels = [
        ("alertname", "KubePodCrashLooping"),
        ("namespace", "monitoring"),
        ("pod", "kube-state-metrics-1"),
        ("exported_namespace", "shop"),
        ("exported_pod", "cart-1"),
    ];
    assert_eq!(target(&labels).unwrap(), "pod/shop/cart-1");
}

#[test]
fn alerts_of_ones_own_are_resolved_by_labels_in_order_of_trust() {
    let of = |labels: &[(&str, &str)]| {
        let mut all = vec![("alertname", "CartIsSlow"), ("namespace", "shop"), ("job", "cart"), ("service", "cart")];
        all.extend(labels);
        target(&all)
    };
    assert_eq!(of(&[]), None, "a scrape job is no Job");
    assert_eq!(of(&[("pod", "cart-1"), ("deployment", "cart")]).unwrap(), "deployment/shop/cart");
    assert_eq!(of(&[("pod", "cart-1"), ("statefulset", "db")]).unwrap(), "statefulset/shop/db");
    assert_eq!(of(&[("pod", "cart-1"), ("daemonset", "log")]).unwrap(), "daemonset/shop/log");
    assert_eq!(of(&[("pod", "cart-1"), ("job_name", "tidy-1")]).unwrap(), "job/shop/tidy-1");
    assert_eq!(of(&[("pod", "x-1"), ("cronjob", "tidy")]).unwrap(), "cronjob/shop/tidy");
    assert_eq!(of(&[("horizontalpodautoscaler", "cart")]).unwrap(), "horizontalpodautoscaler/shop/cart");
    assert_eq!(of(&[("persistentvolumeclaim", "data"), ("node", "n")]).unwrap(), "persistentvolumeclaim/shop/data");
    assert_eq!(of(&[("poddisruptionbudget", "cart")]).unwrap(), "poddisruptionbudget/shop/cart");
    assert_eq!(of(&[("node", "node-1"), ("pod", "cart-1")]).unwrap(), "node/node-1");
    assert_eq!(of(&[("pod", "cart-1")]).unwrap(), "pod/shop/cart-1", "an application's own metric");
    for exporter in
        ["kube-state-metrics-1", "kps-kube-state-metrics-7d-x", "kps-prometheus-node-exporter-x", "redis-exporter-1"]
    {
        assert_eq!(of(&[("pod", exporter)]), None, "{exporter}");
        assert_eq!(of(&[("pod", exporter), ("node", "node-1")]).unwrap(), "node/node-1");
    }
}

#[test]
fn a_node_label_beside_a_pod_that_runs_there_is_where_not_what() {
    let mut world = World::default();
    put::<core::Node>(&mut world, &node("node-1", "True", 0));
    put::<core::Pod>(&mut world, &pod("cart-1", None));
    let labels = [("alertname", "CartIsSlow"), ("namespace", "shop"), ("pod", "cart-1"), ("node", "node-1")];
    assert_eq!(resolve(&labels, &[], &world).target.unwrap().to_string(), "pod/shop/cart-1");
}

#[test]
fn an_annotation_names_the_target_and_one_that_can_not_be_read_names_none() {
    let world = World::default();
    let labels = [("alertname", "CartIsSlow"), ("namespace", "shop"), ("pod", "cart-1")];
    for name in TARGET_ANNOTATIONS {
        let found = resolve(&labels, &[(name, "deployment/shop/cart")], &world).target.unwrap();
        assert_eq!(found.to_string(), "deployment/shop/cart");
        assert_eq!(resolve(&labels, &[(name, "the cart")], &world).target, None);
    }
}

#[test]
fn roots_are_climbed_by_owners_and_never_guessed_from_names() {
    let mut world = World::default();
    put::<apps::Deployment>(&mut world, &deployment("cart", 1, 1));
    put::<apps::ReplicaSet>(&mut world, &replica_set("cart", "cart-7d4b9", 1, 1));
    put::<core::Pod>(&mut world, &pod("cart-7d4b9-x2x", Some(("ReplicaSet", "cart-7d4b9", "uid-cart-7d4b9"))));
    put::<core::Pod>(&mut world, &pod("bare", None));
    put::<core::Pod>(&mut world, &pod("orphan-1", Some(("ReplicaSet", "orphan", "uid-orphan"))));
    put::<core::Pod>(&mut world, &pod("tidy-1-x", Some(("Job", "tidy-1", "uid-tidy-1"))));
    let owner = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "tidy", "uid": "u", "controller": true}]);
    put::<batch::Job>(
        &mut world,
        &json!({"metadata": {"name": "tidy-1", "namespace": "shop", "uid": "uid-tidy-1",
        "ownerReferences": owner}}),
    );
    put::<autoscaling::HorizontalPodAutoscaler>(
        &mut world,
        &json!({
        "metadata": {"name": "cart", "namespace": "shop", "uid": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart"}}}),
    );
    let of = |pod| root(&[("alertname", "KubePodCrashLooping"), ("namespace", "shop"), ("pod", pod)], &world);
    assert_eq!(of("cart-7d4b9-x2x").unwrap(), "deployment/shop/cart");
    assert_eq!(of("bare").unwrap(), "pod/shop/bare");
    assert_eq!(of("tidy-1-x").unwrap(), "job/shop/tidy-1", "what deleteJob acts on");
    assert_eq!(of("orphan-1"), None, "its ReplicaSet is not known yet");
    assert_eq!(of("cart-7d4b9-gone"), None, "not known");
    let hpa = [("alertname", "KubeHpaMaxedOut"), ("namespace", "shop"), ("horizontalpodautoscaler", "cart")];
    assert_eq!(root(&hpa, &world).unwrap(), "deployment/shop/cart");
    let known = [("alertname", "KubeDeploymentRolloutStuck"), ("namespace", "shop"), ("deployment", "cart")];
    assert_eq!(resolve(&known, &[], &world).target.unwrap().uid.unwrap(), "uid-cart");
    let other = [("alertname", "KubePodCrashLooping"), ("namespace", "shop"), ("pod", "cart-7d4b9-x2x"), ("uid", "0b")];
    let other = resolve(&other, &[], &world);
    assert_eq!((other.target.unwrap().uid.unwrap().as_str(), other.root), ("0b", None), "another pod of its name");
}

#[test]
fn a_pod_on_a_node_that_is_not_ready_may_suffer_from_it() {
    let mut world = World::default();
    put::<core::Node>(&mut world, &node("node-1", "Unknown", 0));
    put::<core::Pod>(&mut world, &pod("cart-1", None));
    let found = resolve(&[("alertname", "KubePodNotReady"), ("namespace", "shop"), ("pod", "cart-1")], &[], &world);
    assert_eq!(found.causes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["node/node-1"]);
}

#[test]
fn a_kubelets_address_names_its_node() {
    let mut world = World::default();
    put::<core::Node>(&mut world, &node("node-1", "True", 0));
    let of = |instance| {
        let labels = [("alertname", "KubeletInstanceUnreachable"), ("instance", instance)];
        resolve(&labels, &[], &world).target.map(|target| target.to_string())
    };
    assert_eq!(of("10.0.0.5:10250").unwrap(), "node/node-1");
    assert_eq!(of("node-1").unwrap(), "node/node-1");
    assert_eq!((of("10.0.0.6:10250"), of("[fd00::5]:10250")), (None, None));
    put::<core::Node>(&mut world, &node("node-2", "True", 0));
    let labels = [("alertname", "KubeletInstanceUnreachable"), ("instance", "10.0.0.5:10250")];
    assert_eq!(resolve(&labels, &[], &world).target, None, "two nodes say they have it");
}

#[test]
fn hosts_of_addresses() {
    for (address, expected) in [("a:1", "a"), ("a", "a"), ("[fd00::5]:1", "fd00::5"), ("fd00::5", "fd00::5"), ("", "")]
    {
        assert_eq!(host(address), expected);
    }
}
