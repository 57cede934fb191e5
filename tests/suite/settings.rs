//! The planes' configurations and kubeconfigs.

use std::path::{Path, PathBuf};

use anyhow::Result;
use evenkeel_xtask::cluster::Addon;
use serde_json::{Value, json};

use crate::access::kubeconfig;
use crate::audit;
use crate::engine::Plane;
use crate::proxy::Proxy;
use crate::world::{CLUSTER, ENGINE, TOKEN, World};

/// The password of a user on the bus.
pub(crate) fn password(user: &str) -> String {
    format!("password-of-{user}")
}

fn account(plane: Plane) -> String {
    format!("evenkeel-{}", plane.name())
}

impl World {
    /// Writes the configurations of all planes and of the bus' administrator.
    pub(crate) fn write_configurations(&self, webhook: u16) -> Result<()> {
        std::fs::write(self.dir.path().join("webhook-token"), TOKEN)?;
        for plane in Plane::ALL {
            let kubeconfig = match (plane, &self.proxy) {
                (Plane::Reasoner, _) => None,
                (Plane::Observer | Plane::Gateway, None) => Some(self.kubeconfig_of(plane)?),
                (Plane::Observer | Plane::Gateway, Some(proxy)) => Some(self.kubeconfig_through(proxy, plane)?),
            };
            let mut configuration = self.configuration(plane.name(), kubeconfig.as_deref())?;
            configuration["listen"] = json!(format!("127.0.0.1:{webhook}"));
            configuration["admin"] = json!(self.engine.admin_url(plane)?.trim_start_matches("http://"));
            self.write_configuration(plane, &configuration)?;
        }
        let admin = self.configuration("admin", None)?;
        Ok(std::fs::write(self.dir.path().join("admin.yaml"), serde_json::to_string_pretty(&admin)?)?)
    }

    /// Writes a plane's configuration; it is read when the plane starts.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write_configuration(&self, plane: Plane, configuration: &Value) -> Result<()> {
        Ok(std::fs::write(self.engine.config(plane), serde_json::to_string_pretty(configuration)?)?)
    }

    /// Writes the configuration of one that is to run beside the first of its plane: the same, at an admin port of its
    /// own choice.
    ///
    /// # Errors
    /// The files can't be read or written.
    pub fn write_replica(&self, plane: Plane, number: u8) -> Result<()> {
        let mut configuration = self.read_configuration(plane)?;
        configuration["admin"] = json!("127.0.0.1:0");
        let file = self.engine.config_of(plane, number);
        Ok(std::fs::write(file, serde_json::to_string_pretty(&configuration)?)?)
    }

    /// A plane's configuration as it was written last.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn read_configuration(&self, plane: Plane) -> Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(self.engine.config(plane))?)?)
    }

    /// Puts a proxy before a plane, from its next start on; in a foreign cluster the one that is there already.
    ///
    /// # Errors
    /// The API server gives no token, or no port is free.
    pub async fn behind_proxy(&self, plane: Plane) -> Result<Proxy> {
        let proxy = match &self.proxy {
            Some(proxy) => proxy.clone(),
            None => Proxy::start(self.access.nobody()?).await?,
        };
        let mut configuration = self.read_configuration(plane)?;
        configuration["kubernetes"] = json!({"kubeconfig": self.kubeconfig_through(&proxy, plane)?});
        self.write_configuration(plane, &configuration)?;
        Ok(proxy)
    }

    /// A kubeconfig with a token of the plane's own ServiceAccount, straight to the API server.
    ///
    /// # Errors
    /// The API server gives no token.
    pub fn kubeconfig_of(&self, plane: Plane) -> Result<PathBuf> {
        let kubeconfig = self.access.kubeconfig(&account(plane), &self.token_of(plane)?)?;
        self.write_kubeconfig(&format!("{}.kubeconfig", plane.name()), &kubeconfig)
    }

    fn kubeconfig_through(&self, proxy: &Proxy, plane: Plane) -> Result<PathBuf> {
        let token = self.token_of(plane)?;
        proxy.admit(&token, &audit::user_of(plane));
        let kubeconfig = kubeconfig(json!({"server": proxy.url}), &account(plane), &token);
        self.write_kubeconfig(&format!("{}.proxied.kubeconfig", plane.name()), &kubeconfig)
    }

    fn token_of(&self, plane: Plane) -> Result<String> {
        let account = account(plane);
        let token = self.cluster.kubectl(&["create", "token", &account, "--namespace", ENGINE, "--duration", "1h"])?;
        Ok(token.trim().to_owned())
    }

    pub(crate) fn write_kubeconfig(&self, name: &str, kubeconfig: &Value) -> Result<PathBuf> {
        let file = self.dir.path().join(name);
        std::fs::write(&file, serde_json::to_string(kubeconfig)?)?;
        Ok(file)
    }

    fn configuration(&self, user: &str, kubeconfig: Option<&Path>) -> Result<Value> {
        let file = self.dir.path().join(format!("{user}.password"));
        std::fs::write(&file, password(user))?;
        let mut configuration = json!({
            "cluster": CLUSTER,
            "namespace": ENGINE,
            "mode": self.options.mode,
            "bus": {"jetstream": {"servers": [self.cluster.nats_url()], "user": user, "passwordFile": file}},
            "telemetry": {"otlp": {"endpoint": self.traces.url}, "logs": {"format": "text", "level": "info"}},
            "playbooks": {"from": "cluster"},
            "observer": {"alertmanager": {"bearerTokenFile": self.dir.path().join("webhook-token")}},
            "reasoner": {"recheck": "2s"},
            "gateway": {},
        });
        if let Some(kubeconfig) = kubeconfig {
            configuration["kubernetes"] = json!({"kubeconfig": kubeconfig});
        }
        if self.options.cluster.with.contains(&Addon::Prometheus) {
            // Alerts are to come by the webhook alone: what is tested is Alertmanager's way.
            configuration["observer"]["prometheus"] = json!({"url": self.cluster.prometheus_url(), "alerts": false});
            configuration["gateway"]["prometheusUrl"] = json!(self.cluster.prometheus_url());
        }
        if !self.options.watches {
            configuration["observer"]["kubernetes"] = json!({"signals": false});
        }
        Ok(configuration)
    }
}
