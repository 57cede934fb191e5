use evenkeel_model::{Mode, Verdict};
use proptest::prelude::*;

use super::*;
use crate::EffectiveRates;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_477_200 + minutes * 60, 0).unwrap()
}

fn tried(cause: &str, root: &str, playbook: &str, begun: i64, came: Came) -> Tried {
    let text = str::to_owned;
    Tried { cause: text(cause), root: text(root), playbook: text(playbook), begun_at: at(begun), came }
}

fn failed(n: i64, playbook: &str) -> Tried {
    tried(&format!("i-{n}"), &format!("deployment/shop/w-{n}"), playbook, n * 10, Came::Failed(at(n * 10 + 5)))
}

fn helped(n: i64, playbook: &str) -> Tried {
    Tried { came: Came::Helped, ..failed(n, playbook) }
}

fn open(all: &[Tried], rearmed: &[Rearmed], now: i64) -> Breakers {
    Breakers::of(all, rearmed, &BreakerLimits::default(), at(now))
}

fn useless(n: i64) -> Vec<Tried> {
    (1..=n).map(|n| failed(n, "useless")).collect()
}

#[test]
fn a_playbook_that_did_not_help_with_three_causes_is_suspended_for_a_day() {
    assert!(open(&useless(2), &[], 60).are_closed());
    let breakers = open(&useless(3), &[], 60);
    let suspended = Suspended { failed: 3, of: 3, until: at(15 + 24 * 60) };
    assert_eq!(breakers.playbooks, BTreeMap::from([("useless".to_owned(), suspended)]));
    assert_eq!(breakers.automatic, None, "that playbook is the reason");
    assert!(open(&useless(3), &[], 14 + 24 * 60).playbooks.len() == 1);
    assert!(open(&useless(3), &[], 15 + 24 * 60).are_closed());
}

#[test]
fn a_playbook_that_helps_more_often_than_not_is_not_suspended() {
    let mut all = useless(3);
    all.extend((4..=6).map(|n| helped(n, "useless")));
    assert!(open(&all, &[], 100).playbooks.is_empty());
    all.pop();
    assert_eq!(open(&all, &[], 100).playbooks.len(), 1);
}

#[test]
fn what_policies_say_is_the_same_whatever_breakers_count_and_freezes_say() {
    let rule = |policy: &str, said: &str| Spoken { policy: policy.to_owned(), said: said.to_owned() };
    let judgement = |roots: i64| {
        let rules = vec![rule("shop", "allowed when a person approves"), rule("built-in", "raised: 2 are available")];
        let mut judgement = Judgement {
            verdict: Verdict { decision: Decision::NeedsApproval { tier: Tier::Medium }, rules },
            mode: Mode::Enforce,
            tier: Tier::Medium,
            approvers: 1,
            rates: EffectiveRates::default(),
            concurrent: Vec::new(),
        };
        let wave: Vec<Tried> = (1..=roots).map(|n| Tried { cause: "i-1".to_owned(), ..failed(n, "useless") }).collect();
        open(&wave, &[], 100).apply(&mut judgement, "another");
        crate::freeze(&mut judgement, &crate::Frozen::Unknown(format!("no answer, try {roots}")), at(100));
        judgement
    };
    let (before, after) = (judgement(4), judgement(6));
    assert_ne!(before.verdict.rules, after.verdict.rules);
    assert_eq!(before.said_by_policies(), after.said_by_policies());
    assert_eq!(after.said_by_policies(), [&rule("shop", "allowed when a person approves")]);
}

#[test]
fn one_cause_counts_once_however_many_objects_it_has() {
    let wave: Vec<Tried> = (1..=4).map(|n| Tried { cause: "i-1".to_owned(), ..failed(n, "useless") }).collect();
    let breakers = open(&wave, &[], 100);
    assert!(breakers.playbooks.is_empty());
    assert_eq!(breakers.automatic.unwrap().cause.as_deref(), Some("i-1"));
}

#[test]
fn what_the_next_step_mended_has_not_failed() {
    let mut all = useless(3);
    all.push(tried("i-3", "deployment/shop/w-3", "useless", 40, Came::Helped));
    assert!(open(&all, &[], 100).are_closed());
}

#[test]
fn five_broken_roots_stop_automatic_action_whoever_broke_them() {
    let all: Vec<Tried> = (1..=5).map(|n| failed(n, &format!("p-{}", n % 3))).collect();
    let mut many = all.clone();
    many.extend((10..100).map(|n| helped(n, "good")));
    assert_eq!(open(&many, &[], 100).automatic.map(|it| it.roots.len()), Some(5));
    many.remove(0);
    assert_eq!(open(&many, &[], 100).automatic, None, "4 of 94 are few");
}

#[test]
fn more_than_a_fifth_of_the_roots_stop_it_but_not_one_of_one() {
    let two = [failed(1, "a"), failed(2, "b")];
    assert_eq!(open(&two, &[], 100).automatic, None);
    let mut all = vec![failed(1, "a"), failed(2, "b"), failed(3, "c")];
    all.extend((4..=15).map(|n| helped(n, "good")));
    assert_eq!(open(&all, &[], 200).automatic, None, "3 of 15 are a fifth");
    all.pop();
    let stopped = open(&all, &[], 200).automatic.unwrap();
    assert_eq!((stopped.roots.len(), stopped.of, stopped.cause), (3, 14, None));
}

