//! What is checked of a proposal before it becomes an object. Pure: nothing in it is believed.

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{Action, BUILT_IN_PLAYBOOK, ObjectRef, Origin, Phase, PlaybookSpec, Proposal, is_same_trouble};
use kube::ResourceExt as _;

use crate::config::Config;
use crate::index::{Index, names_same};
use crate::playbooks::Found;

/// The largest proposal, bytes of JSON.
pub(crate) const MAX_BYTES: usize = 256 * 1024;
/// The longest message of a notification, bytes.
const MAX_MESSAGE: usize = 4096;
/// A proposal lives no longer than this.
const MAX_LIFE: Duration = Duration::hours(1);
/// How far the reasoner's clock may be ahead of ours.
const MAX_AHEAD: Duration = Duration::minutes(1);

/// Why a proposal does not become an object, and the phase its Outcome tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) phase: Phase,
    pub(crate) reason: String,
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { phase: Phase::Denied, reason: reason.into() })
}

/// Whether its time has passed.
pub(crate) fn check_time(proposal: &Proposal, now: DateTime<Utc>) -> Result<(), Refused> {
    // Differences, not sums: a sum beyond the end of the calendar is a panic.
    if proposal.expires_at.signed_duration_since(proposal.proposed_at) > MAX_LIFE {
        return refuse(format!("expiresAt {} is more than an hour after proposedAt", proposal.expires_at));
    }
    if proposal.proposed_at.signed_duration_since(now) > MAX_AHEAD {
        return refuse(format!("proposedAt {} is in the future: check the reasoner's clock", proposal.proposed_at));
    }
    if proposal.expires_at <= now {
        let reason = format!("it expired at {} before it was taken up", proposal.expires_at);
        return Err(Refused { phase: Phase::Expired, reason });
    }
    Ok(())
}

/// Whether it makes sense by itself.
pub(crate) fn check_shape(proposal: &Proposal, cluster: &str) -> Result<(), Refused> {
    if proposal.cluster != cluster {
        return refuse(format!("it is for cluster {:?}, and this is {cluster:?}", proposal.cluster));
    }
    let name_like = |text: &str| {
        (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if !name_like(&proposal.incident) {
        return refuse(format!("incident: expected 1 to 63 letters, digits, -_., found {:?}", proposal.incident));
    }
    if !(1..=1000).contains(&proposal.number) {
        return refuse(format!("number: expected 1 to 1000, found {}", proposal.number));
    }
    // Its name ends in the API server's path.
    let playbook = &proposal.playbook;
    if !is_object_name(&playbook.name) || !name_like(&playbook.step) || !name_like(&playbook.version) {
        let (name, step, version) = (&playbook.name, &playbook.step, &playbook.version);
        return refuse(format!("playbook {name:?}, step {step:?}, version {version:?}: expected names and a version"));
    }
    if proposal.origin != Origin::Playbook {
        return refuse("origin: what a person asks for does not come over the bus");
    }
    check_object_and_action(proposal)?;
    if proposal.rationale.len() > 1024 {
        return refuse(format!("rationale: expected at most 1024 bytes, found {}", proposal.rationale.len()));
    }
    if proposal.signals.len() > 16 || proposal.signals.iter().any(|signal| signal.len() > 256) {
        return refuse("signals: expected at most 16 names of at most 256 bytes");
    }
    if proposal.recurrence_of.as_deref().is_some_and(|earlier| !name_like(earlier)) {
        return refuse("recurrenceOf: expected the name of a Remediation");
    }
    if let Action::Notify(notify) = &proposal.action
        && notify.message.len() > MAX_MESSAGE
    {
        return refuse(format!("message: expected at most {MAX_MESSAGE} bytes, found {}", notify.message.len()));
    }
    Ok(())
}

/// Whether target and root are objects there can be, and the action can be done to the target.
pub(crate) fn check_object_and_action(proposal: &Proposal) -> Result<(), Refused> {
    check_object("target", &proposal.target)?;
    check_object("root", &proposal.root)?;
    let action = proposal.action.name();
    if !action.kinds().contains(&proposal.target.kind) {
        return refuse(format!("{action} can't be done to a {}", proposal.target.kind));
    }
    Ok(())
}

fn check_object(field: &str, object: &ObjectRef) -> Result<(), Refused> {
    // Names end in the API server's paths: one that is none must not lead elsewhere.
    let is_name = |name: &str| {
        (1..=253).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':' | b'_'))
    };
    if !is_name(&object.name) || object.namespace.as_deref().is_some_and(|namespace| !is_name(namespace)) {
        return refuse(format!("{field}: {object} is not a name an object can have"));
    }
    if object.kind.is_namespaced() != object.namespace.is_some() {
        let belongs = if object.kind.is_namespaced() { "a namespace" } else { "no namespace" };
        return refuse(format!("{field}: a {} has {belongs}", object.kind));
    }
    Ok(())
}

