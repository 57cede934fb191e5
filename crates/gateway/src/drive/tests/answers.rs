//! Which answers of people are heard, and when: what the watch has told is not enough where something is about to be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evenkeel_audit::{MessageKey, SigningKey};
use evenkeel_model::{Approval, ApprovalDecision, Transition};

use super::approvals::{LATER, ask, asked, make, make_unheard, refusals};
use super::*;

fn deny(approval: &mut Approval) {
    approval.spec.decision = ApprovalDecision::Deny;
}

#[tokio::test]
async fn a_denial_that_the_watch_has_not_brought_is_heard_before_anything_is_sent() {
    let bench = asked().await;
    make(&bench, "a-1", "jane", LATER, |_| {});
    make_unheard(&bench, "a-2", "joe", LATER + 1, deny);
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects(), bench.claims()), (Phase::Denied, 0, 0), "{}", bench.reason());
    assert_eq!(bench.reason(), "denied by joe: looked at it");
}

#[tokio::test]
async fn a_denial_that_the_watch_has_not_brought_is_heard_also_when_nobody_need_be_asked_any_more() {
    let bench = asked().await;
    make_unheard(&bench, "a-1", "joe", LATER, deny);
    bench.world.edit("/actionpolicies/shop", |policy| {
        policy["spec"]["actions"][0]["tier"] = json!("Low");
        policy["spec"]["actions"][0]["approvers"] = json!(null);
    });
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects(), bench.claims()), (Phase::Denied, 0, 0), "{}", bench.reason());
}

#[tokio::test]
async fn a_denial_that_comes_beside_the_dry_run_is_heard() {
    let bench = asked().await;
    make(&bench, "a-1", "jane", LATER, |_| {});
    let (status, no) = (bench.line(STATUS), make_unheard(&bench, "a-2", "joe", LATER + 1, deny));
    bench.world.remove("/approvals/a-2");
    bench.world.react(move |world, line| {
        // Its intent is written down.
        if line == status {
            world.put(serde_json::to_value(&no).unwrap());
        }
    });
    bench.run(5).await;
    assert_eq!((bench.phase(), bench.applied(), bench.claims()), (Phase::Failed, 0, 0), "{}", bench.reason());
    assert_eq!(bench.reason(), "nothing was written: denied by joe: looked at it");
}

#[tokio::test]
async fn a_denial_of_what_is_not_asked_any_more_stops_nothing() {
    let bench = asked().await;
    make(&bench, "a-1", "joe", LATER, |it| {
        deny(it);
        it.spec.digest = "e".repeat(64);
    });
    make(&bench, "a-2", "mallory", LATER, |it| {
        deny(it);
        it.spec.namespace = Some("dev".to_owned());
    });
    make(&bench, "a-3", "jane", LATER, |_| {});
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Verifying, 1), "{}", bench.reason());
}

#[tokio::test]
async fn before_all_approvals_are_listed_nothing_is_judged_by_those_that_are() {
    let mut bench = asked().await;
    bench.restart().await;
    // In the first page that one, in the second the other.
    make(&bench, "a-1", "jane", LATER, |_| {});
    make_unheard(&bench, "a-2", "joe", LATER + 1, deny);
    bench.world.written();
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Denied, "{}", bench.reason());
    let written = bench.world.written();
    assert!(!written.contains(&"PUT ledgers/ledger".to_owned()), "its root was claimed: {written:?}");
}

#[tokio::test]
async fn what_is_resumed_before_approvals_are_listed_is_approved_all_the_same() {
    let mut bench = asked().await;
    bench.wait(120);
    make(&bench, "a-1", "jane", LATER, |_| {});
    bench.world.fault(PATCH, Fault::BeforeCommit);
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Executing, "{}", bench.reason());
    bench.restart().await;
    bench.run(200).await;
    assert_eq!((bench.phase(), bench.applied()), (Phase::Verifying, 1), "{}", bench.reason());
}

#[tokio::test]
async fn an_answer_that_can_not_be_understood_may_be_a_denial() {
    let bench = asked().await;
    make(&bench, "a-1", "jane", LATER, |_| {});
    make_unheard(&bench, "a-2", "joe", LATER + 1, |_| {});
    bench.world.edit("/approvals/a-2", |it| it["spec"]["decision"] = json!("NotWhileThatHolds"));
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects(), bench.claims()), (Phase::AwaitingApproval, 0, 0));
    assert!(
        bench.reason().starts_with("no approval can be counted: approval a-2 can't be understood"),
        "{}",
        bench.reason()
    );
}

#[tokio::test]
async fn where_there_are_more_answers_than_can_be_counted_nothing_counts_as_approved() {
    let bench = asked().await;
    make(&bench, "a-1", "jane", LATER, |_| {});
    for n in 0..70 {
        make_unheard(&bench, &format!("b-{n}"), &format!("mallory-{n}"), LATER + 1, |it| {
            it.spec.groups = (0..250).map(|_| "g".repeat(256)).collect();
        });
    }
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects(), bench.claims()), (Phase::AwaitingApproval, 0, 0));
    let more = format!("no approval can be counted: there are more approvals of {} than", bench.name);
    assert!(bench.reason().starts_with(&more), "{}", bench.reason());
}

#[tokio::test]
async fn who_says_it_often_takes_nobodys_place() {
    let bench = asked().await;
    for n in 0..40 {
        make(&bench, &format!("a-{n}"), "mallory", LATER + n, |it| it.spec.digest = "e".repeat(64));
    }
    make(&bench, "b-1", "jane", LATER, |_| {});
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Verifying, 1), "{}", bench.reason());
}

