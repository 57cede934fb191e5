//! Which Approvals count for what is asked. Pure; whether their authors may approve is asked afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{Approval, ApprovalDecision, Asked};
use kube::ResourceExt as _;

use super::created;

/// What is asked, and of whom not.
pub(crate) struct Poll<'a> {
    pub(crate) asked: &'a Asked,
    /// The target's.
    pub(crate) namespace: Option<&'a str>,
    /// Who asked for it, where a person did.
    pub(crate) requester: Option<&'a str>,
    /// When the proposal ends.
    pub(crate) expires_at: DateTime<Utc>,
    /// How far our clock and the API server's may be apart.
    pub(crate) tolerance: Duration,
}

/// Approvals by what they are worth.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// One a person, oldest first.
    pub(crate) approved: Vec<Arc<Approval>>,
    /// The same of those that say no.
    pub(crate) denied: Vec<Arc<Approval>>,
    /// Those that don't count, and why.
    pub(crate) refused: Vec<(Arc<Approval>, String)>,
}

/// Counts `approvals`; `falls` has those that are known not to count, by name, and why. Of one person's the oldest
/// counts; of those made in the same second, the one that has been told to count.
/// Without a guard none counts, and none is refused for good.
pub(crate) fn tally(poll: &Poll<'_>, approvals: &[Arc<Approval>], falls: &BTreeMap<String, String>) -> Tally {
    let mut tally = Tally::default();
    let Some(guard) = &poll.asked.guard else { return tally };
    let from = guard.since.checked_add_signed(poll.tolerance).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let mut heard: BTreeMap<(&str, ApprovalDecision), String> = BTreeMap::new();
    let is_told = |name: &str| poll.asked.given.iter().any(|given| given.name == name);
    let mut oldest_first: Vec<&Arc<Approval>> = approvals.iter().collect();
    oldest_first.sort_by_cached_key(|it| (created(it), !is_told(&it.name_any()), it.name_any()));
    for approval in oldest_first {
        let key = (approval.spec.person(), approval.spec.decision);
        let judged = judge(poll, approval, from);
        if let Err(reason) = falls.get(&approval.name_any()).cloned().map_or(judged, Err) {
            tally.refused.push((Arc::clone(approval), reason));
        } else if let Some(earlier) = heard.get(&key) {
            let reason = format!("{} has said so in {earlier} already; a person counts once", key.0);
            tally.refused.push((Arc::clone(approval), reason));
        } else {
            heard.insert(key, approval.name_any());
            match approval.spec.decision {
                ApprovalDecision::Approve => tally.approved.push(Arc::clone(approval)),
                ApprovalDecision::Deny => tally.denied.push(Arc::clone(approval)),
            }
        }
    }
    tally
}

/// Why one does not count, if it doesn't.
fn judge(poll: &Poll<'_>, approval: &Approval, from: DateTime<Utc>) -> Result<(), String> {
    let (asked, spec, at) = (poll.asked, &approval.spec, created(approval));
    if spec.digest != asked.digest {
        // Without the word "digest" before it, which is redacted as the credential of an HTTP scheme of that name.
        return Err(format!(
            "it signs {}, and what is asked now is {}: what would be done, the target or the rules are not what they \
             were",
            short(&spec.digest),
            short(&asked.digest)
        ));
    }
    if spec.tier != asked.tier {
        return Err(format!("it is for tier {:?}, and what is asked is {:?}", spec.tier, asked.tier));
    }
    if spec.namespace.as_deref() != poll.namespace {
        let place = |namespace: Option<&str>| namespace.unwrap_or("no namespace").to_owned();
        return Err(format!(
            "it is for {}, and the target is in {}",
            place(spec.namespace.as_deref()),
            place(poll.namespace)
        ));
    }
    // Admission says so, too.
    if spec.person().starts_with("system:serviceaccount:") {
        return Err("a ServiceAccount is no person".to_owned());
    }
    if spec.decision == ApprovalDecision::Approve && poll.requester == Some(spec.person()) {
        return Err(format!("{} has asked for it, and nobody approves what they ask for", spec.person()));
    }
    if at >= poll.expires_at {
        return Err(format!("it was made at {at}, and the proposal ended at {}", poll.expires_at));
    }
    // Of times to the second the whole second has to be later.
    if at <= from {
        return Err(format!(
            "it was made at {at}, and admission is known to refuse forged approvals only since {from}: make it again"
        ));
    }
    Ok(())
}

