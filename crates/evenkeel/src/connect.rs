//! Connections, as the configuration says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use evenkeel_bus::permissions::Plane;
use evenkeel_bus::{Authentication, Bus, BusError, Cluster, JetStreamBus, JetStreamOptions, Tls};
use evenkeel_runtime::http::{Network, Outbound};
use evenkeel_runtime::{Backoff, BoxError, HealthPart, Shutdown};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::util::MapErrLayer;

use crate::config::{self, Config, Jetstream, Kubernetes};

/// How long a connection to the API server may take to come up.
const CONNECT: Duration = Duration::from_secs(5);

/// How a plane gets to the bus.
pub(crate) enum Transport {
    /// Over the network.
    Jetstream(Box<JetStreamOptions>),
    /// In this process.
    Memory(Arc<dyn Bus>),
}

/// Connects a plane to the bus: again and again, with readiness telling why. `None` when shutdown
/// came first.
pub(crate) async fn bus(
    transport: Transport,
    health: &HealthPart,
    shutdown: &Shutdown,
) -> Result<Option<Arc<dyn Bus>>, BoxError> {
    let options = match transport {
        Transport::Jetstream(options) => options,
        Transport::Memory(bus) => {
            health.ready();
            return Ok(Some(bus));
        }
    };
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5), u64::from(std::process::id()));
    loop {
        match JetStreamBus::connect((*options).clone()).await {
            Ok(bus) => {
                health.ready();
                return Ok(Some(Arc::new(bus)));
            }
            Err(BusError::Unavailable(reason)) => health.not_ready(reason),
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

/// How other servers are asked.
pub(crate) fn outbound() -> Result<Arc<dyn Outbound>> {
    Ok(Arc::new(Network::new()?))
}

/// The configured JetStream, for the user of a plane.
pub(crate) fn transport(config: &Config, plane: Plane) -> Result<Transport> {
    Ok(Transport::Jetstream(Box::new(jetstream_options(config, plane)?)))
}

/// The configured JetStream, for the user of a plane.
pub(crate) fn jetstream_options(config: &Config, plane: Plane) -> Result<JetStreamOptions> {
    match &config.bus {
        config::Bus::Jetstream(jetstream) => options(jetstream, config.cluster()?, plane),
        config::Bus::Memory => {
            bail!("bus: memory lies within one process; use `evenkeel all --dev`, or configure bus.jetstream")
        }
    }
}

fn options(jetstream: &Jetstream, cluster: Cluster, plane: Plane) -> Result<JetStreamOptions> {
    if jetstream.servers.is_empty() {
        bail!("bus.jetstream.servers: expected at least one address such as nats://nats:4222, found none");
    }
    let tls = match (&jetstream.cert_file, &jetstream.key_file) {
        (None, None) => jetstream.ca_file.clone().map(|ca| Tls { ca: Some(ca), certificate: None }),
        (Some(cert), Some(key)) => {
            Some(Tls { ca: jetstream.ca_file.clone(), certificate: Some((cert.clone(), key.clone())) })
        }
        _ => bail!("bus.jetstream: expected certFile and keyFile together, found one of them"),
    };
    Ok(JetStreamOptions {
        servers: jetstream.servers.clone(),
        name: format!("evenkeel-{}", plane.name()),
        authentication: authentication(jetstream)?,
        tls,
        inbox_prefix: jetstream.inbox_prefix.clone().unwrap_or_else(|| plane.inbox_prefix(&cluster)),
        timeout: jetstream.timeout.get(),
        cluster,
    })
}

fn authentication(jetstream: &Jetstream) -> Result<Authentication> {
    let password = match (&jetstream.user, &jetstream.password_file) {
        (Some(user), Some(file)) => {
            Some(Authentication::Password { user: user.clone(), password_file: readable("passwordFile", file)? })
        }
        (None, None) => None,
        _ => bail!("bus.jetstream: expected user and passwordFile together, found one of them"),
    };
    let token = match &jetstream.token_file {
        Some(file) => Some(Authentication::Token { token_file: readable("tokenFile", file)? }),
        None => None,
    };
    let credentials = match &jetstream.credentials_file {
        Some(file) => Some(Authentication::Credentials { file: readable("credentialsFile", file)? }),
        None => None,
    };
    let mut given = [password, token, credentials].into_iter().flatten();
    match (given.next(), given.next()) {
        (None, _) => Ok(Authentication::None),
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => {
            bail!("bus.jetstream: expected one of user with passwordFile, tokenFile and credentialsFile, found more")
        }
    }
}

/// The file, once it is known that it can be read: the server would only say that we may not come in.
fn readable(key: &str, file: &Path) -> Result<PathBuf> {
    std::fs::File::open(file).with_context(|| format!("bus.jetstream.{key}: {}", file.display()))?;
    Ok(file.to_owned())
}

/// The bus, for a command: one attempt.
pub(crate) async fn bus_once(config: &Config) -> Result<JetStreamBus> {
    let options = jetstream_options(config, Plane::Admin)?;
    JetStreamBus::connect(options).await.context("bus.jetstream")
}

/// What the API server said, without the whole of its Status; other errors as they are.
pub(crate) fn said(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow::anyhow!("{} ({})", status.message, status.code),
        // Its own words are "ServiceError".
        kube::Error::Service(cause) => anyhow::Error::from_boxed(cause),
        error => error.into(),
    }
}

/// A client for reading; may send a request again when the server is busy. Its errors name the server.
pub(crate) async fn reader(kubernetes: &Kubernetes) -> Result<kube::Client> {
    let mut config = kube_config(kubernetes).await?;
    config.connect_timeout = Some(CONNECT);
    let server = config.cluster_url.to_string();
    let named = MapErrLayer::new(move |source: BoxError| -> BoxError {
        // kube's own errors don't say which server gave no answer.
        anyhow::Error::from_boxed(source).context(format!("the API server {server} can't be asked")).into()
    });
    Ok(ClientBuilder::try_from(config).context("kubernetes")?.with_layer(&named).build())
}

/// A client for writing. It never sends a request twice by itself: kube 5 would re-send every method,
/// up to 15 times on 429, 503 and 504. Every wait of it ends.
pub(crate) async fn writer(kubernetes: &Kubernetes, request_timeout: Duration) -> Result<kube::Client> {
    let mut config = kube_config(kubernetes).await?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT.min(request_timeout));
    config.write_timeout = Some(request_timeout);
    config.read_timeout = Some(request_timeout);
    // Counts from the request, not from when its pooled connection went idle.
    config.reset_reader_on_write = true;
    kube::Client::try_from(config).context("kubernetes")
}

