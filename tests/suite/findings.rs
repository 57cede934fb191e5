//! What is found in a world afterwards: objects, messages, and what was really asked of the API server.

use std::time::Duration;

use anyhow::{Context as _, Result};
use evenkeel_bus::permissions;
use evenkeel_bus::{Authentication, Bus as _, Cluster as ClusterName, JetStreamBus, JetStreamOptions, Stream};
use evenkeel_model::{Incident, Phase, Remediation};
use futures::StreamExt as _;
use kube::Api;
use kube::api::ListParams;

use crate::audit::{self, Request};
use crate::settings::password;
use crate::wait::eventually;
use crate::world::{CLUSTER, ENGINE, World, path};

impl World {
    /// All Remediations, oldest first.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn remediations(&self) -> Result<Vec<Remediation>> {
        let api: Api<Remediation> = Api::namespaced(self.client.clone(), ENGINE);
        let mut all = api.list(&ListParams::default()).await?.items;
        all.sort_by_key(|found| (found.spec.proposal.proposed_at, found.spec.proposal.number));
        Ok(all)
    }

    /// Waits for a Remediation of this action on an object of this name to be in one of these phases.
    ///
    /// # Errors
    /// None is in time.
    pub async fn remediation(
        &self,
        action: &str,
        target: &str,
        phases: &[Phase],
        within: Duration,
    ) -> Result<Remediation> {
        let what = format!("{action} of {target} to be {phases:?}");
        eventually(&what, within, || async {
            let found = self.remediations().await?;
            Ok(found.into_iter().find(|found| {
                let proposal = &found.spec.proposal;
                proposal.action.name().as_str() == action
                    && proposal.target.name == target
                    && found.status.as_ref().is_some_and(|status| phases.contains(&status.phase))
            }))
        })
        .await
    }

    /// Id and body of every message that a stream holds: `signal`, `proposal`, `outcome`, `wake` or `dead`.
    ///
    /// # Errors
    /// The bus does not answer.
    pub async fn stored(&self, stream: &str) -> Result<Vec<(String, bytes::Bytes)>> {
        let stream = Stream::ALL.into_iter().find(|known| known.token() == stream).context("no such stream")?;
        let mut stored = self.bus().await?.replay(stream, None).await?;
        let mut all = Vec::new();
        while let Some(message) = stored.next().await {
            let message = message?;
            all.push((message.id, message.payload));
        }
        Ok(all)
    }

    /// All incidents, closed ones too, as a person with the bus administrator's user lists them.
    ///
    /// # Errors
    /// The bus does not answer.
    pub fn incidents(&self) -> Result<Vec<Incident>> {
        let config = self.dir.path().join("admin.yaml");
        let text = self.engine.command(&["get", "incidents", "--all", "-o", "json", "--config", path(&config)?])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The bus, as its administrator.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn bus(&self) -> Result<JetStreamBus> {
        self.bus_of(permissions::Plane::Admin).await
    }

    /// The bus, as the user of a plane.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn bus_of(&self, plane: permissions::Plane) -> Result<JetStreamBus> {
        let mut options = JetStreamOptions::new(self.cluster.nats_url(), ClusterName::new(CLUSTER)?);
        options.authentication = Authentication::Password {
            user: plane.name().to_owned(),
            password_file: self.dir.path().join(format!("{}.password", plane.name())),
        };
        options.inbox_prefix = plane.inbox_prefix(&ClusterName::new(CLUSTER)?);
        Ok(JetStreamBus::connect(options).await?)
    }

    /// JetStream without the engine's bus in between, as the observer's user: what its figures are compared with.
    ///
    /// # Errors
    /// The bus does not answer.
    pub async fn raw_bus(&self) -> Result<async_nats::jetstream::Context> {
        let observer = permissions::Plane::Observer;
        let client =
            async_nats::ConnectOptions::with_user_and_password(observer.name().to_owned(), password(observer.name()))
                .custom_inbox_prefix(observer.inbox_prefix(&ClusterName::new(CLUSTER)?))
                .connect(self.cluster.nats_url())
                .await?;
        Ok(async_nats::jetstream::new(client))
    }

    /// What the API server recorded; in a foreign cluster, what went through the proxy before it, where the planes' own
    /// requests are all there is.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn audit(&self) -> Result<Vec<Request>> {
        match &self.proxy {
            Some(proxy) => Ok(proxy.record()),
            None => audit::read(&self.cluster.audit_log()),
        }
    }

    /// Mutating requests of the engine's identities on an object, dry-runs among them, in order.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn our_writes(&self, resource: &str, namespace: &str, name: &str) -> Result<Vec<Request>> {
        let all = self.audit()?.into_iter();
        Ok(all
            .filter(|request| request.is_mutating() && request.is_ours())
            .filter(|request| request.is_about(resource, namespace, name))
            .collect())
    }
}
