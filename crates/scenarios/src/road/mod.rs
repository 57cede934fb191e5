//! The road from Audit to Enforce: what playbooks would have done, what healed alone, what did not
//! help or came again, and what no playbook is for. From Remediations and signals; pure.

mod matches;
mod page;
mod text;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use evenkeel_model::{BUILT_IN_PLAYBOOK, Incident, ObjectRef, Phase, Remediation, RemediationStatus, Signal};
use evenkeel_planner::{Arrival, close_if_over, fold_into, incident_key};
use evenkeel_playbook::Playbooks;
use serde::Serialize;

pub use page::html;
pub use text::{Row, rows, span, summary};

/// So many cases of one playbook are told one by one.
const MAX_CASES: usize = 50;

/// What is known.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The Remediations there are.
    pub remediations: &'a [Remediation],
    /// The signals of the time, in the order in which they were stored.
    pub signals: &'a [Signal],
    /// The playbooks there are.
    pub playbooks: &'a Playbooks,
    /// Who else wrote to the objects that Remediations are about.
    pub changes: &'a [Change],
    /// From when on.
    pub since: DateTime<Utc>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Somebody changed an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The object.
    pub object: ObjectRef,
    /// When.
    pub at: DateTime<Utc>,
    /// Who: the field manager.
    pub by: String,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Road {
    /// From when on.
    pub since: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Incidents in that time.
    pub incidents: u64,
    /// Those for which nothing was proposed before they were over, and how long they lasted.
    pub healed_before: Healed,
    /// By playbook, the busiest first.
    pub playbooks: Vec<OnePlaybook>,
    /// Signals that no playbook is for, but such as are for any.
    pub without_playbook: Vec<Unmatched>,
    /// Playbooks for which no signal came.
    pub never_matched: Vec<String>,
}

/// How many healed by themselves, and after how long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Healed {
    /// How many.
    pub count: u64,
    /// Half of them in this or less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median_seconds: Option<i64>,
    /// The slowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slowest_seconds: Option<i64>,
}

/// One playbook on the road.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OnePlaybook {
    /// Its name.
    pub name: String,
    /// Remediations that change something; what only tells people apart.
    pub proposed: u64,
    /// Audit mode: it would have been carried out.
    pub would_execute: u64,
    /// Of those, what healed by itself, counted from when it would have been done.
    pub healed_alone: Healed,
    /// Of those, what was over after somebody had changed the object meanwhile.
    pub repaired_by_others: u64,
    /// Of those, what is ill still.
    pub still_ill: u64,
    /// Carried out.
    pub done: u64,
    /// Succeeded, so far.
    pub succeeded: u64,
    /// Did not help: undone, not undoable, or undoing failed.
    pub ineffective: u64,
    /// Helped, and the same trouble came again.
    pub regressed: u64,
    /// Refused by policy.
    pub denied: u64,
    /// Not needed any more, or too late, when its turn came.
    pub lapsed: u64,
    /// Waits for people or for its turn, or is under way.
    pub open: u64,
    /// How often it only told people.
    pub told: u64,
    /// What follows, for people.
    pub reads: String,
    /// One by one, the newest first.
    pub cases: Vec<Case>,
}

/// One Remediation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// Its name.
    pub remediation: String,
    /// Action and target.
    pub title: String,
    /// The step.
    pub step: String,
    /// When it was proposed.
    pub at: DateTime<Utc>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why.
    pub reason: String,
    /// For what would have been done: how long after that it healed by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healed_after_seconds: Option<i64>,
    /// For what would have been done: who changed the object before it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repaired_by: Option<String>,
    /// For what would have been done: it is ill still.
    pub still_ill: bool,
}

/// A signal that no playbook is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unmatched {
    /// Its name.
    pub signal: String,
    /// The kinds of its objects.
    pub kinds: Vec<String>,
    /// How often it began.
    pub times: u64,
    /// How many objects it was about.
    pub objects: u64,
    /// When last.
    pub last_at: DateTime<Utc>,
}

/// One open interval of one root.
struct Episode {
    opened_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
}

