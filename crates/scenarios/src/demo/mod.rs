//! The demonstration: one scenario, with all it needs in the binary, and its story.

mod story;

pub use story::{Line, Tone, story};

use crate::file::{Files, Scenario};

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

/// The scenario.
///
/// # Errors
/// What is wrong with the files in the binary; a test says that nothing is.
pub fn scenario() -> Result<Scenario, String> {
    let (scenarios, problems) = crate::file::load(SCENARIO, "simulations/demo.yaml", &Shipped);
    match (scenarios.into_iter().next(), problems.first()) {
        (Some(scenario), None) => Ok(scenario),
        (_, Some(problem)) => Err(problem.to_string()),
        (None, None) => Err("simulations/demo.yaml holds no scenario".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_binary_can_be_told() {
        let scenario = scenario().unwrap();
        assert_eq!(scenario.name, "demo");
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../playbooks");
        assert_eq!(std::fs::read_dir(shipped).unwrap().count(), PLAYBOOKS.len(), "a playbook is missing here");
    }
}
