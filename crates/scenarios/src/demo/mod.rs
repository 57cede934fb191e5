//! The demonstration: one scenario, with all it needs in the binary, and its story.

mod story;

pub use story::{Line, Tone, so_far, story};

use chrono::Duration;
use evenkeel_model::{ApprovalDecision, Phase, Span};

use crate::file::{Files, Scenario};
use crate::runner::{RemediationSeen, RunReport};

/// How long before the answer the story stops for the viewer.
const BEFORE_THE_ANSWER: std::time::Duration = std::time::Duration::from_secs(30);

const FILE: &str = "simulations/demo.yaml";

const SCENARIO: &str = include_str!("../../../../simulations/demo.yaml");

const PLAYBOOKS: [(&str, &str); 11] = [
    ("playbooks/bad-rollout.yaml", include_str!("../../../../playbooks/bad-rollout.yaml")),
    ("playbooks/crash-after-rollout.yaml", include_str!("../../../../playbooks/crash-after-rollout.yaml")),
    ("playbooks/default.yaml", include_str!("../../../../playbooks/default.yaml")),
    ("playbooks/failed-job.yaml", include_str!("../../../../playbooks/failed-job.yaml")),
    (
        "playbooks/image-pull-without-rollout.yaml",
        include_str!("../../../../playbooks/image-pull-without-rollout.yaml"),
    ),
    ("playbooks/many-affected.yaml", include_str!("../../../../playbooks/many-affected.yaml")),
    ("playbooks/node-not-ready.yaml", include_str!("../../../../playbooks/node-not-ready.yaml")),
    ("playbooks/node-well-again.yaml", include_str!("../../../../playbooks/node-well-again.yaml")),
    ("playbooks/pod-stuck-on-node.yaml", include_str!("../../../../playbooks/pod-stuck-on-node.yaml")),
    ("playbooks/rollout-stuck.yaml", include_str!("../../../../playbooks/rollout-stuck.yaml")),
    ("playbooks/workload-unavailable.yaml", include_str!("../../../../playbooks/workload-unavailable.yaml")),
];

const POLICY: (&str, &str) = ("policies/standard.yaml", include_str!("../../../../policies/standard.yaml"));

/// The files in the binary.
struct Shipped;

impl Files for Shipped {
    fn read(&self, _near: &str, path: &str) -> Result<Vec<(String, String)>, String> {
        let begin = format!("{path}/");
        let all = PLAYBOOKS.iter().chain([&POLICY]);
        let named = all.filter(|(name, _)| *name == path || name.starts_with(&begin));
        let found: Vec<_> = named.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        if found.is_empty() { Err(format!("{path} is not in the binary")) } else { Ok(found) }
    }
}

/// The demonstration: the same scenario with both answers that its viewer can give.
#[derive(Debug, Clone)]
pub struct Demo {
    approved: Scenario,
    denied: Scenario,
    /// When the viewer is asked, from the start.
    asks: Span,
}

/// The demonstration.
///
/// # Errors
/// What is wrong with the files in the binary; a test says that nothing is.
pub fn demo() -> Result<Demo, String> {
    let (scenarios, problems) = crate::file::load(SCENARIO, FILE, &Shipped);
    if let Some(problem) = problems.first() {
        return Err(problem.to_string());
    }
    let [approved, denied] = <[Scenario; 2]>::try_from(scenarios)
        .map_err(|found| format!("expected two scenarios in {FILE}, found {}", found.len()))?;
    let answer = approved.spec.timeline.iter().find(|event| event.approve.is_some());
    let answer = answer.ok_or_else(|| format!("expected an approval in {}, found none", approved.name))?;
    // Well before the answer: seeds move events, and what was told has to be what comes.
    let asks = Span::seconds(answer.at.get().saturating_sub(BEFORE_THE_ANSWER).as_secs());
    Ok(Demo { approved, denied, asks })
}

impl Demo {
    /// The scenario up to the question.
    pub fn to_the_question(&self) -> Scenario {
        let mut scenario = self.approved.clone();
        scenario.spec.until = self.asks;
        scenario
    }

    /// The whole of it, with the answer.
    pub fn whole(&self, answer: ApprovalDecision) -> &Scenario {
        match answer {
            ApprovalDecision::Approve => &self.approved,
            ApprovalDecision::Deny => &self.denied,
        }
    }

    /// What the viewer is asked about, and the story up to there; in a run that goes as far as the question.
    pub fn question<'a>(&self, report: &'a RunReport) -> Option<(&'a RemediationSeen, Vec<Line>)> {
        let asked = report.remediations.iter().find(|it| it.phase() == Phase::AwaitingApproval)?;
        Some((asked, so_far(report, report.start + Duration::seconds(i64::try_from(self.asks.get().as_secs()).ok()?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::runner::RunOptions;

    fn told(report: &RunReport) -> String {
        story(report).iter().map(|line| format!("{} {}\n", line.who, line.text)).collect()
    }

    #[test]
    fn what_is_in_the_binary_can_be_told() {
        let demo = demo().unwrap();
        assert_eq!((demo.approved.name.as_str(), demo.denied.name.as_str()), ("demo", "demo-denied"));
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../playbooks");
        assert_eq!(std::fs::read_dir(shipped).unwrap().count(), PLAYBOOKS.len(), "a playbook is missing here");
    }

    #[test]
    fn both_answers_come_after_the_same_story() {
        let demo = demo().unwrap();
        let before = |scenario: &Scenario| {
            let spec = &scenario.spec;
            let early = spec.timeline.iter().filter(|event| event.at <= demo.asks);
            let early: Vec<String> = early.map(|event| serde_json::to_string(event).unwrap()).collect();
            (early, serde_json::to_string(&spec.cluster).unwrap(), serde_json::to_string(&spec.engine).unwrap())
        };
        assert_eq!(before(&demo.approved), before(&demo.denied));
        let options = RunOptions::default();
        let begun = crate::run(&demo.to_the_question(), options).unwrap();
        let (asked, so_far) = demo.question(&begun).unwrap();
        assert_eq!((asked.target.as_str(), asked.asked.len()), ("deployment/shop/orders", 2), "{asked:?}");
        for answer in [ApprovalDecision::Approve, ApprovalDecision::Deny] {
            let report = crate::run(demo.whole(answer), options).unwrap();
            assert_eq!(report.violations, [], "{answer:?}");
            assert!(story(&report).starts_with(&so_far), "{answer:?}: {}\n\nand not as\n\n{so_far:#?}", told(&report));
            let told = told(&report);
            for expected in [
                // As the API server, the gateway and the verifier say it themselves.
                "refused by the API server: ",
                "ValidatingAdmissionPolicy 'evenkeel-approvals' with binding 'evenkeel-approvals' denied request: evenkeel: the \
                 approver is not its author",
                "frozen ana freezes everything: ",
                "thawed ana thaws release",
                "Nothing was touched while all was frozen; then it was repaired.",
                "audit whole: ",
                "audit NOT whole: ",
            ] {
                assert!(told.contains(expected), "{answer:?}: no {expected:?} in {told}");
            }
            let of_orders = report.writes.iter().filter(|write| write.object == "deployment/shop/orders").count();
            let (effects, says) = match answer {
                ApprovalDecision::Approve => (1, "Repaired, once a person had said yes."),
                ApprovalDecision::Deny => (0, "a person had said no"),
            };
            assert_eq!(of_orders, effects);
            assert!(told.contains(says), "{told}");
        }
    }
}
