use evenkeel_runtime::metrics::Registry;
use evenkeel_runtime::metrics::counter::Counter;
use evenkeel_runtime::metrics::encoding::EncodeLabelSet;
use evenkeel_runtime::metrics::family::Family;

/// What is counted of chats and pagers.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    clicks: Family<Result, Counter>,
    told: Family<Told, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Result {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Told {
    /// `slack`, or the name of a configured webhook.
    to: String,
    result: &'static str,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("chat_clicks", "What came as a click, by what became of it", metrics.clicks.clone());
        registry.register(
            "chat_told",
            "What people were to be told in chats and pagers, by whether they were",
            metrics.told.clone(),
        );
        metrics
    }

    pub(crate) fn click(&self, result: &'static str) {
        self.clicks.get_or_create(&Result { result }).inc();
    }

    pub(crate) fn told(&self, to: &str, result: &'static str) {
        self.told.get_or_create(&Told { to: to.to_owned(), result }).inc();
    }

    #[cfg(test)]
    pub(crate) fn clicks(&self, result: &'static str) -> u64 {
        self.clicks.get_or_create(&Result { result }).get()
    }

    #[cfg(test)]
    pub(crate) fn tellings(&self, to: &str, result: &'static str) -> u64 {
        self.told.get_or_create(&Told { to: to.to_owned(), result }).get()
    }
}
