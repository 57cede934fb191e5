//! What every plane's process has beside the plane: telemetry, the admin server, signals, an end.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow};
use evenkeel_runtime::metrics::{self, Registry};
use evenkeel_runtime::telemetry::{self, Telemetry};
use evenkeel_runtime::{Admin, BoxError, Health, Shutdown, Supervisor, on_signal};

use crate::config::Config;

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long a drain may take. Kubernetes kills after 30 seconds by default.
const DRAIN: Duration = Duration::from_secs(25);
/// How long the last spans may take.
const FLUSH: Duration = Duration::from_secs(3);

/// A process that runs planes.
pub(crate) struct Process {
    pub(crate) shutdown: Shutdown,
    pub(crate) registry: Registry,
    plane: &'static str,
    health: Health,
    admin: Admin,
    telemetry: Telemetry,
    planes: Supervisor,
}

impl Process {
    /// Starts telemetry and takes the admin address.
    pub(crate) async fn begin(plane: &'static str, config: &Config) -> Result<Self> {
        let cluster = config.cluster()?;
        let telemetry = telemetry::init(&config.telemetry, plane, VERSION, cluster.as_str())?;
        let admin = Admin::bind(config.admin).await?;
        tracing::info!(version = VERSION, plane, %cluster, mode = ?config.mode, admin = %admin.address(), "starting");
        let shutdown = Shutdown::new();
        Ok(Self {
            plane,
            health: Health::new(),
            registry: metrics::registry(plane, VERSION),
            planes: Supervisor::new(shutdown.clone()),
            shutdown,
            admin,
            telemetry,
        })
    }

    /// Where a plane says whether it is ready; named where there are several.
    pub(crate) fn health(&self, plane: &str) -> Health {
        if plane == self.plane { self.health.clone() } else { self.health.of(plane) }
    }

    /// Adds a plane; it runs from now on.
    pub(crate) fn spawn(
        &mut self,
        plane: &'static str,
        run: impl Future<Output = Result<(), BoxError>> + Send + 'static,
    ) {
        self.planes.spawn(plane, run);
    }

    /// Runs until a signal, or until a part ends by itself. All metrics are registered by now.
    pub(crate) async fn run(mut self) -> Result<()> {
        self.planes.spawn("signals", on_signal(self.shutdown.clone())?);
        self.planes.spawn("admin", self.admin.serve(self.health, self.registry, self.shutdown.clone()));
        let too_late = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        let ended = tokio::select! {
            biased;
            ended = self.planes.join() => ended.map_err(anyhow::Error::from),
            () = too_late => Err(anyhow!("did not drain within {} s; what was in hand is taken up by another process", DRAIN.as_secs())),
        };
        if ended.is_ok() {
            tracing::info!("drained");
        }
        self.telemetry.shutdown(FLUSH).await;
        ended
    }
}
