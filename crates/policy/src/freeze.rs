//! Freezes: nothing new is done to what they cover, whatever policies allow.

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{Decision, FreezeSpec, FrozenUndo, ObjectRef, Spoken};

use crate::judgement::Judgement;

/// When to look again whether a freeze is over: it may be ended before its time.
const RECONSIDER: Duration = Duration::seconds(30);

/// Under which name freezes speak in a verdict; that of one follows.
pub(crate) const SPEAKER: &str = "freeze";

/// What is known of the freezes that there are.
#[derive(Debug, Clone, PartialEq)]
pub enum Freezes {
    /// All of them were read.
    Read(Vec<FreezeSource>),
    /// They can't be read, and why: nothing may be begun.
    Unknown(String),
    /// They could not be read this time, and why: nothing may be begun, and who can ask again before an undo does.
    NotNow(String),
}

/// A freeze as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct FreezeSource {
    /// Its name.
    pub name: String,
    /// It, or why it can't be understood: it covers everything then.
    pub spec: Result<FreezeSpec, String>,
}

/// Why nothing new may be done to an object now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Frozen {
    /// A freeze covers it.
    #[error("frozen by {by} ({reason}){}; evenkeel thaw {name} ends it", said_until(.until))]
    By {
        /// Name of the Freeze.
        name: String,
        /// Who wanted it.
        by: String,
        /// Why.
        reason: String,
        /// When it ends by itself.
        until: Option<DateTime<Utc>>,
    },
    /// There is one that can't be understood.
    #[error("Freeze {name} can't be understood, and covers everything until it is mended or deleted: {reason}")]
    Broken {
        /// Name of the Freeze.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It can't be told whether there is one.
    #[error("counted as frozen: {0}")]
    Unknown(String),
}

fn said_until(until: &Option<DateTime<Utc>>) -> String {
    until.map(|until| format!(" until {until}")).unwrap_or_default()
}

impl Frozen {
    /// Under which name it speaks in a verdict.
    fn speaker(&self) -> String {
        match self {
            Self::By { name, .. } | Self::Broken { name, .. } => format!("{SPEAKER} {name}"),
            Self::Unknown(_) => SPEAKER.to_owned(),
        }
    }

    /// When to look again.
    pub fn look_again(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let soon = now + RECONSIDER;
        match self {
            Self::By { until: Some(until), .. } => soon.min(*until),
            Self::By { until: None, .. } | Self::Broken { .. } | Self::Unknown(_) => soon,
        }
    }
}

impl Freezes {
    /// Whether anything new may be done to an object now. Of several freezes the one that holds longest is named.
    pub fn on(&self, object: &ObjectRef, now: DateTime<Utc>) -> Option<Frozen> {
        let sources = match self {
            Self::Read(sources) => sources,
            Self::Unknown(why) | Self::NotNow(why) => return Some(Frozen::Unknown(why.clone())),
        };
        let frozen = sources.iter().filter_map(|source| match &source.spec {
            Err(reason) => Some(Frozen::Broken { name: source.name.clone(), reason: reason.clone() }),
            Ok(spec) => spec.covers(object, now).then(|| of(&source.name, spec)),
        });
        frozen.max_by_key(|frozen| match frozen {
            Frozen::By { until: Some(until), .. } => *until,
            _ => DateTime::<Utc>::MAX_UTC,
        })
    }

    /// Whether what was done to an object may not even be taken back. What is not known, or not understood, stops no
    /// undo.
    pub fn on_undo(&self, object: &ObjectRef, now: DateTime<Utc>) -> Option<Frozen> {
        let Self::Read(sources) = self else { return None };
        sources.iter().find_map(|source| {
            let spec = source.spec.as_ref().ok()?;
            (spec.undo == FrozenUndo::Waits && spec.covers(object, now)).then(|| of(&source.name, spec))
        })
    }
}

fn of(name: &str, spec: &FreezeSpec) -> Frozen {
    Frozen::By { name: name.to_owned(), by: spec.by.clone(), reason: spec.reason.clone(), until: spec.until }
}

