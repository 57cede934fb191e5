//! Logs to stderr and traces over OTLP.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::Span;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{EnvFilter, fmt};

/// Logs and traces.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Logs, to stderr.
    pub logs: Logs,
    /// Otlp, over OTLP.
    pub otlp: Otlp,
}

/// Logs, to stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Logs {
    /// How lines are written.
    pub format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, or several with the module each is for, as
    /// tracing-subscriber's EnvFilter reads them: `info,evenkeel_gateway=debug`.
    pub level: String,
}

impl Default for Logs {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info,async_nats=warn".to_owned() }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Otlp, over OTLP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Otlp {
    /// Base URL of an OTLP receiver that speaks HTTP with protobuf: `http://otel-collector:4318`.
    /// `/v1/traces` is added. Absent: no traces are exported.
    pub endpoint: Option<String>,
    /// Which part of the traces that begin here is kept, from 0 to 1. A trace begun elsewhere is
    /// kept or not as its beginner decided.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample_ratio: f64,
    /// How long one export may take.
    pub timeout: Span,
    /// Further resource attributes, such as `deployment.environment.name`.
    pub attributes: BTreeMap<String, String>,
}

impl Default for Otlp {
    fn default() -> Self {
        Self { endpoint: None, sample_ratio: 1.0, timeout: Span::seconds(5), attributes: BTreeMap::new() }
    }
}

/// Telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter can't be read.
    #[error(
        "telemetry.logs.level: expected directives such as `info,evenkeel_gateway=debug`, found {found:?}: {source}"
    )]
    Filter {
        /// What was found.
        found: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The receiver's URL is of no use.
    #[error("telemetry.otlp.endpoint: expected http://HOST:PORT or https://HOST:PORT, found {found:?}")]
    Endpoint {
        /// What was found.
        found: String,
    },
    /// The share is none.
    #[error("telemetry.otlp.sampleRatio: expected a number from 0 to 1, found {found}")]
    SampleRatio {
        /// What was found.
        found: f64,
    },
    /// The exporter can't be built.
    #[error("telemetry.otlp: the exporter can't be built: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Telemetry was started before in this process.
    #[error("telemetry was started twice in one process")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Running telemetry. Has to be [shut down](Telemetry::shutdown), or the last spans are lost.
#[derive(Debug)]
#[must_use = "the last spans are lost unless it is shut down"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Starts logs and, where a receiver is configured, traces: service `evenkeel-<plane>`, with the
/// cluster's name. The rustls provider must be installed before.
///
/// # Errors
/// A value that can't be used, with its key.
pub fn init(config: &Config, plane: &str, version: &str, cluster: &str) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(&config.logs.level)
        .map_err(|source| TelemetryError::Filter { found: config.logs.level.clone(), source })?;
    let provider = match &config.otlp.endpoint {
        Some(endpoint) => Some(provider(&config.otlp, endpoint, plane, version, cluster)?),
        None => None,
    };
    let traces = provider.as_ref().map(|provider| {
        // Our own spans alone: the HTTP clients' would be exported as well, the exporter's included.
        let ours = Targets::new().with_target("evenkeel", tracing::Level::INFO);
        tracing_opentelemetry::layer().with_tracer(provider.tracer("evenkeel")).with_location(false).with_filter(ours)
    });
    let lines = match config.logs.format {
        LogFormat::Text => fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal()).boxed(),
        LogFormat::Json => fmt::layer().with_writer(std::io::stderr).json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(traces).with(lines.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(Telemetry { provider })
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

fn provider(
    config: &Otlp,
    endpoint: &str,
    plane: &str,
    version: &str,
    cluster: &str,
) -> Result<SdkTracerProvider, TelemetryError> {
    let base = endpoint.trim_end_matches('/');
    let is_url =
        ["http://", "https://"].iter().any(|scheme| base.strip_prefix(scheme).is_some_and(|host| !host.is_empty()));
    if !is_url {
        return Err(TelemetryError::Endpoint { found: crate::redact::text(endpoint) });
    }
    if !(0.0..=1.0).contains(&config.sample_ratio) {
        return Err(TelemetryError::SampleRatio { found: config.sample_ratio });
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{base}/v1/traces"))
        .with_timeout(config.timeout.get())
        .build()?;
    let mut attributes = vec![
        KeyValue::new("service.version", version.to_owned()),
        KeyValue::new("k8s.cluster.name", cluster.to_owned()),
        KeyValue::new("process.pid", i64::from(std::process::id())),
    ];
    attributes.extend(config.attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    let resource =
        Resource::builder().with_service_name(format!("evenkeel-{plane}")).with_attributes(attributes).build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio))))
        .with_batch_exporter(exporter)
        .build())
}

impl Telemetry {
    /// Sends what is left, waiting at most `most`. A receiver that is away loses the last spans:
    /// that is logged, and no reason to fail.
    pub async fn shutdown(self, most: Duration) {
        let Some(provider) = self.provider else { return };
        // Off the async threads: it blocks, and ends a blocking HTTP client.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(most)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "the last spans could not be exported");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_used_is_refused_with_its_key() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            init(&config, "gateway", "0.0.0", "test").unwrap_err().to_string()
        };
        assert!(refused(|c| c.logs.level = "a=b=c".into()).starts_with("telemetry.logs.level: expected"));
        let error = refused(|c| c.otlp.endpoint = Some("collector:4317".into()));
        assert_eq!(
            error,
            "telemetry.otlp.endpoint: expected http://HOST:PORT or https://HOST:PORT, found \"collector:4317\""
        );
        let error =
            refused(|c| c.otlp = Otlp { endpoint: Some("http://a".into()), sample_ratio: 2.0, ..c.otlp.clone() });
        assert_eq!(error, "telemetry.otlp.sampleRatio: expected a number from 0 to 1, found 2");
    }

    /// The receiver gets protobuf at its path, with the service's name, before shutdown is done.
    #[tokio::test(flavor = "multi_thread")]
    async fn spans_are_exported_before_shutdown_ends() {
        use axum::body::Bytes;
        use axum::http::HeaderMap;
        use axum::routing::post;

        let _ = rustls::crypto::ring::default_provider().install_default();
        let (sender, mut received) = tokio::sync::mpsc::channel(8);
        let app = axum::Router::new().route(
            "/v1/traces",
            post(move |headers: HeaderMap, body: Bytes| async move {
                sender.send((headers.get("content-type").cloned(), body)).await.unwrap();
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await });

        let traces = Otlp { attributes: [("team".to_owned(), "shop".to_owned())].into(), ..Otlp::default() };
        let provider = provider(&traces, &endpoint, "gateway", "1.2.3", "prod").unwrap();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("evenkeel"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info_span!("verify").in_scope(|| ());
        });
        Telemetry { provider: Some(provider) }.shutdown(Duration::from_secs(5)).await;

        let (content_type, body) = received.try_recv().unwrap();
        assert_eq!(content_type.unwrap(), "application/x-protobuf");
        let body = String::from_utf8_lossy(&body);
        for word in ["evenkeel-gateway", "1.2.3", "prod", "team", "verify"] {
            assert!(body.contains(word), "{word}: {body:?}");
        }
        server.abort();
    }
}
