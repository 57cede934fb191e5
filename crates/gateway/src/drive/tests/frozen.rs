//! Freezes: nothing new is begun, and undoing goes on.

use super::*;

const LIST: &str = "GET v1alpha1/freezes";

fn freeze(namespaces: &[&str], undo: &str) -> Value {
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Freeze", "metadata": {"name": "release"},
        "spec": {"namespaces": namespaces, "undo": undo, "by": "jane", "reason": "release day"},
    })
}

#[tokio::test]
async fn what_is_frozen_waits_and_is_done_once_it_is_thawed() {
    let bench = Bench::new().await;
    bench.world.put(freeze(&["shop"], "GoesOn"));
    bench.run(300).await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Deferred, 0));
    let said = "frozen by jane (release day); evenkeel thaw release ends it";
    assert!(bench.reason().starts_with(&format!("freeze release: {said}")), "{}", bench.reason());
    assert_eq!((bench.claims(), bench.debits()), (0, 0));
    bench.world.remove("/freezes/release");
    bench.run(31).await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Verifying, 1), "{}", bench.reason());
}

#[tokio::test]
async fn a_freeze_of_another_namespace_freezes_nothing_here() {
    let bench = Bench::new().await;
    bench.world.put(freeze(&["other"], "Waits"));
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
}

#[tokio::test]
async fn without_the_kind_or_an_answer_it_counts_as_frozen() {
    for code in [404, 403, 500] {
        let bench = Bench::new().await;
        bench.world.fault(LIST, Fault::Answer(code));
        bench.advance().await;
        assert_eq!((bench.phase(), bench.effects()), (Phase::Deferred, 0), "{code}: {}", bench.reason());
        assert!(bench.reason().contains("counted as frozen"), "{}", bench.reason());
    }
}

#[tokio::test]
async fn what_is_frozen_when_it_is_about_to_be_claimed_waits_and_holds_nothing() {
    let bench = Bench::new().await;
    bench.world.react(|world, line| {
        if line == "PUT ledgers/ledger" && world.get("/freezes/release").is_none() {
            world.put(freeze(&["*"], "GoesOn"));
        }
    });
    bench.advance().await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Deferred, 0), "{}", bench.reason());
    assert_eq!((bench.claims(), bench.debits()), (0, 0));
}

#[tokio::test]
async fn what_is_frozen_just_before_the_request_is_not_sent() {
    let bench = Bench::new().await;
    let status = bench.line(STATUS);
    bench.world.react(move |world, line| {
        if line == status {
            world.put(freeze(&["*"], "GoesOn"));
        }
    });
    bench.run(5).await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Failed, 0), "{}", bench.reason());
    assert!(bench.reason().contains("nothing was written: frozen by jane"), "{}", bench.reason());
    assert_eq!((bench.claims(), bench.debits()), (0, 0));
}

#[tokio::test]
async fn what_does_not_help_is_undone_although_it_is_frozen() {
    let bench = Bench::with(cart(1), Mode::Enforce, |step| step.undo = Undo::Automatic).await;
    bench.advance().await;
    bench.world.put(freeze(&["*"], "GoesOn"));
    bench.run(700).await;
    assert_eq!((bench.phase(), bench.image().as_str()), (Phase::RolledBack, "shop/cart:2-missing"));
}

#[tokio::test]
async fn undo_waits_for_a_freeze_that_says_so_however_long_it_takes() {
    let bench = Bench::with(cart(1), Mode::Enforce, |step| step.undo = Undo::Automatic).await;
    bench.advance().await;
    bench.world.put(freeze(&["shop"], "Waits"));
    bench.run(4000).await;
    assert_eq!((bench.phase(), bench.image().as_str()), (Phase::Ineffective, "shop/cart:1"), "{}", bench.reason());
    assert!(bench.reason().contains("not undone yet: frozen by jane"), "{}", bench.reason());
    bench.world.remove("/freezes/release");
    bench.run(60).await;
    assert_eq!(
        (bench.phase(), bench.image().as_str()),
        (Phase::RolledBack, "shop/cart:2-missing"),
        "{}",
        bench.reason()
    );
    assert!(!bench.reason().contains("release day"), "{}", bench.reason());
}

#[tokio::test]
async fn one_failed_list_does_not_let_an_undo_through_a_freeze_that_it_waits_for() {
    let bench = Bench::with(cart(1), Mode::Enforce, |step| step.undo = Undo::Automatic).await;
    bench.advance().await;
    bench.run(590).await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    bench.world.put(freeze(&["shop"], "Waits"));
    // As many as there are tries until long after the deadline.
    for _ in 0..5 {
        bench.world.fault(LIST, Fault::Answer(500));
    }
    bench.run(120).await;
    assert_eq!((bench.phase(), bench.image().as_str()), (Phase::Ineffective, "shop/cart:1"), "{}", bench.reason());
    assert!(bench.reason().contains("not undone yet: frozen by jane"), "{}", bench.reason());
    bench.world.remove("/freezes/release");
    bench.run(60).await;
    assert_eq!(bench.phase(), Phase::RolledBack, "{}", bench.reason());
}

#[tokio::test]
async fn undo_is_not_given_up_because_freezes_can_not_be_read_for_long() {
    let bench = Bench::with(cart(1), Mode::Enforce, |step| step.undo = Undo::Automatic).await;
    bench.advance().await;
    for _ in 0..5000 {
        bench.world.fault(LIST, Fault::Answer(500));
    }
    bench.run(700).await;
    assert_eq!(bench.phase(), Phase::Ineffective, "{}", bench.reason());
    bench.run(16 * 60).await;
    assert_eq!(bench.phase(), Phase::RolledBack, "{}", bench.reason());
}

#[tokio::test]
async fn undo_does_not_wait_for_freezes_that_can_not_be_read() {
    let bench = Bench::with(cart(1), Mode::Enforce, |step| step.undo = Undo::Automatic).await;
    bench.advance().await;
    for _ in 0..20 {
        bench.world.fault(LIST, Fault::Answer(404));
    }
    bench.run(700).await;
    assert_eq!(bench.phase(), Phase::RolledBack, "{}", bench.reason());
}