/// Puts the report together.
pub fn road(sources: Sources<'_>) -> Road {
    let Sources { remediations, signals, playbooks, changes, since, now } = sources;
    let episodes = episodes(signals);
    let recent: Vec<&Remediation> =
        remediations.iter().filter(|remediation| remediation.spec.proposal.proposed_at >= since).collect();
    let mut by_name: BTreeMap<&str, Tally> = BTreeMap::new();
    for remediation in &recent {
        let name = remediation.spec.proposal.playbook.name.as_str();
        by_name.entry(name).or_default().take(remediation, &episodes, changes);
    }
    let healed_before = healed_before(&recent, &episodes);
    let mut all: Vec<OnePlaybook> = by_name.into_iter().map(|(name, tally)| tally.finish(name)).collect();
    all.sort_by(|a, b| (b.proposed, &a.name).cmp(&(a.proposed, &b.name)));
    let (without_playbook, matched) = matches::matches(signals, playbooks);
    let never_matched =
        playbooks.iter().map(|it| it.name.clone()).filter(|name| !matched.contains(name.as_str())).collect();
    Road {
        since,
        until: now,
        incidents: episodes.values().map(|of_root| u64::try_from(of_root.len()).unwrap_or(0)).sum(),
        healed_before,
        playbooks: all,
        without_playbook,
        never_matched,
    }
}

/// Incidents by root, out of the signals: the bucket keeps only each root's last.
fn episodes(signals: &[Signal]) -> BTreeMap<String, Vec<Episode>> {
    let mut incidents: BTreeMap<String, Option<Incident>> = BTreeMap::new();
    let mut all: BTreeMap<String, Vec<Episode>> = BTreeMap::new();
    for signal in signals {
        let key = incident_key(signal);
        let current = incidents.entry(key.clone()).or_default();
        let was_open = current.as_ref().is_some_and(|incident| incident.closed_at.is_none());
        let arrival = Arrival { signal: signal.clone(), traceparent: None };
        if !fold_into(current, std::slice::from_ref(&arrival), signal.observed_at) {
            continue;
        }
        let Some(incident) = current else { continue };
        let of_root = all.entry(key).or_default();
        if !was_open && incident.closed_at.is_none() {
            of_root.push(Episode { opened_at: incident.opened_at, closed_at: None });
        }
        if close_if_over(incident, signal.observed_at)
            && let Some(last) = of_root.last_mut()
        {
            last.closed_at = incident.closed_at;
        }
    }
    all
}

fn healed_before(recent: &[&Remediation], episodes: &BTreeMap<String, Vec<Episode>>) -> Healed {
    let mut proposed: BTreeMap<String, Vec<DateTime<Utc>>> = BTreeMap::new();
    for remediation in recent {
        let proposal = &remediation.spec.proposal;
        proposed.entry(proposal.root.key(&proposal.cluster)).or_default().push(proposal.proposed_at);
    }
    let mut lengths = Vec::new();
    for (key, of_root) in episodes {
        for episode in of_root {
            let Some(closed_at) = episode.closed_at else { continue };
            let within = |at: &DateTime<Utc>| (episode.opened_at..=closed_at).contains(at);
            if !proposed.get(key).is_some_and(|times| times.iter().any(within)) {
                lengths.push((closed_at - episode.opened_at).num_seconds());
            }
        }
    }
    healed(lengths)
}

fn healed(mut seconds: Vec<i64>) -> Healed {
    seconds.sort_unstable();
    Healed {
        count: u64::try_from(seconds.len()).unwrap_or(u64::MAX),
        median_seconds: seconds.get(seconds.len().saturating_sub(1) / 2).copied(),
        slowest_seconds: seconds.last().copied(),
    }
}

#[derive(Default)]
struct Tally {
    one: OnePlaybook,
    healed: Vec<i64>,
}

impl Tally {
    fn take(&mut self, remediation: &Remediation, episodes: &BTreeMap<String, Vec<Episode>>, changes: &[Change]) {
        let proposal = &remediation.spec.proposal;
        let status = remediation.status.as_ref();
        if !proposal.action.name().is_mutating() {
            self.one.told += 1;
            return;
        }
        let phase = status.map(|status| status.phase);
        self.one.proposed += 1;
        self.count(status, phase);
        let came =
            if phase == Some(Phase::WouldExecute) { without(remediation, episodes, changes) } else { Came::Unknown };
        match &came {
            Came::Healed { after } => self.healed.push(*after),
            Came::Repaired { .. } => self.one.repaired_by_others += 1,
            Came::StillIll => self.one.still_ill += 1,
            Came::Unknown => {}
        }
        self.one.cases.push(Case {
            remediation: proposal.name(),
            title: remediation.spec.title.clone(),
            step: proposal.playbook.step.clone(),
            at: proposal.proposed_at,
            phase,
            reason: status.map(|status| status.reason.clone()).unwrap_or_default(),
            healed_after_seconds: if let Came::Healed { after } = came { Some(after) } else { None },
            still_ill: came == Came::StillIll,
            repaired_by: if let Came::Repaired { by } = came { Some(by) } else { None },
        });
    }

