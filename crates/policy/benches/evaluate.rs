//! How long one evaluation takes with its trace, each timed by itself: `cargo bench -p evenkeel-policy`.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, missing_docs, reason = "a bench")]
#![allow(clippy::disallowed_methods, reason = "a bench measures with the machine's own clock")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use evenkeel_model::{Action, ActionPolicySpec, Kind, Mode, ObjectRef, Origin, RollbackTo, RollbackWorkload};
use evenkeel_policy::{Context, PolicySource, Protected, Question, evaluate, judge};

const WARM_UP: usize = 100_000;
const RUNS: usize = 1_000_000;

fn shipped(file: &str) -> Vec<PolicySource> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies").join(file);
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap();
    let policy = |document: serde_json::Value| PolicySource::Loaded {
        name: document["metadata"]["name"].as_str().unwrap().to_owned(),
        spec: serde_json::from_value(document["spec"].clone()).unwrap(),
    };
    documents.into_iter().map(policy).collect()
}

/// One policy for the target's namespace, with hours in a zone that changes its clocks, and a freeze.
fn with_windows(name: &str, namespace: &str) -> PolicySource {
    let spec: ActionPolicySpec = serde_json::from_value(serde_json::json!({
        "mode": "Enforce",
        "match": {"namespaces": [namespace], "kinds": ["Deployment"], "selector": {}},
        "actions": [{"do": "rollbackWorkload", "tier": "Low", "origins": ["Playbook"],
                     "rate": {"target": "1/1h", "namespace": "3/1h", "cluster": "10/1h"}}],
        "windows": {
            "timeZone": "Europe/Berlin",
            "allow": [{"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "06:00", "to": "22:00"}],
            "freeze": [{"from": "2026-12-20", "to": "2027-01-03", "reason": "peak season"}],
        },
        "limits": {"concurrent": 1, "unavailable": {"count": 2, "percent": 20}},
        "gitOps": "UnownedFields",
    }))
    .unwrap();
    PolicySource::Loaded { name: name.to_owned(), spec }
}

fn percentiles(mut work: impl FnMut()) -> [u64; 3] {
    for _ in 0..WARM_UP {
        work();
    }
    let mut took: Vec<u64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
        })
        .collect();
    took.sort_unstable();
    [50, 99, 100].map(|percent| took[(RUNS * percent / 100).saturating_sub(1)])
}

fn main() {
    let action = Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable });
    let target = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
    let labels = BTreeMap::from([("app".to_owned(), "cart".to_owned())]);
    let protected = Protected {
        namespaces: BTreeMap::from([("kube-system".to_owned(), "part of the cluster itself".to_owned())]),
        nodes: BTreeMap::new(),
    };
    let question = Question {
        action: &action,
        target: &target,
        labels: &labels,
        origin: Origin::Playbook,
        now: "2026-11-18T12:00:00Z".parse().unwrap(),
        ceiling: Mode::Enforce,
        narrowed: None,
        context: Context { replicas: Some(3), ..Context::default() },
        protected: &protected,
    };
    let mut many = shipped("standard.yaml");
    many.extend((0..50).map(|n| with_windows(&format!("team-{n}"), &format!("team-{n}"))));
    many.push(with_windows("shop", "shop"));
    let denied = vec![with_windows("bank", "bank")];
    println!("{RUNS} evaluations each; nanoseconds: p50, p99, most");
    let clock = percentiles(|| {
        black_box(Duration::ZERO);
    });
    println!("{:58} {:>6} {:>6} {:>9}", "nothing: what the clock itself takes", clock[0], clock[1], clock[2]);
    for (what, policies) in [
        ("policies/standard.yaml (4 policies, 1 matches)", shipped("standard.yaml")),
        ("hours in Berlin and a freeze (1 policy)", vec![with_windows("shop", "shop")]),
        ("both, among 50 policies of other namespaces", many),
        ("no policy matches: denied", denied),
    ] {
        let traced = percentiles(|| {
            black_box(evaluate(black_box(&question), black_box(&policies)));
        });
        let written = percentiles(|| {
            black_box(judge(black_box(&question), black_box(&policies)));
        });
        println!("{:58} {:>6} {:>6} {:>9}", format!("{what}, with trace"), traced[0], traced[1], traced[2]);
        println!("{:58} {:>6} {:>6} {:>9}", "  the same, written out as text", written[0], written[1], written[2]);
    }
}
