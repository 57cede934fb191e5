//! A cluster with the engine installed: custom resources, three identities, users on the bus.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use evenkeel_bus::Cluster as ClusterName;
use evenkeel_bus::permissions::{self, Password, User};
use evenkeel_xtask::cluster::{Cluster, Foreign, Node, PREFIX};
use evenkeel_xtask::ports;
use kube::Client;
use serde_json::json;

use crate::access::Access;
use crate::engine::{self, Engine, Plane};
use crate::foreign;
use crate::options::Options;
use crate::proxy::Proxy;
use crate::settings::password;
use crate::traces::Collector;

/// The engine's namespace.
pub const ENGINE: &str = "evenkeel";
/// The namespace of what is broken and repaired.
pub const SHOP: &str = "shop";
/// The cluster's name on the bus.
pub const CLUSTER: &str = "test";
/// The bearer token Alertmanagers send.
pub const TOKEN: &str = "webhook-token-of-the-test";

/// A cluster with the engine installed, and a client of its administrator.
pub struct World {
    /// The planes' processes; before the cluster, so that they end first.
    pub engine: Engine,
    /// Receives the planes' traces.
    pub traces: Collector,
    /// The administrator's client.
    pub client: Client,
    /// The cluster, and what runs beside it.
    pub cluster: Arc<Cluster>,
    pub(crate) access: Access,
    /// Before a foreign cluster, whose audit log is not ours to read; all planes go through it.
    pub(crate) proxy: Option<Proxy>,
    /// What the cluster's nodes know `registry.example` by.
    pub(crate) image_prefix: String,
    pub(crate) options: Options,
    pub(crate) dir: tempfile::TempDir,
}

/// Runs a test in a world of its own; everything ends with it, however it ends. The cluster is the one that `cargo xtask
/// test --kubeconfig` names, or one made for the test.
///
/// # Errors
/// The world can't be made, or the test fails; then the ends of the planes' logs are printed.
pub fn run(options: Options, test: impl AsyncFnOnce(&mut World) -> Result<()> + Send) -> Result<()> {
    match Foreign::named() {
        Some(foreign) => run_on(foreign, options, test),
        None => run_in(options, PREFIX, test),
    }
}

/// Runs a test in a world on somebody's cluster, of which nothing stays but the cluster.
///
/// # Errors
/// As [`run`]; also when the cluster holds what could be taken for ours.
pub fn run_on(
    foreign: Foreign,
    mut options: Options,
    test: impl AsyncFnOnce(&mut World) -> Result<()> + Send,
) -> Result<()> {
    let kubeconfig = File::open(&foreign.kubeconfig).with_context(|| format!("{}", foreign.kubeconfig.display()))?;
    // A second run would take this one's objects for leftovers. The lock goes with the file.
    match kubeconfig.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another run on the cluster of {}", foreign.kubeconfig.display());
            kubeconfig.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    options.cluster.node = Node::Foreign { kubeconfig: foreign.kubeconfig };
    run_in(options, &foreign.image_prefix, test)
}

fn run_in(
    mut options: Options,
    image_prefix: &str,
    test: impl AsyncFnOnce(&mut World) -> Result<()> + Send,
) -> Result<()> {
    // An error means that another test of this process has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let name = ClusterName::new(CLUSTER)?;
    let users: Vec<User> = permissions::Plane::ALL
        .map(|plane| User { plane, name: plane.name().to_owned(), password: Password::Literal(password(plane.name())) })
        .into();
    options.cluster.nats_config = Some(permissions::render(&name, &users));
    let cluster = Arc::new(Cluster::up(options.cluster.clone())?);
    if cluster.is_foreign() {
        foreign::enter(&cluster)?;
    }
    let ended = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            cluster.enter()?;
            // After entering: the runtime's threads inherit the network.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(async {
                let mut world = World::install(Arc::clone(&cluster), options, image_prefix).await?;
                let result = test(&mut world).await;
                if result.is_err() {
                    world.tell();
                }
                result
            })
        });
        worker.join()
    });
    // Whether the test has failed, panicked or not come to begin: the planes have ended, and what it made goes.
    let left = if cluster.is_foreign() { foreign::leave(&cluster) } else { Ok(()) };
    if let (Err(_) | Ok(Err(_)), Err(error)) = (&ended, &left) {
        eprintln!("leaving the cluster: {error:#}");
    }
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(left)
}