/// Whether the playbook step exists and says just that. The playbook, unless it is built in.
pub(crate) fn check_step<'a>(proposal: &Proposal, found: &'a Found) -> Result<Option<&'a PlaybookSpec>, Refused> {
    let named = &proposal.playbook;
    if named.name == BUILT_IN_PLAYBOOK {
        if proposal.action.name().is_mutating() {
            return refuse(format!(
                "{} needs a playbook; built-in can only notify and escalate",
                proposal.action.name()
            ));
        }
        return Ok(None);
    }
    let playbook = match found {
        Found::Playbook(playbook) => playbook,
        Found::Missing => return refuse(format!("playbook {} does not exist", named.name)),
        Found::Broken(reason) => return refuse(format!("playbook {} has faults: {reason}", named.name)),
    };
    if playbook.version != named.version {
        let (now, then) = (&playbook.version, &named.version);
        return refuse(format!("playbook {} is at version {now}, and this was proposed from {then}", named.name));
    }
    let Some(step) = playbook.spec.step(&named.step) else {
        return refuse(format!("playbook {} has no step {:?}", named.name, named.step));
    };
    let says_so = match (&step.action, &proposal.action) {
        // A notification's text is a template there and rendered here.
        (Action::Notify(_), Action::Notify(_)) => true,
        (theirs, ours) => theirs == ours,
    };
    if !says_so {
        let (name, step_name, declared) = (&named.name, &named.step, step.action.name());
        return refuse(format!(
            "step {step_name} of playbook {name} is another action, or with other parameters: {declared}"
        ));
    }
    if step.action.name().is_mutating() && step.verify.is_none() {
        return refuse(format!("step {} of playbook {} has no verify", named.step, named.name));
    }
    Ok(Some(&playbook.spec))
}

