//! The metrics registry. Every plane registers its own metrics beside the struct they measure.

pub use prometheus_client;
pub use prometheus_client::encoding;
pub use prometheus_client::metrics::{counter, family, gauge, histogram, info};

use info::Info;

/// Where metrics are registered.
pub type Registry = prometheus_client::registry::Registry;

/// A registry whose metrics all begin with `evenkeel_`, with `evenkeel_build_info` in it.
pub fn registry(plane: &'static str, version: &'static str) -> Registry {
    let mut registry = Registry::with_prefix("evenkeel");
    registry.register("build", "What is running", Info::new([("version", version), ("plane", plane)]));
    registry
}

/// The registry as OpenMetrics text.
///
/// # Errors
/// When a metric can't be written, which is a fault in that metric's own encoding.
pub fn encode(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_our_prefix() {
        let mut registry = registry("gateway", "1.2.3");
        let counter = counter::Counter::<u64>::default();
        registry.register("signals", "Signals seen", counter.clone());
        counter.inc();
        let text = encode(&registry).unwrap();
        assert!(text.contains("evenkeel_build_info{version=\"1.2.3\",plane=\"gateway\"} 1\n"), "{text}");
        assert!(text.contains("evenkeel_signals_total 1\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
