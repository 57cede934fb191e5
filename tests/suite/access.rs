//! The way to an API server that a kubeconfig describes: whose certificate, through which proxy, by what name.

use std::path::Path;

use anyhow::{Context as _, Result};
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

/// An API server and its administrator, as a kubeconfig of whatever kind has them.
#[derive(Debug)]
pub struct Access {
    cluster: Cluster,
    config: Config,
}

impl Access {
    /// Reads a kubeconfig's current context. Files that it names are found beside it; a login plugin is run.
    ///
    /// # Errors
    /// It can't be read, names no cluster, or its user can't log in.
    pub async fn read(kubeconfig: &Path) -> Result<Self> {
        let name = kubeconfig.display();
        let loaded = Kubeconfig::read_from(kubeconfig).with_context(|| format!("{name}"))?;
        let cluster = current(&loaded)
            .with_context(|| format!("{name}: expected a current-context that names a cluster of the file"))?;
        let mut config = Config::from_custom_kubeconfig(loaded, &KubeConfigOptions::default())
            .await
            .with_context(|| format!("{name}"))?;
        // A watch may be silent for as long as it likes.
        config.read_timeout = None;
        Ok(Self { cluster, config })
    }

    /// The administrator's client.
    ///
    /// # Errors
    /// A certificate can't be used.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config.clone())?)
    }

    /// A client without any credential, for requests that bring their own. It sends each once.
    ///
    /// # Errors
    /// A certificate can't be used.
    pub fn nobody(&self) -> Result<Client> {
        let mut config = self.config.clone();
        config.auth_info = AuthInfo::default();
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }

    /// A kubeconfig of somebody with a token.
    ///
    /// # Errors
    /// The cluster's entry can't be written as JSON.
    pub fn kubeconfig(&self, user: &str, token: &str) -> Result<Value> {
        Ok(kubeconfig(serde_json::to_value(&self.cluster)?, user, token))
    }
}

/// A kubeconfig of somebody with a token; `cluster` is its entry for the cluster.
pub fn kubeconfig(cluster: Value, user: &str, token: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "current-context": "test",
    })
}

fn current(kubeconfig: &Kubeconfig) -> Option<Cluster> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == *current)?.context.as_ref()?;
    kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?.cluster.clone()
}