/// Whether there is room for it beside what is known.
pub(crate) fn check_room(
    proposal: &Proposal,
    index: &Index,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<(), Refused> {
    // Telling people changes nothing: it is neither stopped nor counted here.
    if !proposal.action.name().is_mutating() {
        return Ok(());
    }
    let by_person = proposal.origin == Origin::Person;
    let open = || {
        let mutating = index.open().filter(|open| open.spec.proposal.action.name().is_mutating());
        // What comes over the bus must not crowd a person out; what holds a claim is really under way. Beside what
        // only waits a person's goes first, and the ledger sees to it that one of them is carried out at a time.
        mutating.filter(move |open| {
            !by_person || open.spec.proposal.origin == Origin::Person || crate::index::phase(open).holds_claim()
        })
    };
    let namespace = proposal.target.namespace.as_deref();
    let in_namespace = open().filter(|open| open.spec.proposal.target.namespace.as_deref() == namespace).count();
    if open().count() >= config.open_per_cluster {
        return refuse(format!("{} remediations are open in the cluster, as many as may be", config.open_per_cluster));
    }
    if in_namespace >= config.open_per_namespace {
        let namespace = namespace.unwrap_or("(cluster-scoped)");
        return refuse(format!("{in_namespace} remediations are open in {namespace}, as many as may be"));
    }
    let other = open().find(|open| names_same(&open.spec.proposal.target, &proposal.target));
    if let Some(other) = other {
        return refuse(format!("remediation {} is open for {}", other.name_any(), proposal.target));
    }
    if let Some(held) = index.held_for_person(&proposal.root) {
        let (held, phase) = (held.name_any(), crate::index::phase(held));
        return refuse(format!(
            "{} is held until somebody looks at remediation {held}, which ended {phase}, and acknowledges it",
            proposal.root
        ));
    }
    if let Some(earlier) = index.did_not_help(&proposal.root, &proposal.target, &proposal.playbook, now) {
        let (earlier, phase) = (earlier.name_any(), crate::index::phase(earlier));
        return refuse(format!(
            "step {} of playbook {} was tried in {earlier} and did not help ({phase})",
            proposal.playbook.step, proposal.playbook.name
        ));
    }
    Ok(())
}

/// Why a proposal is no recurrence of `earlier`, if it is none: then nothing is counted against it.
pub(crate) fn check_recurrence(proposal: &Proposal, earlier: &evenkeel_model::Remediation) -> Result<(), String> {
    let before = &earlier.spec.proposal;
    let phase = crate::index::phase(earlier);
    if phase != Phase::Succeeded {
        return Err(format!("it is {phase}, not Succeeded"));
    }
    if !names_same(&before.root, &proposal.root) {
        return Err(format!("it was about {}", before.root));
    }
    if !is_same_trouble(&before.signals, &proposal.signals) {
        return Err(format!("it was for other signals: {}", before.signals.join(", ")));
    }
    match crate::index::remembered_until(earlier) {
        Some(until) if proposal.proposed_at <= until => Ok(()),
        Some(until) => Err(format!("its time to recur passed at {until}")),
        None => Err("its step can't recur".to_owned()),
    }
}

/// Whether an object of ours, a playbook or a Remediation, can have this name: a DNS subdomain, as Kubernetes has it.
pub(crate) fn is_object_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evenkeel_model::{Kind, Notify};
    use evenkeel_playbook::Loaded;

    use super::*;
    use crate::testing::{at, playbook, proposal, remediation};

    fn checked(change: impl FnOnce(&mut Proposal)) -> Result<(), String> {
        let mut proposal = proposal(1);
        change(&mut proposal);
        let found = Found::Playbook(Box::new(Loaded::new("bad-rollout", playbook()).unwrap()));
        check_time(&proposal, at(0))
            .and_then(|()| check_shape(&proposal, "prod"))
            .and_then(|()| check_step(&proposal, &found).map(drop))
            .map_err(|refused| format!("{}: {}", refused.phase, refused.reason))
    }

    #[test]
    fn a_sound_proposal_passes() {
        assert_eq!(checked(|_| {}), Ok(()));
    }

    #[test]
    fn each_fault_is_said() {
        type Fault = fn(&mut Proposal);
        let faults: [(&str, Fault); 20] = [
            ("another cluster", |it| it.cluster = "dev".to_owned()),
            ("expired", |it| {
                it.proposed_at = at(-3600);
                it.expires_at = at(-60);
            }),
            ("lives too long", |it| it.expires_at = at(3601)),
            ("from the future", |it| {
                it.proposed_at = at(120);
                it.expires_at = at(240);
            }),
            ("incident", |it| it.incident = "../x".to_owned()),
            ("number", |it| it.number = 0),
            ("origin", |it| it.origin = Origin::Person),
            ("target's name leads elsewhere", |it| it.target.name = "web/status".to_owned()),
            ("target without namespace", |it| it.target.namespace = None),
            ("kind", |it| it.target = ObjectRef::cluster_scoped(Kind::Node, "worker-1")),
            ("times at the end of the calendar", |it| it.proposed_at = DateTime::<Utc>::MAX_UTC),
            ("playbook without a name", |it| it.playbook.name = String::new()),
            ("playbook's name leads elsewhere", |it| it.playbook.name = "x?watch=1".to_owned()),
            ("step is no name", |it| it.playbook.step = "a b".to_owned()),
            ("playbook's version", |it| it.playbook.version = "0".repeat(16)),
            ("no such step", |it| it.playbook.step = "other".to_owned()),
            ("another action than the step's", |it| it.action = Action::RestartWorkload(evenkeel_model::Empty {})),
            ("built-in can't mutate", |it| it.playbook.name = BUILT_IN_PLAYBOOK.to_owned()),
            ("signals", |it| it.signals = vec!["x".to_owned(); 17]),
            ("rationale", |it| it.rationale = "x".repeat(1025)),
        ];
        let said: Vec<String> =
            faults.into_iter().map(|(what, fault)| format!("{what}: {}", checked(fault).unwrap_err())).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn a_playbook_that_is_gone_or_broken_permits_nothing() {
        let proposal = proposal(1);
        assert!(check_step(&proposal, &Found::Missing).is_err());
        assert!(check_step(&proposal, &Found::Broken("line 3".to_owned())).is_err());
    }

    #[test]
    fn built_in_may_tell_people() {
        let mut proposal = proposal(1);
        proposal.playbook.name = BUILT_IN_PLAYBOOK.to_owned();
        proposal.action = Action::Notify(Notify { message: "look".to_owned() });
        assert_eq!(check_step(&proposal, &Found::Missing).map(|it| it.is_none()), Ok(true));
    }

    fn room(known: Vec<evenkeel_model::Remediation>, proposal: &Proposal, config: &Config) -> Result<(), Refused> {
        let mut index = Index::default();
        for remediation in known {
            index.apply(Arc::new(remediation));
        }
        check_room(proposal, &index, config, at(0))
    }

    #[test]
    fn one_open_remediation_per_target() {
        let config = Config::default();
        assert!(room(vec![remediation(1, Phase::Verifying)], &proposal(2), &config).is_err());
        assert!(room(vec![remediation(1, Phase::Obsolete)], &proposal(2), &config).is_ok());
        let mut tell = proposal(2);
        tell.action = Action::Notify(Notify { message: "look".to_owned() });
        assert!(room(vec![remediation(1, Phase::Verifying)], &tell, &config).is_ok(), "telling is not doing");
    }

    #[test]
    fn what_comes_over_the_bus_does_not_crowd_a_person_out() {
        let by_person = |number, phase| {
            let mut of = remediation(number, phase);
            of.spec.proposal.origin = Origin::Person;
            of
        };
        let run = by_person(9, Phase::Proposed).spec.proposal;
        let full = Config { open_per_namespace: 1, open_per_cluster: 1, ..Config::default() };
        for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_final()) {
            let beside_bus = room(vec![remediation(1, phase)], &run, &full);
            assert_eq!(beside_bus.is_err(), phase.holds_claim(), "{phase}: {beside_bus:?}");
            assert!(room(vec![by_person(1, phase)], &run, &Config::default()).is_err(), "{phase}: one a target");
            let mut elsewhere = by_person(1, phase);
            elsewhere.spec.proposal.target.name = "other".to_owned();
            assert!(room(vec![elsewhere], &run, &full).is_err(), "{phase}: persons are counted");
        }
        assert!(room(vec![by_person(1, Phase::Proposed)], &proposal(2), &full).is_err(), "the bus waits for people");
    }

    #[test]
    fn a_step_that_did_not_help_is_not_repeated() {
        let config = Config::default();
        for phase in Phase::ALL.into_iter().filter(|phase| phase.is_final() && phase.did_not_help()) {
            assert!(room(vec![remediation(1, phase)], &proposal(2), &config).is_err(), "{phase}");
        }
        assert!(room(vec![remediation(1, Phase::Succeeded)], &proposal(2), &config).is_ok());
    }

    #[test]
    fn open_ones_are_capped() {
        let mut elsewhere = remediation(1, Phase::Proposed);
        elsewhere.spec.proposal.target.name = "other".to_owned();
        let per_cluster = Config { open_per_cluster: 1, ..Config::default() };
        assert!(room(vec![elsewhere.clone()], &proposal(2), &per_cluster).is_err());
        let per_namespace = Config { open_per_namespace: 1, ..Config::default() };
        assert!(room(vec![elsewhere.clone()], &proposal(2), &per_namespace).is_err());
        elsewhere.spec.proposal.target.namespace = Some("other".to_owned());
        assert!(room(vec![elsewhere], &proposal(2), &per_namespace).is_ok());
    }

    #[test]
    fn the_same_trouble_in_time_is_a_recurrence() {
        let earlier = remediation(1, Phase::Succeeded);
        let mut again = proposal(2);
        assert_eq!(check_recurrence(&again, &earlier), Ok(()));
        again.signals = vec!["Other".to_owned()];
        assert!(check_recurrence(&again, &earlier).is_err());
        // What any trouble of a workload brings along.
        let unavailable = || "ReplicasUnavailable".to_owned();
        let mut earlier_too = earlier.clone();
        earlier_too.spec.proposal.signals.push(unavailable());
        again.signals.push(unavailable());
        assert!(check_recurrence(&again, &earlier_too).is_err(), "another trouble");
        again.signals.push("ImagePullBackOff".to_owned());
        assert_eq!(check_recurrence(&again, &earlier_too), Ok(()));
        let mut late = proposal(2);
        late.proposed_at = at(25 * 3600);
        assert!(check_recurrence(&late, &earlier).is_err());
        assert!(check_recurrence(&proposal(2), &remediation(1, Phase::Ineffective)).is_err());
    }
}