impl World {
    async fn install(cluster: Arc<Cluster>, options: Options, image_prefix: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("evenkeel-engine-").tempdir()?;
        let binary = engine::binary()?;
        let access = Access::read(&cluster.kubeconfig()).await?;
        let client = access.client()?;

        install_kinds(&cluster, &binary)?;
        for name in [ENGINE, SHOP] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            cluster.kubectl_with(&["create", "-f", "-"], &foreign::labelled(&cluster, &namespace.to_string())?)?;
        }
        let rbac = foreign::labelled(&cluster, &engine::run(&binary, &["rbac", "--namespace", ENGINE])?)?;
        cluster.kubectl_with(&["apply", "-f", "-"], &rbac)?;

        let traces = Collector::start().await?;
        let proxy = if cluster.is_foreign() { Some(Proxy::start(access.nobody()?).await?) } else { None };
        let found = ports::free(4)?;
        let [webhook, observer, reasoner, gateway] = found.as_slice() else { bail!("no ports") };
        let admin =
            BTreeMap::from([(Plane::Observer, *observer), (Plane::Reasoner, *reasoner), (Plane::Gateway, *gateway)]);
        let engine = Engine::new(dir.path(), *webhook, admin)?;
        let image_prefix = image_prefix.to_owned();
        let world = Self { engine, traces, client, cluster, access, proxy, image_prefix, options, dir };
        world.write_configurations(*webhook)?;
        world.init_bus()?;
        Ok(world)
    }

    /// Makes what the bus needs, as its administrator; again where a test has removed something.
    ///
    /// # Errors
    /// The bus does not take it.
    pub fn init_bus(&self) -> Result<()> {
        self.engine.command(&["bus", "init", "--config", path(&self.dir.path().join("admin.yaml"))?]).map(drop)
    }

    /// Installs the engine's kinds, again where a test has removed one.
    ///
    /// # Errors
    /// The API server does not take them, or does not serve them in time.
    pub fn install_kinds(&self) -> Result<()> {
        install_kinds(&self.cluster, &engine::binary()?)
    }

    /// Installs the admission policies: what `policies`, a manifest, let the gateway do, and what people may ask for.
    ///
    /// # Errors
    /// The API server does not take them.
    pub fn install_admission(&self, policies: &str) -> Result<()> {
        self.install_generated("admission", policies)
    }

    /// Installs the rights that `policies`, a manifest, need, in place of those for every action.
    ///
    /// # Errors
    /// The API server does not take them.
    pub fn install_rights(&self, policies: &str) -> Result<()> {
        self.install_generated("rbac", policies)
    }

    fn install_generated(&self, what: &str, policies: &str) -> Result<()> {
        let file = self.dir.path().join("policies.yaml");
        std::fs::write(&file, policies)?;
        let config = self.dir.path().join("admin.yaml");
        let made = ["policy", what, "--policies", path(&file)?, "--config", path(&config)?];
        let made = foreign::labelled(&self.cluster, &self.engine.command(&made)?)?;
        self.cluster.kubectl_with(&["apply", "-f", "-"], &made)?;
        Ok(())
    }

    /// Prints what a failed test needs to show.
    fn tell(&self) {
        for plane in Plane::ALL {
            eprintln!("{}", self.engine.tail(plane));
        }
        eprintln!("{}", self.cluster.kubectl(&["get", "remediations", "-A", "-o", "wide"]).unwrap_or_default());
    }
}

fn install_kinds(cluster: &Cluster, binary: &Path) -> Result<()> {
    let crds = foreign::labelled(cluster, &engine::run(binary, &["crds"])?)?;
    cluster.kubectl_with(&["apply", "--server-side", "-f", "-"], &crds)?;
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "-l", foreign::LABEL, "--timeout=30s"])?;
    Ok(())
}

pub(crate) fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

/// The time.
#[allow(clippy::disallowed_methods, reason = "a test in the real world goes by its clock")]
pub fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
