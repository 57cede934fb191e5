//! Whether it helped: what follows from one look at the conditions. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use evenkeel_model::{Check, Snapshot, Verification};

/// What follows from one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Conclusion {
    /// Look again, at the latest then.
    Watch(DateTime<Utc>),
    /// All conditions held long enough.
    Helped,
    /// They did not in time.
    Ineffective(String),
    /// Whether they did can't be told.
    Unverifiable(String),
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For how long all must hold without a break.
    pub(super) hold: Duration,
    /// How long after the deadline sources that are away are waited for.
    pub(super) grace: Duration,
}

/// Notes what was found in `verification`, and concludes.
///
/// All conditions must begin to hold by the deadline, or as soon after it as they could be told;
/// once they do they may go on to hold beyond it, but a break after it is the end. A condition that
/// can't be told does not hold, and is not failed either: it ends nothing before the deadline and
/// its grace have passed.
pub(super) fn conclude(
    verification: &mut Verification,
    checks: Vec<Check>,
    broke_at: Option<DateTime<Utc>>,
    patience: Patience,
    now: DateTime<Utc>,
) -> Conclusion {
    let say = |holds: Option<bool>, checks: &[Check]| {
        let said: Vec<String> = checks
            .iter()
            .filter(|check| check.holds == holds)
            .map(|check| format!("{} (found {})", check.condition, check.found))
            .collect();
        said.join("; ")
    };
    let failed = checks.iter().any(|check| check.holds == Some(false));
    let unknown = checks.iter().any(|check| check.holds.is_none());
    let deadline = verification.deadline;
    let until_grace = deadline.checked_add_signed(chrono_of(patience.grace)).unwrap_or(deadline);
    let conclusion = if failed {
        verification.holding_since = None;
        if now >= deadline { Conclusion::Ineffective(say(Some(false), &checks)) } else { Conclusion::Watch(deadline) }
    } else if unknown {
        verification.holding_since = None;
        if now >= until_grace { Conclusion::Unverifiable(say(None, &checks)) } else { Conclusion::Watch(until_grace) }
    } else {
        // A break between two looks is one all the same.
        let broke = broke_at.zip(verification.holding_since).filter(|(at, since)| at > since).map(|(at, _)| at);
        let since =
            verification.holding_since.unwrap_or(now).max(broke_at.unwrap_or(DateTime::<Utc>::MIN_UTC)).min(now);
        let until = since.checked_add_signed(chrono_of(patience.hold)).unwrap_or(since);
        verification.holding_since = Some(since);
        match broke.filter(|at| *at > deadline) {
            Some(at) => {
                verification.holding_since = None;
                Conclusion::Ineffective(format!("a pod restarted and got ready again at {at}"))
            }
            None if now >= until => Conclusion::Helped,
            None => Conclusion::Watch(until),
        }
    };
    verification.checks = checks;
    conclusion
}

/// When a pod of the target last got ready after a restart: whatever was well before that was not
/// without a break. Pods that are merely new (the target was scaled) are none.
pub(super) fn last_break(snapshot: &Snapshot) -> Option<DateTime<Utc>> {
    let own = snapshot.pod.iter();
    snapshot
        .pods
        .iter()
        .chain(own)
        .filter(|pod| pod.ready && pod.restarts > 0 && pod.deleted_at.is_none())
        .filter_map(|pod| pod.ready_since)
        .max()
}

/// How long until the next look: an eighth of the time that has passed since the act, within
/// bounds, so that a quick recovery is seen quickly and a slow one costs little.
pub(super) fn pause(since_act: Duration, first: Duration, most: Duration) -> Duration {
    (since_act / 8).clamp(first, most.max(first))
}

