use evenkeel_runtime::metrics::Registry;
use evenkeel_runtime::metrics::counter::Counter;
use evenkeel_runtime::metrics::family::Family;
use evenkeel_runtime::metrics::gauge::Gauge;

/// What the sealer counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) sealed: Counter,
    pub(crate) repeats: Counter,
    pub(crate) foreign: Counter,
    /// Records in the log.
    pub(crate) size: Gauge,
    /// 1 in the process that seals.
    pub(crate) sealing: Gauge,
    errors: Family<Vec<(&'static str, String)>, Counter>,
}

impl Metrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            sealed: Counter::default(),
            repeats: Counter::default(),
            foreign: Counter::default(),
            size: Gauge::default(),
            sealing: Gauge::default(),
            errors: Family::default(),
        };
        let m = &metrics;
        registry.register("audit_sealed", "Records sealed", m.sealed.clone());
        registry.register("audit_repeats", "Records that were in the log already", m.repeats.clone());
        registry.register("audit_foreign", "Messages no gateway of this log wrote", m.foreign.clone());
        registry.register("audit_log_records", "Records in the log", m.size.clone());
        registry.register("audit_sealing", "1 in the process that seals", m.sealing.clone());
        registry.register("audit_errors", "Errors survived, by where", m.errors.clone());
        metrics
    }

    /// An error was survived.
    pub(crate) fn error(&self, at: &'static str) {
        self.errors.get_or_create(&vec![("at", at.to_owned())]).inc();
    }
}
