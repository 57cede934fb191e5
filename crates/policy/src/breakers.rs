//! Breakers: what has turned out not to help is not done automatically any more, until its time has
//! passed or a person says so. Pure: everything is counted from what was done and how it ended, so that deleting
//! or forgetting a count is not possible.
//!
//! What counts are distinct causes, not actions: many objects of one incident are one cause. That a step is not
//! repeated on its root is older than this, and is looked at before (the root remembers it for `recurWithin`).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use evenkeel_model::{Decision, Span, Spoken, Tier};

use crate::judgement::Judgement;

/// Under which name breakers speak in a verdict.
pub(crate) const SPEAKER: &str = "breaker";
/// The fewest roots that have to be broken before their share of all counts: one of one is everything.
const FEWEST: usize = 3;

/// When breakers open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerLimits {
    /// How far back is counted.
    pub window: Span,
    /// A playbook is suspended when it did not help with so many distinct causes, and with more than half of those
    /// that it acted on.
    pub causes: usize,
    /// Automatic action stops when so many roots are broken after it.
    pub roots: usize,
    /// It also stops when more than so many per cent of the roots acted on are broken after it, three at least. What a
    /// suspended playbook has done is not counted here.
    pub percent: usize,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self { window: Span::hours(24), causes: 3, roots: 5, percent: 20 }
    }
}

/// One action that was carried out automatically.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// What it was done for: one incident is one cause.
    pub cause: String,
    /// On what.
    pub root: String,
    /// The playbook that said so.
    pub playbook: String,
    /// When it was begun.
    pub begun_at: DateTime<Utc>,
    /// What came of it.
    pub came: Came,
}

/// What came of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// That is not known, or can't be told.
    Pending,
    /// It helped, so far.
    Helped,
    /// It did not help, or the same trouble came again; that was found out then.
    Failed(DateTime<Utc>),
}

/// A person has closed breakers: what failed until then does not count any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rearmed {
    /// Of which playbook; `None` closes all breakers.
    pub playbook: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// The breakers that are open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breakers {
    /// Suspended playbooks, by name.
    pub playbooks: BTreeMap<String, Suspended>,
    /// The one over all automatic action.
    pub automatic: Option<Stopped>,
}

/// Why a playbook is suspended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspended {
    /// Distinct causes with which it did not help.
    pub failed: usize,
    /// Distinct causes of which it is known whether it helped.
    pub of: usize,
    /// Until when, at the latest.
    pub until: DateTime<Utc>,
}

/// Why automatic action stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Roots that are broken after it.
    pub roots: BTreeSet<String>,
    /// Roots of which it is known whether it helped.
    pub of: usize,
    /// The one incident they all belong to: people are asked then.
    pub cause: Option<String>,
    /// Until when, at the latest.
    pub until: DateTime<Utc>,
}

impl Breakers {
    /// What is open after all this.
    pub fn of(tried: &[Tried], rearmed: &[Rearmed], limits: &BreakerLimits, now: DateTime<Utc>) -> Self {
        let counted: Vec<&Tried> = tried.iter().filter(|it| counts(it, rearmed, limits, now)).collect();
        let mut by_playbook: BTreeMap<&str, Vec<&Tried>> = BTreeMap::new();
        for it in &counted {
            by_playbook.entry(&it.playbook).or_default().push(it);
        }
        let suspended = |(playbook, tried): (&str, Vec<&Tried>)| {
            let last = last_by(&tried, |it| &it.cause);
            let failed = failures(&last);
            // Of one cause that goes on and on there is one.
            let until = falls_below(failed.iter().map(|(_, at)| *at), limits.causes, limits.window)?;
            let is = failed.len() * 2 > last.len();
            is.then(|| (playbook.to_owned(), Suspended { failed: failed.len(), of: last.len(), until }))
        };
        let playbooks: BTreeMap<String, Suspended> = by_playbook.into_iter().filter_map(suspended).collect();
        let automatic = stopped(&counted, &playbooks, limits);
        Self { playbooks, automatic }
    }

    /// Whether none is open.
    pub fn are_closed(&self) -> bool {
        self.playbooks.is_empty() && self.automatic.is_none()
    }

    /// Applies them to what policies say about an automatic action of a playbook. They never permit anything.
    pub fn apply(&self, judgement: &mut Judgement, playbook: &str) {
        if judgement.verdict.decision == (Decision::Deny {}) {
            return;
        }
        let mut said = Vec::new();
        let mut ask = false;
        if let Some(suspended) = self.playbooks.get(playbook) {
            said.push(suspended.said(playbook));
        }
        match &self.automatic {
            Some(stopped) if stopped.cause.is_none() => said.push(stopped.to_string()),
            Some(stopped) if said.is_empty() => {
                said.push(stopped.to_string());
                ask = true;
            }
            Some(_) | None => {}
        }
        if said.is_empty() {
            return;
        }
        if ask {
            // Whatever waits anyway goes on to wait; then people are asked.
            if let Decision::Allow { .. } = judgement.verdict.decision {
                judgement.tier = judgement.tier.max(Tier::Medium);
                judgement.approvers = judgement.approvers.max(1);
                judgement.verdict.decision = Decision::NeedsApproval { tier: judgement.tier };
            }
        } else {
            judgement.tier = Tier::Forbidden;
            judgement.approvers = 0;
            judgement.verdict.decision = Decision::Deny {};
        }
        let spoken = said.into_iter().map(|said| Spoken { policy: SPEAKER.to_owned(), said });
        judgement.verdict.rules.splice(0..0, spoken);
    }
}

