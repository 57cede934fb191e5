use chrono::{DateTime, Duration, Timelike as _, Utc};
use evenkeel_model::{Decision, Mode, Windows};
use evenkeel_policy::{PolicySource, evaluate};

use crate::generated::{Chance, plan, policies, protected};
use crate::plain::{self, Answer};

/// How the answers fell, so that a generator that has gone one-sided is seen.
#[derive(Debug, Default)]
struct Tally {
    allow: u32,
    audit: u32,
    people: u32,
    wait: u32,
    no: u32,
}

fn compare(seed: u64, plans: u32) -> Tally {
    println!("seed {seed}, {plans} plans; EVENKEEL_SEED=N tries others");
    let (mut chance, mut tally, protected) = (Chance::new(seed), Tally::default(), protected());
    let mut set = Vec::new();
    for n in 0..plans {
        if n % 4 == 0 {
            set = policies(&mut chance);
        }
        let plan = plan(&mut chance);
        let question = plan.question(&protected);
        let found = evaluate(&question, &set);
        let (expected, counted) = plain::judge(&plan, &set, &protected);
        let show = || format!("seed {seed}, plan {n}: {plan:#?}\n{set:#?}\n{found:#?}\nexpected {expected:?}");
        match (&found.decision, &expected) {
            (Decision::Allow { mode: Mode::Enforce }, Answer::Allow) => tally.allow += 1,
            (Decision::Allow { mode: Mode::Audit }, Answer::Audit) => tally.audit += 1,
            (Decision::NeedsApproval { tier }, Answer::People(expected, approvers)) => {
                assert_eq!((tier, found.approvers), (expected, *approvers), "{}", show());
                tally.people += 1;
            }
            (Decision::Deny {}, Answer::No) => tally.no += 1,
            (Decision::Defer { until }, Answer::Wait(closed)) => {
                assert!(*until > plan.now, "{}", show());
                let scan = n % 64 == 0;
                assert!(closed.is_empty() || opens(closed, plan.now, *until, scan), "{}", show());
                tally.wait += 1;
            }
            _ => panic!("{}", show()),
        }
        if expected != Answer::No {
            let rates = found.rates();
            let rates = plain::Counted {
                target: rates.target,
                namespace: rates.namespace,
                playbook: rates.playbook,
                cluster: rates.cluster,
            };
            assert_eq!(rates, counted, "{}", show());
        }
        // Every policy that matches has spoken, and what is written out says the same.
        for policy in &set {
            let silent = plain::about(policy, &plan).is_some() && plan.action.name().is_mutating();
            assert!(!silent || found.trace.iter().any(|heard| heard.policy == policy.name()), "{}", show());
        }
        if n % 16 == 0 {
            let judgement = found.judgement();
            assert_eq!(judgement.verdict.decision, found.decision);
            assert_eq!(judgement.verdict.rules.len(), found.trace.len());
            let matching = set.iter().filter(|policy| plain::about(policy, &plan).is_some()).count();
            assert_eq!(judgement.concurrent.len(), if plan.action.name().is_mutating() { matching } else { 0 });
        }
    }
    println!("{tally:?}");
    tally
}

/// Whether the windows that are closed open one after the other until `until`, the last of them then.
fn opens(closed: &[Windows], now: DateTime<Utc>, until: DateTime<Utc>, scan: bool) -> bool {
    let minute = |at: DateTime<Utc>| at.with_second(0).and_then(|at| at.with_nanosecond(0)).unwrap();
    let is_on_the_minute = until == minute(until);
    let mut last = false;
    for windows in closed {
        last |= plain::is_open(windows, until) && !plain::is_open(windows, until - Duration::seconds(1));
    }
    // What waits for pods as well is looked at again in half a minute at the earliest.
    if !last || !is_on_the_minute {
        return until == now + Duration::seconds(30);
    }
    // Minute by minute, for some: none of them opens earlier than it says, and the last not before.
    !scan || until > now + Duration::days(3) || {
        let mut at = minute(now) + Duration::minutes(1);
        let mut opened = vec![false; closed.len()];
        while at < until {
            for (windows, opened) in closed.iter().zip(&mut opened) {
                *opened |= plain::is_open(windows, at);
            }
            at += Duration::minutes(1);
        }
        opened.contains(&false)
    }
}

#[allow(clippy::disallowed_methods, reason = "a test that is told to try another seed")]
fn seed() -> u64 {
    std::env::var("EVENKEEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121)
}

#[test]
fn the_evaluator_agrees_with_a_plain_reference() {
    let tally = compare(seed(), 20_000);
    let least = [tally.allow, tally.audit, tally.people, tally.wait, tally.no].into_iter().min();
    assert!(least > Some(200), "the generator has gone one-sided: {tally:?}");
}

/// A minute with optimisation: `cargo test --release -p evenkeel-policy -- --ignored`.
#[test]
#[ignore = "a million plans; run it with --release"]
fn the_evaluator_agrees_with_a_plain_reference_on_a_million_plans() {
    compare(seed(), 1_000_000);
}

#[test]
fn the_order_of_policies_does_not_matter() {
    let (mut chance, protected) = (Chance::new(seed()), protected());
    for n in 0..2_000 {
        let mut set: Vec<PolicySource> = policies(&mut chance);
        // Of two policies of one name the trace can't tell which spoke first.
        set.sort_by(|a, b| a.name().cmp(b.name()));
        set.dedup_by(|a, b| a.name() == b.name());
        let plan = plan(&mut chance);
        let question = plan.question(&protected);
        let there = evaluate(&question, &set).judgement();
        set.reverse();
        assert_eq!(evaluate(&question, &set).judgement(), there, "plan {n}");
    }
}