    fn count(&mut self, status: Option<&RemediationStatus>, phase: Option<Phase>) {
        self.one.done += u64::from(status.is_some_and(|status| status.acted_at.is_some()));
        match phase {
            Some(Phase::WouldExecute) => self.one.would_execute += 1,
            Some(Phase::Succeeded) => self.one.succeeded += 1,
            Some(Phase::Regressed) => self.one.regressed += 1,
            Some(phase) if phase.did_not_help() => self.one.ineffective += 1,
            Some(Phase::Denied) => self.one.denied += 1,
            Some(phase) if phase.is_final() => self.one.lapsed += 1,
            _ => self.one.open += 1,
        }
    }

    fn finish(self, name: &str) -> OnePlaybook {
        let mut one = OnePlaybook { name: name.to_owned(), healed_alone: healed(self.healed), ..self.one };
        one.cases.sort_by(|a, b| (b.at, &a.remediation).cmp(&(a.at, &b.remediation)));
        one.cases.truncate(MAX_CASES);
        one.reads = reads(&one);
        one
    }
}

/// What came of an object to which evenkeel did nothing.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// It was over so many seconds later, and nobody is known to have changed anything.
    Healed { after: i64 },
    /// It was over after somebody had changed the object.
    Repaired { by: String },
    /// It is not over.
    StillIll,
    /// Its signals are no longer kept.
    Unknown,
}

fn without(remediation: &Remediation, episodes: &BTreeMap<String, Vec<Episode>>, changes: &[Change]) -> Came {
    let proposal = &remediation.spec.proposal;
    let of_root = episodes.get(&proposal.root.key(&proposal.cluster));
    let episode = of_root.into_iter().flatten().rev().find(|episode| {
        episode.opened_at <= proposal.proposed_at
            && episode.closed_at.is_none_or(|closed_at| proposal.proposed_at <= closed_at)
    });
    let Some(episode) = episode else { return Came::Unknown };
    let Some(closed_at) = episode.closed_at else { return Came::StillIll };
    let about = |change: &&Change| {
        let is_it = |object: &ObjectRef| change.object.is_same(object);
        (is_it(&proposal.root) || is_it(&proposal.target)) && change.at > episode.opened_at && change.at <= closed_at
    };
    match changes.iter().filter(about).min_by_key(|change| change.at) {
        Some(change) => Came::Repaired { by: change.by.clone() },
        None => Came::Healed { after: (closed_at - proposal.proposed_at).num_seconds() },
    }
}

/// What the figures say of a playbook; nothing that people could not see for themselves.
fn reads(one: &OnePlaybook) -> String {
    let failed = one.ineffective + one.regressed;
    if failed > 0 {
        return format!("{failed} of {} did not help or came again: look at these first", one.done.max(failed));
    }
    if one.done > 0 {
        return match one.succeeded {
            0 => "none has ended yet".to_owned(),
            _ => "all that ended has helped so far".to_owned(),
        };
    }
    if one.would_execute == 0 {
        return match (one.proposed, one.denied) {
            (0, _) if one.name == BUILT_IN_PLAYBOOK => "hands over what no playbook could bring to an end".to_owned(),
            (0, _) => "only tells people".to_owned(),
            (proposed, denied) if proposed == denied => {
                "no policy allows it: it would do nothing in Enforce".to_owned()
            }
            _ => "nothing has been carried out".to_owned(),
        };
    }
    let (healed, repaired) = (one.healed_alone.count, one.repaired_by_others);
    let by_others = match repaired {
        0 => String::new(),
        _ => format!("{repaired} of {} repaired by somebody else", one.would_execute),
    };
    let settles = one.healed_alone.median_seconds.map(text::span).unwrap_or_default();
    if healed == one.would_execute {
        return format!(
            "all healed alone, half within {settles} of when it would have acted: a longer settle would leave them be"
        );
    }
    if healed > 0 {
        let and = if repaired > 0 { format!("; {by_others}") } else { by_others };
        return format!("{healed} of {} healed alone, half within {settles}{and}", one.would_execute);
    }
    if repaired > 0 {
        return format!("{by_others}, none healed alone: what it is for");
    }
    if one.still_ill > 0 {
        return "what it would have acted on did not heal alone".to_owned();
    }
    "what became of these is older than the signals kept".to_owned()
}

#[cfg(test)]
mod tests;
