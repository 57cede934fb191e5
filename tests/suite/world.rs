//! A cluster with the engine installed: custom resources, three identities, users on the bus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use evenkeel_bus::permissions::{self, Password, User};
use evenkeel_bus::{Authentication, Bus as _, Cluster as ClusterName, JetStreamBus, JetStreamOptions, Stream};
use evenkeel_model::{Incident, Phase, Remediation};
use evenkeel_xtask::cluster::{Addon, Cluster, ClusterOptions, webhook_receiver};
use evenkeel_xtask::ports;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::audit::{self, Request};
use crate::engine::{self, Engine, Plane};
use crate::traces::Collector;
use crate::wait::eventually;

/// The engine's namespace.
pub const ENGINE: &str = "evenkeel";
/// The cluster's name on the bus.
pub const CLUSTER: &str = "test";
/// The bearer token Alertmanagers send.
pub const TOKEN: &str = "webhook-token-of-the-test";

/// What a test needs of its world.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster, NATS included.
    pub cluster: ClusterOptions,
    /// `Audit` or `Enforce`.
    pub mode: &'static str,
    /// Whether the observer watches the cluster; without, only alerts tell it anything.
    pub watches: bool,
}

impl Options {
    /// A real node with NATS; the engine may act.
    pub fn real() -> Self {
        Self { cluster: ClusterOptions::real().with(Addon::Nats), mode: "Enforce", watches: true }
    }

    /// Fake nodes with NATS; the engine may act.
    pub fn kwok() -> Self {
        Self { cluster: ClusterOptions::kwok().with(Addon::Nats), mode: "Enforce", watches: true }
    }

    /// With Prometheus evaluating `rules`, and so many Alertmanagers.
    #[must_use]
    pub fn with_alerts(mut self, rules: &str, alertmanagers: u8) -> Self {
        self.cluster = self.cluster.with(Addon::Prometheus).with(Addon::Alertmanager);
        self.cluster.prometheus_rules = Some(rules.to_owned());
        self.cluster.alertmanagers = alertmanagers;
        self
    }
}

/// A cluster with the engine installed, and a client of its administrator.
pub struct World {
    /// The planes' processes; before the cluster, so that they end first.
    pub engine: Engine,
    /// Receives the planes' traces.
    pub traces: Collector,
    /// The administrator's client.
    pub client: Client,
    /// The API server's address.
    pub api_server: String,
    /// Its certificate authority's file.
    pub ca: PathBuf,
    /// The cluster.
    pub cluster: Cluster,
    options: Options,
    dir: tempfile::TempDir,
}

/// Runs a test in a world of its own; everything ends with it, however it ends.
///
/// # Errors
/// The world can't be made, or the test fails; then the ends of the planes' logs are printed.
pub fn run(options: Options, test: impl AsyncFnOnce(&mut World) -> Result<()> + Send) -> Result<()> {
    // An error means that another test of this process has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut options = options;
    let name = ClusterName::new(CLUSTER)?;
    let users: Vec<User> = permissions::Plane::ALL
        .map(|plane| User { plane, name: plane.name().to_owned(), password: Password::Literal(password(plane.name())) })
        .into();
    options.cluster.nats_config = Some(permissions::render(&name, &users));
    let cluster = Cluster::up(options.cluster.clone())?;
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            cluster.enter()?;
            // After entering: the runtime's threads inherit the network.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(async {
                let mut world = World::install(cluster, options).await?;
                let result = test(&mut world).await;
                if result.is_err() {
                    for plane in Plane::ALL {
                        eprintln!("{}", world.engine.tail(plane));
                    }
                    eprintln!(
                        "{}",
                        world.cluster.kubectl(&["get", "remediations", "-A", "-o", "wide"]).unwrap_or_default()
                    );
                }
                result
            })
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn password(plane: &str) -> String {
    format!("password-of-{plane}")
}

impl World {
    async fn install(cluster: Cluster, options: Options) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("evenkeel-engine-").tempdir()?;
        let binary = engine::binary()?;
        let kubeconfig = cluster.kubeconfig();
        let loaded = kube::config::Kubeconfig::read_from(&kubeconfig)?;
        let entry =
            loaded.clusters.first().and_then(|entry| entry.cluster.clone()).context("the kubeconfig has no cluster")?;
        let api_server = entry.server.context("the kubeconfig has no server")?;
        let ca = PathBuf::from(entry.certificate_authority.context("the kubeconfig has no certificate authority")?);
        let config = kube::Config::from_custom_kubeconfig(loaded, &Default::default()).await?;
        let client = Client::try_from(config)?;

        cluster.kubectl_with(&["apply", "--server-side", "-f", "-"], &engine::run(&binary, &["crds"])?)?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"])?;
        cluster.kubectl(&["create", "namespace", ENGINE])?;
        cluster.kubectl_with(&["apply", "-f", "-"], &engine::run(&binary, &["rbac", "--namespace", ENGINE])?)?;
        cluster.kubectl(&["create", "namespace", "shop"])?;