#[tokio::test]
async fn of_each_person_and_their_groups_the_api_server_is_asked_once_and_not_without_end() {
    let bench = asked().await;
    let reviews = || bench.world.written().iter().filter(|line| *line == "POST subjectaccessreviews").count();
    // The same groups in another order are the same.
    for n in 0..6 {
        make(&bench, &format!("a-{n}"), "stranger-1", LATER, |it| {
            it.spec.groups = if n % 2 == 0 { vec!["a".into(), "b".into()] } else { vec!["b".into(), "a".into()] };
        });
    }
    reviews();
    bench.advance().await;
    assert_eq!((reviews(), bench.phase()), (1, Phase::AwaitingApproval));
    assert_eq!(refusals(&bench).len(), 6);
    for n in 0..8 {
        make(&bench, &format!("b-{n}"), "stranger-2", LATER, |it| it.spec.groups = vec![format!("g-{n}")]);
    }
    bench.advance().await;
    assert_eq!(reviews(), 1 + 4);
    let said = refusals(&bench);
    assert!(said.iter().any(|it| it.contains("may not with 4 other sets of groups")), "{said:?}");
    // And whoever may is heard beside them.
    make(&bench, "c-1", "jane", LATER, |_| {});
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
}

#[tokio::test]
async fn what_changes_while_it_is_resumed_is_not_done_unsigned() {
    let bench = asked().await;
    bench.wait(120);
    make(&bench, "a-1", "jane", LATER, |_| {});
    bench.world.fault(PATCH, Fault::BeforeCommit);
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Executing, "{}", bench.reason());
    // Once it has been weighed and its root is claimed anew. It is no field that the patch tests.
    let once = AtomicBool::new(false);
    bench.world.react(move |world, line| {
        if line == "PUT ledgers/ledger" && !once.swap(true, Ordering::Relaxed) {
            world.edit(CART, |cart| cart["spec"]["minReadySeconds"] = json!(600));
        }
    });
    bench.run(200).await;
    assert_eq!((bench.phase(), bench.applied()), (Phase::Failed, 0), "{}", bench.reason());
    assert!(bench.reason().contains("what was approved is not what would be done now"), "{}", bench.reason());
}

#[tokio::test]
async fn the_request_that_is_sent_is_the_one_that_was_signed_whatever_is_there_a_moment_later() {
    let bench = asked().await;
    make(&bench, "a-1", "jane", LATER, |_| {});
    let sets = bench.world.objects("replicasets");
    let image = |set: &Value| set["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let good = sets.into_iter().find(|it| image(it) == "shop/cart:1").unwrap();
    let ends = format!("/replicasets/{}", good["metadata"]["name"].as_str().unwrap());
    // What it goes back to is another for the moment in which the request is made.
    let (changed, read) = (AtomicBool::new(false), AtomicBool::new(false));
    bench.world.react(move |world, line| {
        if line == "PUT ledgers/ledger" && !changed.swap(true, Ordering::Relaxed) {
            world.edit(&ends, |set| {
                set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop/cart:evil");
            });
        } else if line.starts_with("GET ")
            && line.contains("replicasets")
            && changed.load(Ordering::Relaxed)
            && !read.swap(true, Ordering::Relaxed)
        {
            world.put(good.clone());
        }
    });
    bench.advance().await;
    assert_ne!(bench.image(), "shop/cart:evil");
    assert_eq!((bench.phase(), bench.effects(), bench.claims()), (Phase::AwaitingApproval, 0, 0), "{}", bench.reason());
}

#[tokio::test]
async fn what_ends_elsewhere_does_not_change_what_people_sign() {
    let bench = asked().await;
    // One cause has broken many roots: people are asked, and the breaker says how many.
    let breaks = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let mut broken = crate::testing::remediation(number, Phase::NotUndoable);
            broken.spec.proposal.incident = "i-9".to_owned();
            broken.spec.proposal.root.name = format!("web-{number}");
            broken.spec.proposal.target.name = format!("web-{number}");
            let at = start() - chrono::Duration::minutes(60 - i64::from(number));
            let entry = |phase| Transition { at, phase, reason: "in a test".to_owned() };
            broken.status.as_mut().unwrap().history = vec![entry(Phase::Executing), entry(Phase::NotUndoable)];
            bench.plane.index().apply(Arc::new(broken));
        }
    };
    breaks(11..17);
    bench.advance().await;
    assert_eq!(bench.plane.breakers().automatic.unwrap().cause.as_deref(), Some("i-9"));
    let before = ask(&bench).digest;
    breaks(17..19);
    make(&bench, "a-1", "jane", LATER, |_| {});
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    assert_eq!(ask(&bench).digest, before);
}

#[tokio::test]
async fn what_people_approve_does_not_begin_while_the_audit_log_is_behind() {
    let mut bench = asked().await;
    let key = MessageKey::of(&SigningKey::new("prod", [1; 32]).unwrap());
    let audit = crate::Audit { key, unsealed_at_most: 0 };
    let recording = Bench::recording(&bench.world, &bench.bus, "gateway-2", Mode::Enforce, Some(audit));
    bench.go_on_with(recording).await;
    // Nobody seals it.
    bench.plane.recorder.note_refusal(&cart(2), Phase::Denied, "in a test", start());
    assert!(bench.plane.recorder.is_behind().is_some());
    bench.wait(120);
    make(&bench, "a-1", "jane", LATER, |_| {});
    bench.run(120).await;
    assert_eq!((bench.phase(), bench.effects(), bench.claims()), (Phase::AwaitingApproval, 0, 0), "{}", bench.reason());
    bench.restart().await;
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Verifying, 1), "{}", bench.reason());
}
