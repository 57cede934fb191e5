//! What is done to a world from outside: manifests applied, Deployments made and broken, as people and pipelines do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use evenkeel_xtask::cluster::{PREFIX, webhook_receiver};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::PostParams;
use serde_json::Value;

use crate::foreign;
use crate::wait::eventually;
use crate::world::{TOKEN, World};

impl World {
    /// Applies a manifest as administrator.
    ///
    /// # Errors
    /// The API server refuses it.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        let manifest = foreign::labelled(&self.cluster, &self.pulled(manifest))?;
        self.cluster.kubectl_with(&["apply", "-f", "-"], &manifest).map(drop)
    }

    /// Sends the Alertmanagers' alerts to the observer.
    ///
    /// # Errors
    /// An Alertmanager does not come up.
    pub fn route_alerts(&self) -> Result<()> {
        let url = format!("{}/webhooks/alertmanager", self.engine.webhook);
        self.cluster.set_alertmanager_config(&webhook_receiver(&url, TOKEN))
    }

    /// Creates a Deployment and waits until all its replicas are available.
    ///
    /// # Errors
    /// They do not come up.
    pub async fn deploy(&self, manifest: &Value) -> Result<()> {
        let mut deployment: Deployment = serde_json::from_str(&self.pulled(&manifest.to_string()))?;
        if self.cluster.is_foreign() {
            // Which of its nodes are real is not known to us, and all may be.
            let pod = deployment.spec.as_mut().and_then(|spec| spec.template.spec.as_mut());
            pod.context("the Deployment has no pods")?.node_selector = None;
        }
        let namespace = deployment.metadata.namespace.clone().context("the Deployment has no namespace")?;
        let name = deployment.metadata.name.clone().context("the Deployment has no name")?;
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &namespace);
        api.create(&PostParams::default(), &deployment).await?;
        self.available(&namespace, &name, Duration::from_secs(60)).await
    }

    /// Waits until a Deployment's rollout is complete.
    ///
    /// # Errors
    /// It is not in time.
    pub async fn available(&self, namespace: &str, name: &str, within: Duration) -> Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        eventually(&format!("deployment {namespace}/{name} to be available"), within, || async {
            let found = api.get(name).await?;
            let desired = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let status = found.status.unwrap_or_default();
            let observed = status.observed_generation >= found.metadata.generation;
            let all = |count: Option<i32>| count.unwrap_or(0) == desired;
            let whole =
                observed && all(status.updated_replicas) && all(status.available_replicas) && all(status.replicas);
            Ok(whole.then_some(()))
        })
        .await
    }

    /// The image a Deployment asks for, as `registry.example/…` wherever it is pulled from.
    ///
    /// # Errors
    /// There is no such Deployment.
    pub async fn image(&self, namespace: &str, name: &str) -> Result<String> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get(name).await?;
        let containers = found.spec.and_then(|spec| spec.template.spec).map(|spec| spec.containers).unwrap_or_default();
        let image = containers.into_iter().next().and_then(|container| container.image).context("no image")?;
        let below = image.strip_prefix(&self.image_prefix).and_then(|rest| rest.strip_prefix('/'));
        Ok(below.map_or_else(|| image.clone(), |below| format!("{PREFIX}/{below}")))
    }

    /// Sets a Deployment's image, as a person or a pipeline would.
    ///
    /// # Errors
    /// kubectl fails.
    pub fn set_image(&self, namespace: &str, name: &str, image: &str) -> Result<()> {
        let (target, image) = (format!("deployment/{name}"), format!("app={}", self.pulled(image)));
        self.cluster.kubectl(&["--namespace", namespace, "set", "image", &target, &image]).map(drop)
    }

    /// The text with every `registry.example/…` as the cluster's nodes pull it.
    fn pulled(&self, text: &str) -> String {
        text.replace(&format!("{PREFIX}/"), &format!("{}/", self.image_prefix))
    }
}
