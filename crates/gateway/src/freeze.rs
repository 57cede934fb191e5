//! The Freezes as they are on the API server now: read anew before everything that changes the
//! cluster, never from a cache.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use evenkeel_model::{Clock, Freeze, FreezeSpec};
use evenkeel_policy::{FreezeSource, Freezes};
use evenkeel_runtime::{HealthPart, redact};
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use crate::audit::Recorder;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::plane::count;

pub(crate) struct FreezeReader {
    api: Api<DynamicObject>,
    timeout: Duration,
    health: HealthPart,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    recorder: Arc<Recorder>,
    seen: Mutex<Seen>,
}

impl FreezeReader {
    pub(crate) fn new(
        reader: Client,
        timeout: Duration,
        health: HealthPart,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        recorder: Arc<Recorder>,
    ) -> Self {
        let api = Api::all_with(reader, &ApiResource::erase::<Freeze>(&()));
        Self { api, timeout, health, metrics, clock, recorder, seen: Mutex::default() }
    }

    /// All of them, those that can't be understood among them. That they can't be read is an answer, too: whoever
    /// asks has to wait, and what has to be undone must not, but for as long as asking again may help.
    pub(crate) async fn read(&self) -> Freezes {
        let what = "listing freezes";
        let list = match tokio::time::timeout(self.timeout, self.api.list(&ListParams::default())).await {
            Ok(list) => list.map_err(|error| ApiError::of(what, error)),
            Err(_) => Err(ApiError::Late { what: what.to_owned(), limit: self.timeout }),
        };
        match list {
            Ok(list) => {
                self.health.ready();
                self.metrics.freezes.set(count(list.items.len()));
                let version = list.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
                let all: Vec<Standing> = list.into_iter().map(standing).collect();
                let sources = all.iter().map(|it| it.source.clone()).collect();
                let news =
                    self.seen.lock().unwrap_or_else(PoisonError::into_inner).take(all, version, self.clock.now());
                for news in news {
                    tracing::info!(freeze = news.name, said = news.said, "a freeze");
                    self.recorder.note_freeze(news);
                }
                Freezes::Read(sources)
            }
            Err(error) => {
                let why = match error.code() {
                    Some(404) => "the kind Freeze is not installed; evenkeel crds has its definition".to_owned(),
                    _ => redact::text(&error.to_string()),
                };
                self.metrics.error("freezes");
                self.health.not_ready(why.clone());
                if error.is_transient() { Freezes::NotNow(why) } else { Freezes::Unknown(why) }
            }
        }
    }
}

/// A freeze began or ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FreezeNews {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) begins: bool,
    pub(crate) at: DateTime<Utc>,
    /// Whoever wrote it, when it begins; who ended it, only the API server knows.
    pub(crate) by: Option<String>,
    pub(crate) said: String,
    pub(crate) spec: Value,
}

/// A freeze as it was listed.
#[derive(Debug, Clone)]
struct Standing {
    uid: String,
    made_at: Option<DateTime<Utc>>,
    source: FreezeSource,
    /// Whether it was told to have begun, and to have ended.
    told: (bool, bool),
}

impl Standing {
    /// From when until when it holds, as far as it says so. What can't be understood always holds.
    fn holds(&self, now: DateTime<Utc>) -> bool {
        let Ok(spec) = &self.source.spec else { return true };
        spec.from.is_none_or(|from| from <= now) && spec.until.is_none_or(|until| now < until)
    }

    fn news(&self, begins: bool, at: DateTime<Utc>, said: String) -> FreezeNews {
        let spec = self.source.spec.as_ref().ok();
        FreezeNews {
            name: self.source.name.clone(),
            uid: self.uid.clone(),
            begins,
            at,
            by: spec.filter(|_| begins).map(|spec| spec.by.clone()),
            said,
            spec: spec.and_then(|spec| serde_json::to_value(spec).ok()).unwrap_or_default(),
        }
    }

    fn begun(&self, now: DateTime<Utc>) -> FreezeNews {
        let name = &self.source.name;
        match &self.source.spec {
            Ok(spec) => {
                // The same in each gateway's words.
                let at = self.made_at.max(spec.from).unwrap_or(now);
                self.news(true, at, format!("freeze {name} begins: {}", spec.reason))
            }
            Err(why) => {
                let at = self.made_at.unwrap_or(now);
                self.news(true, at, format!("freeze {name} covers everything, since it can't be understood: {why}"))
            }
        }
    }

    fn until(&self) -> Option<DateTime<Utc>> {
        self.source.spec.as_ref().ok()?.until
    }
}

/// What was read last, by uid, for telling what is news.
#[derive(Debug, Default)]
struct Seen {
    version: Option<u64>,
    known: BTreeMap<String, Standing>,
}

