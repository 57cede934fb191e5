use evenkeel_chat::{Story, Voice};
use evenkeel_model::{ActionName, ApprovalDecision, Phase, Remediation, SLACK_APPROVER};
use kube::ResourceExt as _;

use crate::index;

/// What people are told about a Remediation, with what its playbook says about itself.
pub(super) fn of(remediation: &Remediation, summary: String) -> Story {
    let (status, proposal) = (index::status(remediation), &remediation.spec.proposal);
    let mut story = Story::of(&remediation.name_any(), &remediation.spec, &status);
    story.summary = summary;
    story.blast_radius = blast_radius(proposal.action.name(), &story.target).into_iter().collect();
    let Some(asked) = &status.approval else { return story };
    story.tier = Some(asked.tier);
    story.approvers = asked.approvers;
    // What is signed is what people see.
    story.changes.clone_from(&asked.changes);
    story.voices = asked
        .given
        .iter()
        .map(|given| Voice {
            person: given.approver.strip_prefix(SLACK_APPROVER).unwrap_or(&given.approver).to_owned(),
            approved: given.decision == ApprovalDecision::Approve,
            at: given.at,
        })
        .collect();
    match &asked.trouble {
        // Without a digest there are no buttons: a click would count for nothing.
        Some(trouble) => story.reason = format!("{}; nothing can be approved now: {trouble}", story.reason),
        None if status.phase == Phase::AwaitingApproval => story.digest = Some(asked.digest.clone()),
        None => {}
    }
    story
}

/// What an action can do harm to.
fn blast_radius(action: ActionName, target: &str) -> Option<String> {
    Some(match action {
        ActionName::RollbackWorkload | ActionName::RestartWorkload => {
            format!("every pod of {target} is replaced, as fast as its update strategy lets them be")
        }
        ActionName::ScaleWorkload => format!("pods of {target} are added or taken away"),
        ActionName::DeletePod | ActionName::EvictPod => format!("{target}, and what it has in memory"),
        ActionName::CordonNode => format!("no new pod is put on {target}; those on it go on"),
        ActionName::UncordonNode => format!("new pods are put on {target} again"),
        ActionName::DeleteJob => format!("{target} and its pods"),
        ActionName::Notify | ActionName::Escalate => return None,
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use evenkeel_chat::Stage;
    use evenkeel_model::{Asked, GivenApproval, Tier};

    use super::*;
    use crate::testing::remediation;

    fn asked(trouble: Option<&str>) -> Remediation {
        let mut remediation = remediation(1, Phase::AwaitingApproval);
        let at = DateTime::UNIX_EPOCH;
        let given = |approver: &str| GivenApproval {
            name: "a".to_owned(),
            approver: approver.to_owned(),
            decision: ApprovalDecision::Approve,
            reason: "saw it".to_owned(),
            at,
        };
        remediation.status.as_mut().unwrap().approval = Some(Asked {
            digest: "9f".repeat(32),
            since: at,
            tier: Tier::High,
            approvers: 3,
            changes: vec!["spec.replicas: 1 → 2".to_owned()],
            guard: None,
            trouble: trouble.map(str::to_owned),
            given: vec![given("slack:jane"), given("joe")],
            refused: Vec::new(),
        });
        remediation
    }

    #[test]
    fn people_see_what_they_sign_and_who_signed() {
        let story = of(&asked(None), "go back".to_owned());
        assert_eq!((story.stage(), story.digest), (Stage::AwaitingApproval, Some("9f".repeat(32))));
        assert_eq!((story.tier, story.approvers, story.summary.as_str()), (Some(Tier::High), 3, "go back"));
        assert_eq!(story.changes, ["spec.replicas: 1 → 2"]);
        assert_eq!(story.voices.iter().map(|voice| voice.person.as_str()).collect::<Vec<_>>(), ["jane", "joe"]);
    }

    #[test]
    fn what_could_not_be_counted_can_not_be_clicked() {
        let story = of(&asked(Some("the admission policy is not installed")), String::new());
        assert_eq!(story.digest, None);
        assert!(story.reason.ends_with("nothing can be approved now: the admission policy is not installed"));
    }
}