fn chrono_of(duration: Duration) -> chrono::Duration {
    chrono::Duration::from_std(duration).unwrap_or(chrono::Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    const PATIENCE: Patience = Patience { hold: Duration::from_secs(60), grace: Duration::from_secs(120) };

    fn checks(holds: &[Option<bool>]) -> Vec<Check> {
        let check = |holds: &Option<bool>| Check {
            condition: "target.well is true".to_owned(),
            holds: *holds,
            found: format!("{holds:?}"),
        };
        holds.iter().map(check).collect()
    }

    fn fresh() -> Verification {
        Verification { deadline: at(600), holding_since: None, checks: Vec::new() }
    }

    #[test]
    fn it_helped_once_all_held_without_a_break() {
        let mut it = fresh();
        let yes = || checks(&[Some(true), Some(true)]);
        assert_eq!(conclude(&mut it, yes(), None, PATIENCE, at(10)), Conclusion::Watch(at(70)));
        assert_eq!(conclude(&mut it, yes(), None, PATIENCE, at(69)), Conclusion::Watch(at(70)));
        assert_eq!(conclude(&mut it, yes(), None, PATIENCE, at(70)), Conclusion::Helped);
    }

    #[test]
    fn a_break_begins_the_hold_anew() {
        let mut it = fresh();
        conclude(&mut it, checks(&[Some(true)]), None, PATIENCE, at(10));
        assert_eq!(conclude(&mut it, checks(&[Some(false)]), None, PATIENCE, at(60)), Conclusion::Watch(at(600)));
        assert_eq!(conclude(&mut it, checks(&[Some(true)]), None, PATIENCE, at(71)), Conclusion::Watch(at(131)));
        // A restart between two looks.
        let broke = Some(at(100));
        assert_eq!(conclude(&mut it, checks(&[Some(true)]), broke, PATIENCE, at(131)), Conclusion::Watch(at(160)));
    }

    #[test]
    fn it_did_not_help_when_a_condition_fails_at_the_deadline() {
        let mut it = fresh();
        let no = || checks(&[Some(true), Some(false), None]);
        assert_eq!(conclude(&mut it, no(), None, PATIENCE, at(599)), Conclusion::Watch(at(600)));
        let Conclusion::Ineffective(why) = conclude(&mut it, no(), None, PATIENCE, at(600)) else { panic!("{it:?}") };
        assert_eq!(why, "target.well is true (found Some(false))");
    }

    #[test]
    fn holding_may_go_on_beyond_the_deadline_but_not_break() {
        let mut it = fresh();
        assert_eq!(conclude(&mut it, checks(&[Some(true)]), None, PATIENCE, at(590)), Conclusion::Watch(at(650)));
        assert_eq!(conclude(&mut it.clone(), checks(&[Some(true)]), None, PATIENCE, at(650)), Conclusion::Helped);
        let broken = conclude(&mut it, checks(&[Some(false)]), None, PATIENCE, at(640));
        assert!(matches!(broken, Conclusion::Ineffective(_)), "{broken:?}");
    }

    #[test]
    fn a_restart_after_the_deadline_is_the_end_also_when_no_look_saw_it() {
        let mut it = fresh();
        let yes = || checks(&[Some(true)]);
        let restart = |seconds| Some(at(seconds));
        assert_eq!(conclude(&mut it, yes(), None, PATIENCE, at(560)), Conclusion::Watch(at(620)));
        assert_eq!(conclude(&mut it, yes(), restart(598), PATIENCE, at(610)), Conclusion::Watch(at(658)));
        let broken = conclude(&mut it, yes(), restart(640), PATIENCE, at(650));
        assert!(matches!(broken, Conclusion::Ineffective(_)), "{broken:?}");
    }

    #[test]
    fn what_can_not_be_told_waits_and_then_ends_unverified() {
        let mut it = fresh();
        let unknown = || checks(&[Some(true), None]);
        assert_eq!(conclude(&mut it, unknown(), None, PATIENCE, at(700)), Conclusion::Watch(at(720)));
        let over = conclude(&mut it.clone(), unknown(), None, PATIENCE, at(720));
        assert!(matches!(over, Conclusion::Unverifiable(_)), "{over:?}");
        // The source came back just in time.
        assert_eq!(conclude(&mut it, checks(&[Some(true)]), None, PATIENCE, at(710)), Conclusion::Watch(at(770)));
    }

    #[test]
    fn pauses_grow_within_bounds() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(10));
        let pauses = [0, 4, 16, 80, 1000].map(|s| pause(Duration::from_secs(s), first, most).as_secs());
        assert_eq!(pauses, [1, 1, 2, 10, 10]);
    }
}