async fn kube_config(kubernetes: &Kubernetes) -> Result<kube::Config> {
    let options = KubeConfigOptions { context: kubernetes.context.clone(), ..KubeConfigOptions::default() };
    if let Some(path) = &kubernetes.kubeconfig {
        let kubeconfig = Kubeconfig::read_from(path).context("kubernetes.kubeconfig")?;
        return kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("kubernetes.kubeconfig: {}", path.display()));
    }
    if kubernetes.context.is_some() {
        return kube::Config::from_kubeconfig(&options).await.context("kubernetes.context");
    }
    kube::Config::infer().await.context(
        "no cluster: expected a kubeconfig (kubernetes.kubeconfig, $KUBECONFIG or ~/.kube/config) or a pod's ServiceAccount",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Jetstream)) -> String {
        let mut jetstream = Jetstream::default();
        change(&mut jetstream);
        format!("{:#}", options(&jetstream, Cluster::new("test").unwrap(), Plane::Gateway).unwrap_err())
    }

    #[test]
    fn half_a_credential_is_refused() {
        assert!(refused(|j| j.user = Some("a".into())).contains("passwordFile together"));
        assert!(refused(|j| j.cert_file = Some("a".into())).contains("keyFile together"));
        assert!(refused(|j| j.servers.clear()).starts_with("bus.jetstream.servers"));
        let error = refused(|j| j.token_file = Some("/nowhere/token".into()));
        assert!(error.starts_with("bus.jetstream.tokenFile: /nowhere/token: No such file"), "{error}");
    }

    #[test]
    fn two_credentials_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "x").unwrap();
        let error = refused(|j| {
            j.token_file = Some(file.clone());
            j.credentials_file = Some(file.clone());
        });
        assert!(error.ends_with("found more"), "{error}");
    }

    #[test]
    fn the_bus_in_memory_is_for_one_process() {
        let config = Config { cluster: "test".into(), bus: config::Bus::Memory, ..Config::default() };
        assert!(jetstream_options(&config, Plane::Gateway).unwrap_err().to_string().contains("evenkeel all --dev"));
    }
}
