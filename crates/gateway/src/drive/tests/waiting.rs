//! What waits for people, and what becomes of it when they are not needed.

use super::*;

const NEWEST: &str = "/replicasets/cart-69f6589c46";

/// A pod of the newest revision is available: to roll back would take it away.
fn available(bench: &Bench, pods: u32) {
    bench.world.edit(NEWEST, |set| set["status"]["availableReplicas"] = json!(pods));
}

#[tokio::test]
async fn a_pod_that_was_available_for_a_moment_does_not_make_people_decide() {
    let bench = Bench::new().await;
    available(&bench, 1);
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::AwaitingApproval, "{}", bench.reason());
    assert!(bench.reason().contains("available now"), "{}", bench.reason());
    bench.run(60).await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::AwaitingApproval, 0));
    available(&bench, 0);
    bench.run(31).await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    assert_eq!((bench.effects(), bench.debits()), (1, 1));
}

#[tokio::test]
async fn what_stays_available_is_not_taken_away_without_people() {
    let bench = Bench::new().await;
    available(&bench, 1);
    bench.advance().await;
    bench.world.written();
    bench.run(1700).await;
    assert_eq!(bench.phase(), Phase::AwaitingApproval, "{}", bench.reason());
    assert!(bench.world.written().is_empty(), "looking again is no news");
    bench.run(200).await;
    assert_eq!((bench.phase(), bench.effects(), bench.debits()), (Phase::Expired, 0, 0));
}

#[tokio::test]
async fn people_are_not_asked_any_longer_for_what_got_well() {
    let bench = Bench::new().await;
    available(&bench, 1);
    bench.advance().await;
    bench.heal();
    bench.run(120).await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Obsolete, 0), "{}", bench.reason());
}

#[tokio::test]
async fn what_policy_forbids_by_now_waits_for_nobody() {
    let bench = Bench::new().await;
    available(&bench, 1);
    bench.advance().await;
    bench.world.remove("/actionpolicies/shop");
    bench.run(60).await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Denied, 0), "{}", bench.reason());
}
