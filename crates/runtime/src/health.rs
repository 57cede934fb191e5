use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What has to be in before the process is ready: each watch, the bus, the listeners. `/readyz`
/// shows what is missing and why.
#[derive(Debug, Clone, Default)]
pub struct Health {
    prefix: String,
    parts: Parts,
}

type Parts = Arc<Mutex<BTreeMap<String, Option<String>>>>;

fn lock(parts: &Parts) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
    parts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Health {
    /// Nothing is waited for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same health, whose parts are named `<name>: <part>`: for one of several planes in a process.
    #[must_use]
    pub fn of(&self, name: &str) -> Self {
        Self { prefix: format!("{}{name}: ", self.prefix), parts: Arc::clone(&self.parts) }
    }

    /// A part that has to be ready. It is not until it says so: "starting".
    pub fn part(&self, name: &'static str) -> HealthPart {
        let name = format!("{}{name}", self.prefix);
        lock(&self.parts).insert(name.clone(), Some("starting".to_owned()));
        HealthPart { name: name.into(), parts: Arc::clone(&self.parts) }
    }

    /// The parts that are not ready and why, sorted by name. Empty: ready.
    pub fn missing(&self) -> Vec<(String, String)> {
        lock(&self.parts)
            .iter()
            .filter_map(|(name, reason)| reason.as_ref().map(|reason| (name.clone(), reason.clone())))
            .collect()
    }
}

/// One part of the process' readiness.
#[derive(Debug, Clone)]
pub struct HealthPart {
    name: Arc<str>,
    parts: Parts,
}

impl HealthPart {
    fn set(&self, reason: Option<String>) -> Option<String> {
        lock(&self.parts).insert(self.name.to_string(), reason).flatten()
    }

    /// It works.
    pub fn ready(&self) {
        if let Some(before) = self.set(None) {
            tracing::info!(part = &*self.name, before, "ready");
        }
    }

    /// It does not, and why.
    pub fn not_ready(&self, reason: impl Into<String>) {
        let reason = reason.into();
        let before = self.set(Some(reason.clone()));
        // A part in trouble says so again and again; people need to hear it once.
        if before.as_ref() != Some(&reason) {
            tracing::warn!(part = &*self.name, reason, "not ready");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_missing_until_it_says_it_is_ready() {
        let health = Health::new();
        let bus = health.part("bus");
        let watch = health.part("watch pods");
        assert_eq!(
            health.missing(),
            [("bus".to_owned(), "starting".to_owned()), ("watch pods".to_owned(), "starting".to_owned())]
        );
        bus.ready();
        watch.not_ready("403 Forbidden");
        assert_eq!(health.missing(), [("watch pods".to_owned(), "403 Forbidden".to_owned())]);
        watch.ready();
        assert!(health.missing().is_empty());
    }

    #[test]
    fn planes_in_one_process_do_not_speak_for_each_other() {
        let health = Health::new();
        let observer = health.of("observer").part("bus");
        let _gateway = health.of("gateway").part("bus");
        observer.ready();
        assert_eq!(health.missing(), [("gateway: bus".to_owned(), "starting".to_owned())]);
    }
}
