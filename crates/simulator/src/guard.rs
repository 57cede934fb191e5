//! Finds a simulation that turns on the spot.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// Requests and turns of controllers within one virtual second, at most, where nothing else is said.
const MOST: u64 = 10_000;
/// How many of the busiest are named.
const NAMED: usize = 5;

/// Counts what happens within one virtual second.
#[derive(Debug)]
pub(crate) struct Guard {
    most: u64,
    second: i64,
    count: u64,
    names: BTreeMap<String, u64>,
    failure: Option<String>,
}

impl Default for Guard {
    fn default() -> Self {
        Self { most: MOST, second: 0, count: 0, names: BTreeMap::new(), failure: None }
    }
}

impl Guard {
    pub(crate) fn limit(&mut self, most: u64) {
        self.most = most;
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    /// Counts one more; false when there were too many.
    pub(crate) fn count(&mut self, now: DateTime<Utc>, what: impl FnOnce() -> String) -> bool {
        if self.failure.is_some() {
            return false;
        }
        if now.timestamp() != self.second {
            self.second = now.timestamp();
            self.count = 0;
            self.names.clear();
        }
        self.count += 1;
        // The later half shows who is busy; names are made for nobody else.
        if self.count > self.most / 2 {
            *self.names.entry(what()).or_default() += 1;
        }
        if self.count <= self.most {
            return true;
        }
        let mut busiest: Vec<(&String, &u64)> = self.names.iter().collect();
        busiest.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let busiest: Vec<String> =
            busiest.into_iter().take(NAMED).map(|(name, count)| format!("{count} × {name}")).collect();
        self.failure = Some(format!(
            "livelock: more than {} requests and turns of controllers within one second at {}; of the later half: {}",
            self.most,
            now.format("%H:%M:%S"),
            busiest.join(", ")
        ));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_within_a_second_is_said_with_the_busiest() {
        let mut guard = Guard::default();
        guard.limit(10);
        let at = |text: &str| text.parse().unwrap();
        for _ in 0..10 {
            assert!(guard.count(at("2026-06-03T09:00:00Z"), || "get pods".to_owned()));
        }
        for _ in 0..10 {
            assert!(guard.count(at("2026-06-03T09:00:01Z"), || "list nodes".to_owned()));
        }
        assert!(!guard.count(at("2026-06-03T09:00:01Z"), || "list nodes".to_owned()));
        let failure = guard.failure().unwrap();
        assert!(failure.contains("more than 10") && failure.ends_with("6 × list nodes"), "{failure}");
    }
}