#[test]
fn rearming_forgets_what_failed_until_then() {
    let all = useless(3);
    let rearm = |playbook: Option<&str>, at_| Rearmed { playbook: playbook.map(str::to_owned), at: at(at_) };
    for rearmed in [rearm(Some("useless"), 35), rearm(None, 35)] {
        assert!(open(&all, &[rearmed], 60).are_closed());
    }
    for rearmed in [rearm(Some("other"), 35), rearm(None, 61), rearm(Some("useless"), 14)] {
        assert_eq!(open(&all, std::slice::from_ref(&rearmed), 60).playbooks.len(), 1, "{rearmed:?}");
    }
}

#[test]
fn what_is_open_is_said() {
    let mut breakers = open(&useless(5), &[], 60);
    let all: Vec<Tried> = (1..=5).map(|n| Tried { cause: "i-1".to_owned(), ..failed(n, "p") }).collect();
    let one_cause = open(&all, &[], 60).automatic.unwrap();
    let suspended = breakers.playbooks.remove("useless").unwrap().said("useless");
    insta::assert_snapshot!(format!("{suspended}\n{}\n{one_cause}", breakers.automatic.unwrap()));
}

fn judged(decision: Decision) -> Judgement {
    Judgement {
        verdict: Verdict { decision, rules: Vec::new() },
        mode: Mode::Enforce,
        tier: Tier::Low,
        approvers: 0,
        rates: EffectiveRates::default(),
        concurrent: Vec::new(),
    }
}

#[test]
fn a_suspended_playbook_is_denied_and_others_are_not() {
    let breakers = open(&useless(3), &[], 60);
    let verdict = |playbook: &str| {
        let mut judgement = judged(Decision::Allow { mode: Mode::Enforce });
        breakers.apply(&mut judgement, playbook);
        judgement.verdict.decision
    };
    assert_eq!(verdict("useless"), Decision::Deny {});
    assert_eq!(verdict("other"), Decision::Allow { mode: Mode::Enforce });
}

#[test]
fn with_one_cause_people_are_asked_instead() {
    let all: Vec<Tried> = (1..=5).map(|n| Tried { cause: "i-1".to_owned(), ..failed(n, "p") }).collect();
    let breakers = open(&all, &[], 60);
    let mut judgement = judged(Decision::Allow { mode: Mode::Enforce });
    breakers.apply(&mut judgement, "other");
    assert_eq!(judgement.verdict.decision, Decision::NeedsApproval { tier: Tier::Medium });
    assert_eq!(judgement.approvers, 1);
}

fn any_tried() -> impl Strategy<Value = Tried> {
    let came = prop_oneof![
        Just(Came::Pending),
        Just(Came::Helped),
        (0_i64..4000).prop_map(|minutes| Came::Failed(at(minutes))),
    ];
    (0_u8..6, 0_u8..8, 0_u8..3, 0_i64..4000, came).prop_map(|(cause, root, playbook, begun, came)| {
        tried(&format!("i-{cause}"), &format!("w-{root}"), &format!("p-{playbook}"), begun, came)
    })
}

fn any_decision() -> impl Strategy<Value = Decision> {
    prop_oneof![
        Just(Decision::Allow { mode: Mode::Enforce }),
        Just(Decision::Allow { mode: Mode::Audit }),
        Just(Decision::NeedsApproval { tier: Tier::High }),
        Just(Decision::Defer { until: at(5000) }),
        Just(Decision::Deny {}),
    ]
}

fn strictness(decision: &Decision) -> u8 {
    match decision {
        Decision::Allow { .. } => 0,
        Decision::NeedsApproval { .. } => 1,
        Decision::Defer { .. } => 2,
        Decision::Deny {} => 3,
    }
}

proptest! {
    /// In whatever order the objects are heard of, every gateway finds the same.
    #[test]
    fn the_order_does_not_matter(mut all in prop::collection::vec(any_tried(), 0..40), seed in any::<u64>()) {
        // Two tries of the same moment can't be told apart.
        let mut seen = BTreeSet::new();
        all.retain(|it| seen.insert(it.begun_at));
        let first = open(&all, &[], 4000);
        let turn = usize::try_from(seed % 41).unwrap_or(0) % all.len().max(1);
        all.rotate_left(turn);
        all.reverse();
        prop_assert_eq!(first, open(&all, &[], 4000));
    }

    /// They only ever take away.
    #[test]
    fn breakers_never_permit(all in prop::collection::vec(any_tried(), 0..40), decision in any_decision()) {
        let breakers = open(&all, &[], 4000);
        let mut judgement = judged(decision.clone());
        breakers.apply(&mut judgement, "p-0");
        prop_assert!(strictness(&judgement.verdict.decision) >= strictness(&decision));
    }

    /// No breaker stays open for longer than its window after the last failure, and rearming all closes all.
    #[test]
    fn windows_are_bounded(all in prop::collection::vec(any_tried(), 0..40)) {
        let now = 4000 + 24 * 60;
        prop_assert!(open(&all, &[], now).are_closed());
        let rearmed = [Rearmed { playbook: None, at: at(4000) }];
        prop_assert!(open(&all, &rearmed, 4000).are_closed());
    }

    /// A failure more never closes what is open, as long as it is another cause and another root.
    #[test]
    fn one_more_failure_opens_no_less(all in prop::collection::vec(any_tried(), 0..40)) {
        let before = open(&all, &[], 4000);
        let mut more = all;
        more.push(tried("i-new", "w-new", "p-0", 3990, Came::Failed(at(3995))));
        let after = open(&more, &[], 4000);
        prop_assert!(before.playbooks.keys().all(|playbook| after.playbooks.contains_key(playbook)));
    }
}