/// Lets wait what policies would let pass. What they deny stays denied.
pub fn freeze(judgement: &mut Judgement, frozen: &Frozen, now: DateTime<Utc>) {
    if judgement.verdict.decision == (Decision::Deny {}) {
        return;
    }
    let until = match judgement.verdict.decision {
        // Both have to be over.
        Decision::Defer { until } => until.max(frozen.look_again(now)),
        _ => frozen.look_again(now),
    };
    judgement.verdict.decision = Decision::Defer { until };
    // First: it is what keeps it from being done.
    judgement.verdict.rules.insert(0, Spoken { policy: frozen.speaker(), said: frozen.to_string() });
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{Kind, Mode, Tier, Verdict};

    use super::*;
    use crate::EffectiveRates;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_780_477_200 + seconds, 0).unwrap()
    }

    fn cart() -> ObjectRef {
        ObjectRef::namespaced(Kind::Deployment, "shop", "cart")
    }

    fn spec(namespaces: &[&str]) -> FreezeSpec {
        FreezeSpec {
            namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
            undo: FrozenUndo::GoesOn,
            by: "jane".to_owned(),
            reason: "release day".to_owned(),
            from: None,
            until: None,
        }
    }

    fn read(specs: Vec<FreezeSpec>) -> Freezes {
        let named = |(n, spec)| FreezeSource { name: format!("f-{n}"), spec: Ok(spec) };
        Freezes::Read(specs.into_iter().enumerate().map(named).collect())
    }

    #[test]
    fn a_freeze_covers_the_namespaces_it_names() {
        let node = ObjectRef::cluster_scoped(Kind::Node, "worker-1");
        assert_eq!(read(vec![]).on(&cart(), at(0)), None);
        assert_eq!(read(vec![spec(&["other"])]).on(&cart(), at(0)), None);
        assert!(read(vec![spec(&["other", "shop"])]).on(&cart(), at(0)).is_some());
        assert_eq!(read(vec![spec(&["shop"])]).on(&node, at(0)), None);
        assert!(read(vec![spec(&["*"])]).on(&node, at(0)).is_some());
    }

    #[test]
    fn a_freeze_holds_from_then_until_then() {
        let freezes = read(vec![FreezeSpec { from: Some(at(10)), until: Some(at(20)), ..spec(&["*"]) }]);
        let frozen = |seconds| freezes.on(&cart(), at(seconds)).is_some();
        assert_eq!([9, 10, 19, 20].map(frozen), [false, true, true, false]);
    }

    #[test]
    fn what_is_not_known_or_not_understood_freezes_but_stops_no_undo() {
        let unknown = Freezes::Unknown("the kind is not installed".to_owned());
        let not_now = Freezes::NotNow("no answer".to_owned());
        let broken = FreezeSource { name: "odd".to_owned(), spec: Err("unknown field `form`".to_owned()) };
        for freezes in [unknown, not_now, Freezes::Read(vec![broken])] {
            assert!(freezes.on(&cart(), at(0)).is_some(), "{freezes:?}");
            assert_eq!(freezes.on_undo(&cart(), at(0)), None);
        }
    }

    #[test]
    fn undo_waits_only_for_a_freeze_that_says_so() {
        let all = FreezeSpec { undo: FrozenUndo::Waits, ..spec(&["shop"]) };
        assert_eq!(read(vec![spec(&["*"])]).on_undo(&cart(), at(0)), None);
        assert!(read(vec![spec(&["*"]), all.clone()]).on_undo(&cart(), at(0)).is_some());
        let elsewhere = FreezeSpec { namespaces: vec!["other".to_owned()], ..all };
        assert_eq!(read(vec![elsewhere]).on_undo(&cart(), at(0)), None);
    }

    #[test]
    fn the_freeze_that_holds_longest_is_named() {
        let short = FreezeSpec { until: Some(at(60)), ..spec(&["*"]) };
        let frozen = read(vec![spec(&["shop"]), short]).on(&cart(), at(0)).unwrap();
        assert_eq!(frozen.to_string(), "frozen by jane (release day); evenkeel thaw f-0 ends it");
        assert_eq!(frozen.look_again(at(0)), at(30));
    }

    fn judged(decision: Decision) -> Judgement {
        Judgement {
            verdict: Verdict { decision, rules: Vec::new() },
            mode: Mode::Enforce,
            tier: Tier::Low,
            approvers: 0,
            rates: EffectiveRates::default(),
            concurrent: Vec::new(),
        }
    }

    #[test]
    fn frozen_lets_wait_what_would_pass_and_allows_nothing() {
        let frozen = Frozen::Unknown("away".to_owned());
        let all = [
            (Decision::Allow { mode: Mode::Enforce }, Decision::Defer { until: at(30) }),
            (Decision::Allow { mode: Mode::Audit }, Decision::Defer { until: at(30) }),
            (Decision::NeedsApproval { tier: Tier::High }, Decision::Defer { until: at(30) }),
            (Decision::Defer { until: at(90) }, Decision::Defer { until: at(90) }),
            (Decision::Deny {}, Decision::Deny {}),
        ];
        for (before, after) in all {
            let mut judgement = judged(before.clone());
            freeze(&mut judgement, &frozen, at(0));
            assert_eq!(judgement.verdict.decision, after, "{before:?}");
        }
    }
}