fn short(digest: &str) -> String {
    let begins: String = digest.chars().take(12).collect();
    format!("{begins}…")
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{ApprovalGuard, GivenApproval, Tier};

    use super::*;
    use crate::testing::{approval, at};

    fn asked() -> Asked {
        Asked {
            digest: "d".repeat(64),
            since: at(0),
            tier: Tier::Medium,
            approvers: 2,
            changes: Vec::new(),
            guard: Some(ApprovalGuard { version: "u/1 v/1".to_owned(), since: at(-100) }),
            trouble: None,
            given: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn poll(asked: &Asked) -> Poll<'_> {
        let tolerance = Duration::seconds(5);
        Poll { asked, namespace: Some("shop"), requester: Some("rita"), expires_at: at(1800), tolerance }
    }

    fn count(asked: &Asked, approvals: &[Arc<Approval>]) -> Tally {
        tally(&poll(asked), approvals, &BTreeMap::new())
    }

    /// One that counts, but for what is changed.
    fn made(name: &str, who: &str, change: impl FnOnce(&mut Approval)) -> Arc<Approval> {
        let mut made = approval(name, "r-1", who, 10);
        change(&mut made);
        Arc::new(made)
    }

    fn said(approval: Arc<Approval>) -> String {
        let asked = asked();
        let tally = count(&asked, &[approval]);
        assert!(tally.approved.is_empty() && tally.denied.is_empty(), "{tally:?}");
        tally.refused[0].1.clone()
    }

    #[test]
    fn persons_are_counted_not_approvals() {
        let asked = asked();
        let all = [
            made("a", "jane", |_| {}),
            made("b", "jane", |_| {}),
            made("c", "slack:jane", |_| {}),
            made("d", "joe", |_| {}),
        ];
        let tally = count(&asked, &all);
        let approved: Vec<&str> = tally.approved.iter().map(|it| it.spec.approver.as_str()).collect();
        assert_eq!(approved, ["jane", "joe"]);
        let refused: Vec<&str> = tally.refused.iter().map(|(_, reason)| reason.as_str()).collect();
        assert_eq!(refused, ["jane has said so in a already; a person counts once"; 2]);
        // Where the first is worth nothing the second counts.
        let falls = BTreeMap::from([("a".to_owned(), "may not".to_owned())]);
        let counted = super::tally(&poll(&asked), &all, &falls);
        let approved: Vec<String> = counted.approved.iter().map(|it| it.name_any()).collect();
        assert_eq!(approved, ["b", "d"]);
        assert_eq!(counted.refused[0].1, "may not");
    }

    #[test]
    fn what_counts_goes_on_to_count_beside_another_of_the_same_second() {
        let mut asked = asked();
        let (a, b) = (made("a", "jane", |_| {}), made("b", "jane", |_| {}));
        let given = |it: &Arc<Approval>| it.name_any();
        let first = count(&asked, &[Arc::clone(&b)]);
        assert_eq!(first.approved.iter().map(given).collect::<Vec<_>>(), ["b"]);
        asked.given = vec![GivenApproval {
            name: "b".to_owned(),
            approver: "jane".to_owned(),
            decision: ApprovalDecision::Approve,
            reason: String::new(),
            at: at(10),
        }];
        let both = count(&asked, &[a, b]);
        assert_eq!(both.approved.iter().map(given).collect::<Vec<_>>(), ["b"]);
        assert_eq!(both.refused[0].1, "jane has said so in b already; a person counts once");
    }

    #[test]
    fn whoever_has_approved_may_think_better_of_it() {
        let asked = asked();
        let deny = |it: &mut Approval| it.spec.decision = ApprovalDecision::Deny;
        let tally = count(&asked, &[made("a", "jane", |_| {}), made("b", "jane", deny), made("c", "rita", deny)]);
        assert_eq!((tally.approved.len(), tally.denied.len(), tally.refused.len()), (1, 2, 0));
    }

    #[test]
    fn what_does_not_count_is_told_with_a_reason() {
        let replayed = made("a", "jane", |it| it.spec.digest = "e".repeat(64));
        assert!(said(replayed).starts_with("it signs eeeeeeeeeeee…, and what is asked now is dddddddddddd…"));
        assert_eq!(
            said(made("a", "jane", |it| it.spec.tier = Tier::High)),
            "it is for tier High, and what is asked is Medium"
        );
        let elsewhere = made("a", "jane", |it| it.spec.namespace = Some("play".to_owned()));
        assert_eq!(said(elsewhere), "it is for play, and the target is in shop");
        let nowhere = made("a", "jane", |it| it.spec.namespace = None);
        assert_eq!(said(nowhere), "it is for no namespace, and the target is in shop");
        assert_eq!(said(made("a", "system:serviceaccount:shop:ci", |_| {})), "a ServiceAccount is no person");
        assert_eq!(said(made("a", "rita", |_| {})), "rita has asked for it, and nobody approves what they ask for");
        assert_eq!(
            said(made("a", "slack:rita", |_| {})),
            "rita has asked for it, and nobody approves what they ask for"
        );
        assert!(said(Arc::new(approval("a", "r-1", "jane", 1800))).contains("the proposal ended"));
    }

    #[test]
    fn what_is_not_clearly_younger_than_the_refused_forgery_does_not_count() {
        for (seconds, counts) in [(-101, false), (-100, false), (-95, false), (-94, true)] {
            let asked = asked();
            let tally = count(&asked, &[Arc::new(approval("a", "r-1", "jane", seconds))]);
            assert_eq!((tally.approved.len(), tally.refused.len()), (usize::from(counts), usize::from(!counts)));
        }
        let asked = Asked { guard: None, ..asked() };
        let tally = count(&asked, &[made("a", "jane", |_| {})]);
        assert!(tally.approved.is_empty() && tally.refused.is_empty(), "it may count yet");
    }
}
