//! What people approve is done, and nothing else.

use evenkeel_model::{Asked, Tier};

use super::*;

/// Of approvals: long after anything else.
pub(super) const LATER: i64 = 60;

/// A cluster with the admission policy, in which a rollback takes one person, who was asked.
pub(super) async fn asked() -> Bench {
    let bench = Box::pin(not_asked(cart(1))).await;
    guard(&bench.world);
    Box::pin(bench.advance()).await;
    assert_eq!(bench.phase(), Phase::AwaitingApproval, "{}", bench.reason());
    bench
}

async fn not_asked(proposal: Proposal) -> Bench {
    let bench = Bench::with(proposal, Mode::Enforce, |_| {}).await;
    bench.world.edit("/actionpolicies/shop", |policy| {
        policy["spec"]["actions"][0]["tier"] = json!("Medium");
        policy["spec"]["actions"][0]["approvers"] = json!(1);
    });
    bench
}

fn guard(world: &World) {
    for object in evenkeel_policy::generate::approvals("evenkeel") {
        world.put(object);
    }
}

pub(super) fn ask(bench: &Bench) -> Asked {
    let status = crate::index::status(&bench.plane.index().get(&bench.name).unwrap());
    status.approval.unwrap()
}

/// An Approval of what is asked now, but for what is changed, made so many seconds after the beginning.
pub(super) fn make(
    bench: &Bench,
    name: &str,
    who: &str,
    seconds: i64,
    change: impl FnOnce(&mut evenkeel_model::Approval),
) {
    bench.plane.approvals.put(make_unheard(bench, name, who, seconds, change));
}

/// As [`make`], and the watch has not told of it.
pub(super) fn make_unheard(
    bench: &Bench,
    name: &str,
    who: &str,
    seconds: i64,
    change: impl FnOnce(&mut evenkeel_model::Approval),
) -> evenkeel_model::Approval {
    let mut approval = crate::testing::approval(name, &bench.name, who, 0);
    approval.spec.digest = ask(bench).digest;
    let at = (start() + chrono::Duration::seconds(seconds)).timestamp();
    let at = k8s_openapi::jiff::Timestamp::from_second(at).unwrap();
    approval.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
    change(&mut approval);
    bench.world.put(serde_json::to_value(&approval).unwrap());
    approval
}

pub(super) fn refusals(bench: &Bench) -> Vec<String> {
    ask(bench).refused.into_iter().map(|it| format!("{}: {}", it.approver, it.reason)).collect()
}

#[tokio::test]
async fn what_a_person_approves_is_done_once_and_says_who() {
    let bench = asked().await;
    let before = ask(&bench);
    assert_eq!((before.tier, before.approvers, before.digest.len()), (Tier::Medium, 1, 64));
    assert!(before.changes.concat().contains("shop/cart:2-missing → shop/cart:1"), "{:?}", before.changes);
    assert!(bench.world.get(&format!("/events/{}.awaitingapproval", bench.name)).is_some());
    bench.wait(120);
    make(&bench, "a-1", "jane", LATER, |_| {});
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    assert_eq!((bench.effects(), bench.debits()), (1, 1));
    let history = crate::index::status(&bench.plane.index().get(&bench.name).unwrap()).history;
    let phases: Vec<Phase> = history.iter().map(|it| it.phase).collect();
    let then = [Phase::Proposed, Phase::Authorized, Phase::Claimed, Phase::Executing, Phase::Verifying];
    assert_eq!(phases, [&[Phase::Proposed, Phase::AwaitingApproval][..], &then].concat());
    assert!(history[3].reason.ends_with("approved by jane"), "{history:#?}");
    let asked = ask(&bench);
    assert_eq!((asked.given[0].approver.as_str(), asked.given[0].reason.as_str()), ("jane", "looked at it"));
    assert_eq!(asked.digest, before.digest);
}

#[tokio::test]
async fn one_denial_ends_it_whoever_approved() {
    let bench = asked().await;
    make(&bench, "a-1", "jane", LATER, |_| {});
    make(&bench, "a-2", "joe", LATER + 1, |it| it.spec.decision = evenkeel_model::ApprovalDecision::Deny);
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Denied, 0));
    assert_eq!(bench.reason(), "denied by joe: looked at it");
    assert_eq!(bench.outcomes().await.len(), 1);
}