impl Suspended {
    /// The breaker of this playbook, in a sentence.
    pub fn said(&self, playbook: &str) -> String {
        format!(
            "playbook {playbook} is suspended until {}: it did not help with {} of {} causes; evenkeel rearm {playbook}",
            self.until, self.failed, self.of
        )
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (broken, of, until) = (self.roots.len(), self.of, self.until);
        match &self.cause {
            None => write!(
                f,
                "automatic action is stopped until {until}: {broken} of {of} roots are broken after it, and not for one \
                 cause; evenkeel rearm --all"
            ),
            Some(cause) => write!(
                f,
                "people are asked until {until}: {broken} of {of} roots are broken after what was done for incident \
                 {cause}; evenkeel rearm --all"
            ),
        }
    }
}

/// Whether it is in the window, and nobody has closed breakers since it failed.
fn counts(tried: &Tried, rearmed: &[Rearmed], limits: &BreakerLimits, now: DateTime<Utc>) -> bool {
    let at = match tried.came {
        Came::Failed(at) => at,
        Came::Helped => tried.begun_at,
        Came::Pending => return false,
    };
    let closed = rearmed.iter().any(|it| {
        it.at >= at && it.at <= now && it.playbook.as_ref().is_none_or(|playbook| *playbook == tried.playbook)
    });
    // Differences: a sum beyond the end of the calendar is a panic.
    !closed && now.signed_duration_since(at) < limits.window.chrono()
}

/// The last try by what `key` says: a ladder whose next step helped has helped.
fn last_by<'a, 'k>(tried: &[&'a Tried], key: impl Fn(&'a Tried) -> &'k str) -> BTreeMap<&'k str, &'a Tried> {
    let mut last: BTreeMap<&str, &Tried> = BTreeMap::new();
    for it in tried {
        let known = last.entry(key(it)).or_insert(it);
        if (known.begun_at, found_at(known)) <= (it.begun_at, found_at(it)) {
            *known = it;
        }
    }
    last
}

fn found_at(tried: &Tried) -> Option<DateTime<Utc>> {
    match tried.came {
        Came::Failed(at) => Some(at),
        Came::Helped | Came::Pending => None,
    }
}

/// Those that failed, and when.
fn failures<'a>(last: &BTreeMap<&str, &'a Tried>) -> Vec<(&'a Tried, DateTime<Utc>)> {
    last.values().filter_map(|it| Some((*it, found_at(it)?))).collect()
}

/// Until when there are at least so many in the window; `None` when there are fewer.
fn falls_below(times: impl Iterator<Item = DateTime<Utc>>, least: usize, window: Span) -> Option<DateTime<Utc>> {
    let mut times: Vec<DateTime<Utc>> = times.collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    let last = times.get(least.max(1) - 1)?;
    Some(last.checked_add_signed(window.chrono()).unwrap_or(DateTime::<Utc>::MAX_UTC))
}

fn stopped(counted: &[&Tried], suspended: &BTreeMap<String, Suspended>, limits: &BreakerLimits) -> Option<Stopped> {
    let last = last_by(counted, |it| &it.root);
    let broken = failures(&last);
    let many = falls_below(broken.iter().map(|(_, at)| *at), limits.roots, limits.window);
    // What a suspended playbook has broken has its reason.
    let unexplained: Vec<_> = broken.iter().filter(|(it, _)| !suspended.contains_key(&it.playbook)).collect();
    let of = last.values().filter(|it| !suspended.contains_key(&it.playbook)).count();
    let share = (unexplained.len() * 100 > limits.percent * of)
        .then(|| falls_below(unexplained.iter().map(|(_, at)| *at), FEWEST, limits.window))
        .flatten();
    let until = many.max(share)?;
    let counted: Vec<&Tried> = match many {
        Some(_) => broken.iter().map(|(it, _)| *it).collect(),
        None => unexplained.iter().map(|(it, _)| *it).collect(),
    };
    let causes: BTreeSet<&str> = counted.iter().map(|it| it.cause.as_str()).collect();
    let mut causes = causes.into_iter();
    let cause = causes.next().filter(|_| causes.next().is_none()).map(str::to_owned);
    Some(Stopped { roots: counted.iter().map(|it| it.root.clone()).collect(), of: last.len(), cause, until })
}

#[cfg(test)]
mod tests;