impl Seen {
    /// Takes in a list of them, and says which have begun or ended since the one before.
    fn take(&mut self, all: Vec<Standing>, version: Option<u64>, now: DateTime<Utc>) -> Vec<FreezeNews> {
        // Two readers may overtake each other.
        if version.is_some() && version < self.version {
            return Vec::new();
        }
        self.version = version;
        let mut before = std::mem::take(&mut self.known);
        let mut news = Vec::new();
        for mut standing in all {
            standing.told = before.remove(&standing.uid).map(|known| known.told).unwrap_or_default();
            if !standing.told.0 && standing.holds(now) {
                standing.told.0 = true;
                news.push(standing.begun(now));
            }
            if standing.told == (true, false) && !standing.holds(now) {
                standing.told.1 = true;
                let at = standing.until().unwrap_or(now);
                news.push(standing.news(false, at, format!("freeze {} ends: its time is over", standing.source.name)));
            }
            self.known.insert(standing.uid.clone(), standing);
        }
        let gone = before.into_values().filter(|it| it.told == (true, false));
        news.extend(gone.map(|it| it.news(false, now, format!("freeze {} ends: it was deleted", it.source.name))));
        news
    }
}

fn standing(object: DynamicObject) -> Standing {
    let made_at = object.creation_timestamp().and_then(|at| DateTime::from_timestamp(at.0.as_second(), 0));
    let uid = object.uid().unwrap_or_else(|| object.name_any());
    Standing { uid, made_at, source: source(object), told: (false, false) }
}

fn source(object: DynamicObject) -> FreezeSource {
    let spec = object.data.get("spec").cloned().unwrap_or(Value::Null);
    let spec = serde_json::from_value::<FreezeSpec>(spec).map_err(|error| redact::text(&error.to_string()));
    let spec = spec.and_then(|spec| match spec.misnamed() {
        // Whoever wrote it meant something to be frozen.
        Some(namespace) => Err(format!("{namespace:?} is no namespace's name, and patterns are not known")),
        None => Ok(spec),
    });
    FreezeSource { name: object.name_any(), spec }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_freeze_of_another_version_is_kept_as_what_can_not_be_understood() {
        let object = json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Freeze", "metadata": {"name": "odd"},
            "spec": {"namespaces": ["shop"], "undo": "Perhaps", "by": "jane", "reason": "release"},
        });
        let source = source(serde_json::from_value(object).unwrap());
        assert_eq!(source.name, "odd");
        assert!(source.spec.unwrap_err().contains("Perhaps"));
    }

    #[test]
    fn a_freeze_of_what_can_be_no_namespace_covers_everything() {
        let object = |namespace: &str| {
            json!({
                "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Freeze", "metadata": {"name": "odd"},
                "spec": {"namespaces": [namespace], "undo": "GoesOn", "by": "jane", "reason": "release"},
            })
        };
        let of = |namespace: &str| source(serde_json::from_value(object(namespace)).unwrap()).spec;
        assert!(of("shop-*").unwrap_err().contains("no namespace's name"));
        assert!(of("shop-2").is_ok() && of("*").is_ok());
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        crate::testing::at(seconds)
    }

    fn standing(uid: &str, from: Option<i64>, until: Option<i64>) -> Standing {
        let spec = FreezeSpec {
            namespaces: vec!["shop".to_owned()],
            undo: evenkeel_model::FrozenUndo::GoesOn,
            by: "jane".to_owned(),
            reason: "release day".to_owned(),
            from: from.map(at),
            until: until.map(at),
        };
        let source = FreezeSource { name: format!("f-{uid}"), spec: Ok(spec) };
        Standing { uid: uid.to_owned(), made_at: Some(at(0)), source, told: (false, false) }
    }

    #[test]
    fn each_freeze_begins_and_ends_once() {
        let mut seen = Seen::default();
        let mut said = |all: Vec<Standing>, version, now| -> Vec<String> {
            let news = seen.take(all, version, at(now));
            news.into_iter().map(|it| format!("{} {}", it.said, (it.at - at(0)).num_seconds())).collect()
        };
        let (open, late) = (|| standing("a", None, None), || standing("b", Some(100), Some(200)));
        assert_eq!(said(vec![open(), late()], Some(5), 9), ["freeze f-a begins: release day 0"]);
        assert_eq!(said(vec![open(), late()], Some(5), 50), [""; 0]);
        assert_eq!(said(vec![open(), late()], Some(5), 120), ["freeze f-b begins: release day 100"]);
        assert_eq!(said(vec![open(), late()], Some(5), 230), ["freeze f-b ends: its time is over 200"]);
        assert_eq!(said(vec![late()], Some(7), 240), ["freeze f-a ends: it was deleted 240"]);
        assert_eq!(said(vec![open(), late()], Some(6), 241), [""; 0], "an older list");
        assert_eq!(said(vec![], Some(8), 300), [""; 0], "it has ended already");
    }
}