#[tokio::test]
async fn who_was_asked_and_said_no_has_said_no_also_when_nobody_need_be_asked_any_more() {
    let bench = asked().await;
    make(&bench, "a-1", "joe", LATER, |it| it.spec.decision = evenkeel_model::ApprovalDecision::Deny);
    bench.world.edit("/actionpolicies/shop", |policy| {
        policy["spec"]["actions"][0]["tier"] = json!("Low");
        policy["spec"]["actions"][0]["approvers"] = json!(null);
    });
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Denied, 0), "{}", bench.reason());
    assert_eq!(bench.reason(), "denied by joe: looked at it");
}

#[tokio::test]
async fn approvals_that_do_not_count_are_told_and_change_nothing() {
    let bench = asked().await;
    make(&bench, "a-1", "jane", LATER, |it| it.spec.digest = "e".repeat(64));
    make(&bench, "a-2", "stranger", LATER, |_| {});
    make(&bench, "a-3", "jane", 1, |_| {});
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::AwaitingApproval, "{}", bench.reason());
    let written = bench.world.written();
    assert!(written.iter().all(|line| line != PATCH), "{written:?}");
    let refused = refusals(&bench);
    assert!(
        refused[0].starts_with("jane: it was made at 2026-11-21 04:00:01 UTC, and admission is known"),
        "{refused:?}"
    );
    assert!(refused[1].starts_with("jane: it signs eeeeeeeeeeee…"), "{refused:?}");
    assert!(
        refused[2].starts_with("stranger: stranger may not approve tiers.evenkeel.dev/medium in shop"),
        "{refused:?}"
    );
    let told = written.iter().filter(|line| *line == "POST events").count();
    assert_eq!(told, 4, "that people are asked, and three refusals");
    bench.advance().await;
    assert!(bench.world.written().iter().all(|line| line != "POST events"), "told once");
}

#[tokio::test]
async fn nothing_counts_while_admission_is_not_known_to_refuse_forgeries() {
    let bench = Box::pin(not_asked(cart(1))).await;
    bench.advance().await;
    make(&bench, "a-1", "jane", LATER, |_| {});
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::AwaitingApproval, 0));
    assert!(
        bench.reason().contains("ValidatingAdmissionPolicy evenkeel-approvals is not installed"),
        "{}",
        bench.reason()
    );
    assert!(refusals(&bench).is_empty(), "it may count yet");
    // Installed two minutes later: what is older is worth nothing.
    bench.wait(120);
    guard(&bench.world);
    bench.advance().await;
    assert_eq!(ask(&bench).guard.unwrap().since, start() + chrono::Duration::seconds(120));
    assert!(refusals(&bench)[0].contains("make it again"), "{:?}", refusals(&bench));
    make(&bench, "a-2", "jane", 126, |_| {});
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
}

#[tokio::test]
async fn a_policy_that_is_there_and_refuses_nothing_guards_nothing() {
    let bench = Box::pin(not_asked(cart(1))).await;
    guard(&bench.world);
    // In effect late: the forgery passes.
    bench.world.edit("/validatingadmissionpolicybindings/evenkeel-approvals", |it| {
        it["spec"]["validationActions"] = json!(["Audit"]);
    });
    bench.advance().await;
    assert!(ask(&bench).trouble.unwrap().contains("spec.validationActions[0] differs"));
    bench.world.edit("/validatingadmissionpolicybindings/evenkeel-approvals", |it| {
        it["spec"]["validationActions"] = json!(["Deny"]);
    });
    bench.world.fault("POST approvals dry", Fault::Answer(422));
    bench.advance().await;
    assert!(ask(&bench).trouble.unwrap().contains("but not by evenkeel-approvals"), "{:?}", ask(&bench).trouble);
    bench.advance().await;
    assert!(ask(&bench).trouble.is_none() && ask(&bench).guard.is_some());
}

#[tokio::test]
async fn an_approval_outlives_the_gateway_and_a_changed_policy_begins_anew() {
    let mut bench = asked().await;
    bench.wait(120);
    bench.restart().await;
    make(&bench, "a-1", "jane", LATER, |it| it.spec.tier = Tier::High);
    bench.advance().await;
    assert_eq!(ask(&bench).guard.unwrap().since, start(), "the policy is the one that was seen then");
    bench.world.edit("/validatingadmissionpolicies/evenkeel-approvals", |it| it["metadata"]["generation"] = json!(2));
    bench.advance().await;
    assert_eq!(ask(&bench).guard.unwrap().since, start() + chrono::Duration::seconds(120));
    make(&bench, "a-2", "joe", LATER, |_| {});
    bench.advance().await;
    assert!(refusals(&bench).iter().any(|it| it.starts_with("joe: it was made at")), "{:?}", refusals(&bench));
}

