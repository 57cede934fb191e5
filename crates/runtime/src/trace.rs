//! W3C trace context in and out of tracing spans, so that one trace reaches from signal to outcome.

use std::collections::BTreeMap;

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const HEADER: &str = "traceparent";

#[derive(Default)]
struct Headers(BTreeMap<String, String>);

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }
}

impl Extractor for Headers {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// The span's `traceparent` header, to be sent with what it causes. `None` when traces are not exported.
pub fn traceparent(span: &tracing::Span) -> Option<String> {
    let mut headers = Headers::default();
    TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
    headers.0.remove(HEADER)
}

/// Makes the span a child of the one that `traceparent` names. Nothing happens when it names none
/// or is malformed: a lost trace must not lose a message. Call it before the span is entered.
pub fn set_parent(span: &tracing::Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent else { return };
    let headers = Headers([(HEADER.to_owned(), traceparent.to_owned())].into());
    let context = TraceContextPropagator::new().extract(&headers);
    if let Err(error) = span.set_parent(context) {
        tracing::trace!(%error, "span has no parent in another process");
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn with_tracing<T>(f: impl FnOnce() -> T) -> T {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), f)
    }

    #[test]
    fn a_span_carries_its_parents_trace_on() {
        with_tracing(|| {
            let span = tracing::info_span!("fold");
            set_parent(&span, Some(PARENT));
            let header = traceparent(&span).unwrap();
            assert_eq!(header.get(3..35), Some("0af7651916cd43dd8448eb211c80319c"));
            assert_ne!(header.get(36..52), Some("b7ad6b7169203331"), "its own span id");
            assert!(header.ends_with("-01"));
        });
    }

    #[test]
    fn a_malformed_header_begins_a_new_trace() {
        with_tracing(|| {
            let span = tracing::info_span!("fold");
            set_parent(&span, Some("rubbish"));
            assert!(traceparent(&span).is_some());
        });
    }

    #[test]
    fn without_an_exporter_there_is_no_header() {
        let span = tracing::info_span!("fold");
        set_parent(&span, Some(PARENT));
        assert_eq!(traceparent(&span), None);
    }
}