        let traces = Collector::start().await?;
        let found = ports::free(4)?;
        let [webhook, observer, reasoner, gateway] = found.as_slice() else { bail!("no ports") };
        let admin =
            BTreeMap::from([(Plane::Observer, *observer), (Plane::Reasoner, *reasoner), (Plane::Gateway, *gateway)]);
        let engine = Engine::new(dir.path(), *webhook, admin)?;
        let world = Self { engine, traces, client, api_server, ca, cluster, options, dir };
        world.write_configurations(*webhook)?;
        let admin = world.dir.path().join("admin.yaml");
        std::fs::write(&admin, serde_json::to_string_pretty(&world.configuration("admin", None)?)?)?;
        world.engine.command(&["bus", "init", "--config", path(&admin)?])?;
        Ok(world)
    }

    fn write_configurations(&self, webhook: u16) -> Result<()> {
        std::fs::write(self.dir.path().join("webhook-token"), TOKEN)?;
        for plane in Plane::ALL {
            let kubeconfig = match plane {
                Plane::Reasoner => None,
                Plane::Observer | Plane::Gateway => {
                    Some(self.kubeconfig_of(plane, &self.api_server, Some(&self.ca))?)
                }
            };
            let mut configuration = self.configuration(plane.name(), kubeconfig.as_deref())?;
            configuration["listen"] = json!(format!("127.0.0.1:{webhook}"));
            configuration["admin"] = json!(self.engine.admin_url(plane)?.trim_start_matches("http://"));
            self.write_configuration(plane, &configuration)?;
        }
        Ok(())
    }

    /// Writes a plane's configuration; it is read when the plane starts.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write_configuration(&self, plane: Plane, configuration: &Value) -> Result<()> {
        Ok(std::fs::write(self.engine.config(plane), serde_json::to_string_pretty(configuration)?)?)
    }

    /// A plane's configuration as it was written last.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn read_configuration(&self, plane: Plane) -> Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(self.engine.config(plane))?)?)
    }

    /// A kubeconfig with a token of the plane's own ServiceAccount.
    ///
    /// # Errors
    /// The API server gives no token.
    pub fn kubeconfig_of(&self, plane: Plane, server: &str, ca: Option<&Path>) -> Result<PathBuf> {
        let account = format!("evenkeel-{}", plane.name());
        let token = self.cluster.kubectl(&["create", "token", &account, "--namespace", ENGINE, "--duration", "1h"])?;
        let mut cluster = json!({"server": server});
        if let Some(ca) = ca {
            cluster["certificate-authority"] = json!(ca);
        }
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": account, "user": {"token": token.trim()}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": account}}],
            "current-context": "test",
        });
        let file = self.dir.path().join(format!("{}.kubeconfig", plane.name()));
        std::fs::write(&file, serde_json::to_string(&kubeconfig)?)?;
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

    /// Applies a manifest as administrator.
    ///
    /// # Errors
    /// The API server refuses it.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.cluster.kubectl_with(&["apply", "-f", "-"], manifest).map(drop)
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
        let deployment: Deployment = serde_json::from_value(manifest.clone())?;
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

    /// The image a Deployment asks for.
    ///
    /// # Errors
    /// There is no such Deployment.
    pub async fn image(&self, namespace: &str, name: &str) -> Result<String> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get(name).await?;
        let containers = found.spec.and_then(|spec| spec.template.spec).map(|spec| spec.containers).unwrap_or_default();
        containers.into_iter().next().and_then(|container| container.image).context("no image")
    }

    /// Sets a Deployment's image, as a person or a pipeline would.
    ///
    /// # Errors
    /// kubectl fails.
    pub fn set_image(&self, namespace: &str, name: &str, image: &str) -> Result<()> {
        let (target, image) = (format!("deployment/{name}"), format!("app={image}"));
        self.cluster.kubectl(&["--namespace", namespace, "set", "image", &target, &image]).map(drop)
    }

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
        let mut options = JetStreamOptions::new(self.cluster.nats_url(), ClusterName::new(CLUSTER)?);
        options.authentication = Authentication::Password {
            user: "admin".to_owned(),
            password_file: self.dir.path().join("admin.password"),
        };
        options.inbox_prefix = permissions::Plane::Admin.inbox_prefix(&ClusterName::new(CLUSTER)?);
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

    /// What the API server recorded.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn audit(&self) -> Result<Vec<Request>> {
        audit::read(&self.cluster.audit_log())
    }

    /// Mutating requests of the engine's identities on an object, dry-runs among them, in order.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn our_writes(&self, resource: &str, namespace: &str, name: &str) -> Result<Vec<Request>> {
        let ours = format!("system:serviceaccount:{ENGINE}:");
        let all = self.audit()?.into_iter();
        Ok(all
            .filter(|request| request.is_mutating() && request.user.username.starts_with(&ours))
            .filter(|request| request.is_about(resource, namespace, name))
            .collect())
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

/// The time.
#[allow(clippy::disallowed_methods, reason = "a test in the real world goes by its clock")]
pub fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