#[tokio::test]
async fn who_is_asked_after_a_change_of_the_target_is_asked_anew() {
    let bench = asked().await;
    let before = ask(&bench).digest;
    make(&bench, "a-1", "jane", LATER, |_| {});
    bench.world.edit(CART, |cart| {
        cart["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop/cart:3-missing");
    });
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::AwaitingApproval, 0), "{}", bench.reason());
    assert_ne!(ask(&bench).digest, before);
    assert!(bench.reason().starts_with("asked anew, since what would be done"), "{}", bench.reason());
    assert!(refusals(&bench)[0].starts_with("jane: it signs "), "{:?}", refusals(&bench));
    let before = ask(&bench).digest;
    // What an autoscaler does is no change of what is signed; what a policy says is.
    bench.world.edit(CART, |cart| cart["spec"]["replicas"] = json!(4));
    bench.advance().await;
    assert_eq!(ask(&bench).digest, before);
    bench.world.edit("/actionpolicies/shop", |policy| policy["spec"]["actions"][0]["rate"]["target"] = json!("2/1h"));
    bench.advance().await;
    assert_ne!(ask(&bench).digest, before);
}

#[tokio::test]
async fn what_changes_after_the_claim_is_not_done_and_the_claim_given_back() {
    let bench = asked().await;
    make(&bench, "a-1", "jane", LATER, |_| {});
    let once = std::sync::atomic::AtomicBool::new(false);
    bench.world.react(move |world, line| {
        if line == "PUT ledgers/ledger" && !once.swap(true, std::sync::atomic::Ordering::Relaxed) {
            world.edit(CART, |cart| {
                cart["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop/cart:3-missing");
            });
        }
    });
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::AwaitingApproval, 0), "{}", bench.reason());
    assert_eq!((bench.claims(), bench.debits()), (0, 0));
}

#[tokio::test]
async fn an_approval_that_is_withdrawn_or_an_approver_who_may_no_more_stops_it_after_the_claim() {
    let bench = asked().await;
    make(&bench, "a-1", "jane", LATER, |_| {});
    bench.world.react(|world, line| {
        if line == "PUT ledgers/ledger" {
            world.remove("/approvals/a-1");
        }
    });
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects(), bench.claims()), (Phase::AwaitingApproval, 0, 0));
    assert_eq!(refusals(&bench), ["jane: it was withdrawn"]);
}

#[tokio::test]
async fn two_persons_are_two_persons() {
    let bench = Box::pin(not_asked(cart(1))).await;
    bench.world.edit("/actionpolicies/shop", |policy| policy["spec"]["actions"][0]["approvers"] = json!(2));
    guard(&bench.world);
    bench.advance().await;
    make(&bench, "a-1", "jane", LATER, |_| {});
    make(&bench, "a-2", "jane", LATER, |_| {});
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::AwaitingApproval, "{}", bench.reason());
    assert!(bench.reason().starts_with("1 of 2 approved"), "{}", bench.reason());
    make(&bench, "a-3", "joe", LATER, |_| {});
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
}

#[tokio::test]
async fn whoever_asked_for_it_does_not_approve_it() {
    let bench = asked().await;
    bench.world.edit(&format!("/remediations/{}", bench.name), |it| it["spec"]["requestedBy"] = json!("rita"));
    bench.plane.refresh(&bench.name).await.unwrap();
    make(&bench, "a-1", "rita", LATER, |_| {});
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::AwaitingApproval, 0));
    assert_eq!(refusals(&bench), ["rita: rita has asked for it, and nobody approves what they ask for"]);
}

#[tokio::test]
async fn who_approves_too_late_approves_nothing() {
    let bench = asked().await;
    bench.run(3600).await;
    assert_eq!(bench.phase(), Phase::Expired, "{}", bench.reason());
    assert!(bench.reason().ends_with("(0 of 1 did)"), "{}", bench.reason());
    make(&bench, "a-1", "jane", LATER, |_| {});
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Expired, 0));
}

#[tokio::test]
async fn an_answer_lost_in_mid_act_is_resumed_only_while_it_is_still_approved() {
    let mut bench = asked().await;
    bench.wait(120);
    make(&bench, "a-1", "jane", LATER, |_| {});
    bench.world.fault(PATCH, Fault::BeforeCommit);
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Executing, "{}", bench.reason());
    bench.restart().await;
    // The other process knows of no approval: it was withdrawn.
    bench.world.remove("/approvals/a-1");
    bench.run(200).await;
    assert_eq!((bench.phase(), bench.applied()), (Phase::Failed, 0), "{}", bench.reason());
}
