//! The configuration files of a cluster's services.

use std::fmt::Write;

use anyhow::Result;

use super::faults;
use super::options::Addon;
use super::plan::{Plan, write};
use crate::proc::Identity;

const AUDIT_POLICY: &str = include_str!("../../../../tests/cluster/audit-policy.yaml");
const KWOK: &str = include_str!("../../../../tests/cluster/kwok.yaml");
const KWOK_PODS: &str = include_str!("../../../../tests/cluster/kwok-pods.yaml");
const KWOK_METRICS: &str = include_str!("../../../../tests/cluster/kwok-metrics.yaml");
const RBAC: &str = include_str!("../../../../tests/cluster/rbac.yaml");
const KWOK_NODE: &str = include_str!("../../../../tests/cluster/kwok-node.yaml");

/// Alertmanager's configuration when the caller has none: alerts are taken and go nowhere.
const NO_RECEIVER: &str = "route: {receiver: none}\nreceivers: [{name: none}]\n";

/// Writes every file below `config/` that the cluster's programs read.
pub(super) fn create(plan: &Plan) -> Result<()> {
    let config = plan.path("config");
    write(&config.join("prometheus.yaml"), prometheus(plan))?;
    write(&config.join("rules.yaml"), plan.options.prometheus_rules.as_deref().unwrap_or("groups: []\n"))?;
    write(&config.join("alertmanager.yaml"), plan.options.alertmanager_config.as_deref().unwrap_or(NO_RECEIVER))?;
    create_env(plan, None)?;
    if plan.options.foreign_kubeconfig().is_some() {
        return Ok(());
    }
    for (name, text) in [
        ("audit-policy.yaml", AUDIT_POLICY),
        ("kwok.yaml", KWOK),
        ("kwok-pods.yaml", KWOK_PODS),
        ("kwok-faults.yaml", &faults::stages()),
        ("kwok-metrics.yaml", KWOK_METRICS),
        ("rbac.yaml", RBAC),
    ] {
        write(&config.join(name), text)?;
    }
    write(&config.join("nodes.yaml"), fake_nodes(plan.options.kwok_nodes(), plan.options.is_real()))
}

/// Writes `env`, which a shell can read.
pub(super) fn create_env(plan: &Plan, namespaces: Option<&Identity>) -> Result<()> {
    let mut shell = String::new();
    for (name, value) in plan.environment(namespaces) {
        writeln!(shell, "export {name}='{value}'")?;
    }
    write(&plan.path("env"), shell)
}

/// Beside a real node, fake ones are tainted, so that pods that should run do.
fn fake_nodes(count: u32, beside_real: bool) -> String {
    let taints = if beside_real { "[{key: kwok.x-k8s.io/node, value: fake, effect: NoSchedule}]" } else { "[]" };
    (0..count).map(|n| KWOK_NODE.replace("@N@", &n.to_string()).replace("@TAINTS@", taints)).collect()
}

/// Scrapes the exporter, and the annotated pods of a real node; a fake node's pods have no network to scrape over.
fn prometheus(plan: &Plan) -> String {
    let mut text = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s, scrape_timeout: 1s}}\n\
         rule_files: [{rules}]\n\
         scrape_configs:\n\
         - job_name: kube-state-metrics\n\
         \x20 honor_labels: true\n\
         \x20 static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]\n",
        rules = plan.text("config/rules.yaml"),
        exporter = plan.ports.exporter,
    );
    if plan.options.is_real() {
        text.push_str(&format!(
            "- job_name: pods\n\
             \x20 kubernetes_sd_configs: [{{role: pod, kubeconfig_file: {kubeconfig}}}]\n\
             \x20 relabel_configs:\n\
             \x20 - {{source_labels: [__meta_kubernetes_pod_node_name], regex: real-node, action: keep}}\n\
             \x20 - {{source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: 'true', action: keep}}\n\
             \x20 - {{source_labels: [__meta_kubernetes_pod_phase], regex: 'Succeeded|Failed', action: drop}}\n\
             \x20 - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]\n\
             \x20   regex: (.+);(\\d+)\n\
             \x20   replacement: $1:$2\n\
             \x20   target_label: __address__\n\
             \x20 - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}\n\
             \x20 - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}\n\
             \x20 - {{source_labels: [__meta_kubernetes_pod_label_app], target_label: app}}\n",
            kubeconfig = plan.kubeconfig("admin").display(),
        ));
    }
    if plan.options.has(Addon::Alertmanager) {
        let used = plan.ports.alertmanagers.iter().take(usize::from(plan.options.alertmanagers));
        let targets: Vec<String> = used.map(|(port, _)| format!("'127.0.0.1:{port}'")).collect();
        text.push_str(&format!(
            "alerting:\n  alertmanagers:\n  - static_configs: [{{targets: [{}]}}]\n",
            targets.join(", ")
        ));
    }
    text
}

/// An Alertmanager configuration that sends everything to one webhook, soon and often.
#[must_use]
pub fn webhook_receiver(url: &str, bearer_token: &str) -> String {
    format!(
        "route:\n\
         \x20 receiver: webhook\n\
         \x20 group_by: [alertname, namespace]\n\
         \x20 group_wait: 1s\n\
         \x20 group_interval: 1s\n\
         \x20 repeat_interval: 1m\n\
         receivers:\n\
         - name: webhook\n\
         \x20 webhook_configs:\n\
         \x20 - url: '{url}'\n\
         \x20   send_resolved: true\n\
         \x20   http_config: {{authorization: {{type: Bearer, credentials: '{bearer_token}'}}}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fake_nodes_are_tainted_only_beside_a_real_one() {
        assert!(fake_nodes(2, true).contains("NoSchedule"));
        let alone = fake_nodes(2, false);
        assert!(alone.contains("kwok-node-1") && !alone.contains("NoSchedule") && !alone.contains('@'));
    }

    #[test]
    fn the_webhook_gets_its_token_and_resolved_alerts() {
        let text = webhook_receiver("http://127.0.0.1:1/x", "t");
        assert!(text.contains("credentials: 't'") && text.contains("send_resolved: true"));
    }
}
