//! Installing: custom resources, identities, configuration files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Plane, Settings, evenkeel};
use crate::cluster::Cluster;

/// The bus' administrator, who creates streams and sees everything.
pub(super) const ADMIN: &str = "admin";

pub(super) fn config_file(dir: &Path, who: &str) -> PathBuf {
    dir.join(format!("{who}.yaml"))
}

pub(super) fn install(
    cluster: &Cluster,
    settings: &Settings,
    dir: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let made = |arguments: &[&str]| evenkeel(&settings.program, arguments, |command| command);
    cluster.kubectl_with(&["apply", "--server-side", "-f", "-"], &made(&["crds"])?)?;
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"])?;
    cluster.kubectl(&["create", "namespace", &settings.namespace])?;
    cluster.kubectl_with(&["apply", "-f", "-"], &made(&["rbac", "--namespace", &settings.namespace])?)?;
    // Without these nobody can approve or ask for anything. What holds the gateway to policies is left out: they
    // change while it is tried out.
    let own = made(&["policy", "admission", "--own", "--namespace", &settings.namespace])?;
    cluster.kubectl_with(&["apply", "-f", "-"], &own)?;

    let secrets = settings.passwords.iter().map(|(user, password)| (format!("{user}.password"), password));
    for (file, secret) in secrets.chain([("webhook-token".to_owned(), &settings.token)]) {
        std::fs::write(dir.join(&file), secret).with_context(|| format!("writing {file}"))?;
    }
    let server = api_server(cluster)?;
    let writer = Writer { cluster, settings, dir, environment };
    for plane in Plane::ALL {
        let kubeconfig = match plane {
            // It has no credential for the cluster.
            Plane::Reasoner => None,
            Plane::Observer | Plane::Gateway => Some(writer.kubeconfig(plane, &server)?),
        };
        let mut configuration = writer.configuration(plane.name(), kubeconfig.as_deref());
        let own = json!({
            "listen": settings.listen(),
            "admin": format!("127.0.0.1:{}", settings.admin_port(plane)),
        });
        lay_over(&mut configuration, &own);
        write_json(&config_file(dir, plane.name()), &configuration)?;
    }
    write_json(&config_file(dir, ADMIN), &writer.configuration(ADMIN, Some(&cluster.kubeconfig())))
}

/// The cluster's entry of the administrator's kubeconfig: its address and certificate authority.
fn api_server(cluster: &Cluster) -> Result<Value> {
    let text = cluster.kubectl(&["config", "view", "--raw", "--minify", "-o", "json"])?;
    let kubeconfig: Value = serde_json::from_str(&text)?;
    kubeconfig.pointer("/clusters/0/cluster").cloned().context("the kubeconfig has no cluster")
}

struct Writer<'a> {
    cluster: &'a Cluster,
    settings: &'a Settings,
    dir: &'a Path,
    environment: &'a BTreeMap<String, String>,
}

impl Writer<'_> {
    /// A kubeconfig with a token of the plane's own ServiceAccount.
    fn kubeconfig(&self, plane: Plane, server: &Value) -> Result<PathBuf> {
        let account = format!("evenkeel-{plane}");
        let namespace = self.settings.namespace.as_str();
        let token =
            self.cluster.kubectl(&["create", "token", &account, "--namespace", namespace, "--duration", "24h"])?;
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": server}],
            "users": [{"name": account, "user": {"token": token.trim()}}],
            "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": account}}],
            "current-context": "cluster",
        });
        let file = self.dir.join(format!("{plane}.kubeconfig"));
        write_json(&file, &kubeconfig)?;
        Ok(file)
    }

    fn configuration(&self, user: &str, kubeconfig: Option<&Path>) -> Value {
        let servers = [self.cluster.nats_url()];
        let file = self.dir.join(format!("{user}.password"));
        let mut configuration = json!({
            "cluster": self.settings.cluster,
            "namespace": self.settings.namespace,
            "mode": self.settings.mode.name(),
            "bus": {"jetstream": {"servers": servers, "user": format!("evenkeel-{user}"), "passwordFile": file}},
            "telemetry": {"logs": {"format": "text", "level": "info"}},
            "observer": {"alertmanager": {"bearerTokenFile": self.dir.join("webhook-token")}},
        });
        if let Some(kubeconfig) = kubeconfig {
            lay_over(&mut configuration, &json!({"kubernetes": {"kubeconfig": kubeconfig}}));
        }
        let alertmanager = self.cluster.alertmanager_urls().first().cloned();
        let has_alertmanager = self.environment.contains_key("ALERTMANAGER_URL");
        if self.environment.contains_key("PROMETHEUS_URL") {
            let url = self.cluster.prometheus_url();
            // What an Alertmanager posts need not be polled.
            let prometheus = json!({"url": url, "alerts": !has_alertmanager});
            let both = json!({"observer": {"prometheus": prometheus}, "gateway": {"prometheusUrl": url}});
            lay_over(&mut configuration, &both);
        }
        if let Some(url) = alertmanager.filter(|_| has_alertmanager) {
            lay_over(&mut configuration, &json!({"observer": {"alertmanager": {"url": url}}}));
        }
        lay_over(&mut configuration, &self.settings.overrides);
        configuration
    }
}

/// Lays `over` over a document: objects key by key, anything else as a whole.
fn lay_over(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

/// JSON is YAML.
pub(super) fn write_json(file: &Path, value: &Value) -> Result<()> {
    std::fs::write(file, serde_json::to_string_pretty(value)?).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_laid_over_keeps_what_it_does_not_name() {
        let mut document = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        lay_over(&mut document, &json!({"a": {"c": 3, "e": {"f": 4}}, "d": []}));
        assert_eq!(document, json!({"a": {"b": 1, "c": 3, "e": {"f": 4}}, "d": []}));
    }
}
