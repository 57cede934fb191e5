//! What becomes of it when anything breaks.

use super::*;

#[tokio::test]
async fn an_undo_whose_answer_is_lost_is_not_sent_twice() {
    let bench = Bench::with(cart(1), Mode::Enforce, |step| step.undo = Undo::Automatic).await;
    bench.advance().await;
    bench.world.fault(PATCH, Fault::AfterCommit);
    bench.run(800).await;
    assert_eq!(bench.phase(), Phase::RolledBack, "{}", bench.reason());
    assert_eq!(bench.effects(), 2, "the act and one undo");
}

#[tokio::test]
async fn an_undo_that_is_refused_again_and_again_is_given_up_and_people_are_called() {
    for line in [DRY, PATCH] {
        let bench = Bench::with(cart(1), Mode::Enforce, |step| step.undo = Undo::Automatic).await;
        bench.advance().await;
        for _ in 0..5_000 {
            bench.world.fault(line, Fault::Answer(500));
        }
        bench.run(600 + 14 * 60).await;
        assert!(!bench.phase().is_final(), "{line}: {}", bench.reason());
        bench.run(3 * 60).await;
        assert_eq!(bench.phase(), Phase::RollbackFailed, "{line}: {}", bench.reason());
        assert_eq!(bench.claims(), 1, "held until somebody has looked");
    }
}

#[tokio::test]
async fn a_target_that_gets_well_while_it_is_claimed_is_left_alone() {
    let bench = Bench::new().await;
    bench.world.react(|world, line| {
        if line == "PUT ledgers/ledger" && world.get("/pods/cart-69f6589c46-hvsh5").is_some() {
            heal(world);
        }
    });
    bench.run(40).await;
    assert_eq!(bench.phase(), Phase::Obsolete, "{}", bench.reason());
    assert_eq!((bench.effects(), bench.claims(), bench.debits()), (0, 0, 0));
}

#[tokio::test]
async fn when_the_api_server_can_not_be_read_nothing_is_concluded() {
    let bench = Bench::new().await;
    bench.world.fault("GET v1alpha1/actionpolicies", Fault::Answer(500));
    assert!(bench.try_advance().await.is_err());
    assert_eq!(bench.phase(), Phase::Proposed);
    assert!(bench.world.written().is_empty());
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
}

#[tokio::test]
async fn a_claim_is_given_back_when_what_follows_it_fails() {
    let bench = Bench::new().await;
    // Reads fail once the root is claimed.
    bench.world.react(|world, line| {
        if line == "PUT ledgers/ledger" && world.get("/ledgers/ledger").unwrap()["spec"]["claims"] != json!({}) {
            world.fault("GET deployments/cart", Fault::Answer(500));
        }
    });
    assert!(bench.try_advance().await.is_err());
    assert_eq!(bench.phase(), Phase::Proposed);
    assert_eq!((bench.claims(), bench.debits()), (0, 0));
}

#[tokio::test]
async fn nothing_is_sent_after_its_expiry_however_long_the_dry_run_took() {
    let bench = Bench::new().await;
    bench.wait(1795);
    let clock = Arc::clone(&bench.clock);
    bench.world.react(move |_, line| {
        if line == DRY {
            clock.advance(std::time::Duration::from_secs(8));
        }
    });
    bench.run(1).await;
    assert_eq!(bench.phase(), Phase::Failed, "{}", bench.reason());
    assert!(bench.reason().contains("its time ran out"), "{}", bench.reason());
    assert_eq!((bench.effects(), bench.debits()), (0, 0));
}

#[tokio::test]
async fn of_what_another_finished_or_a_person_deleted_nothing_is_remembered() {
    let bench = Bench::new().await;
    bench.advance().await;
    bench.step().await;
    let remembered = || (bench.plane.sent().len(), bench.plane.verifying().len(), bench.plane.saved().len());
    assert_eq!(remembered(), (1, 1, 1));
    bench.world.edit(&format!("/remediations/{}", bench.name), |it| {
        it["status"]["phase"] = json!("Succeeded");
        it["status"]["outcomePublished"] = json!("Succeeded");
    });
    bench.plane.refresh(&bench.name).await.unwrap();
    assert_eq!(bench.advance().await, Next::Done);
    assert_eq!((bench.plane.sent().len(), bench.plane.verifying().len()), (0, 0));
    bench.world.remove(&format!("/remediations/{}", bench.name));
    bench.plane.refresh(&bench.name).await.unwrap();
    assert_eq!(remembered(), (0, 0, 0));
}

#[tokio::test]
async fn with_clocks_apart_no_action_is_begun() {
    let bench = Bench::new().await;
    bench.world.clock_ahead(60);
    bench
        .plane
        .change_ledger(|spec| {
            let mut spec = spec.clone();
            spec.epoch += 1;
            spec
        })
        .await
        .unwrap();
    bench.world.written();
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Deferred);
    assert!(bench.reason().contains("behind the API server's"), "{}", bench.reason());
    assert_eq!(bench.world.written(), [bench.line(STATUS)], "no claim, no request");
    // Somebody sets it.
    bench.clock.advance(std::time::Duration::from_secs(60));
    bench.world.clock_ahead(0);
    bench.run(40).await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
}

#[tokio::test]
async fn a_dry_run_that_is_refused_means_that_nothing_was_done() {
    let bench = Bench::new().await;
    bench.world.fault(DRY, Fault::Answer(403));
    bench.run(10).await;
    assert_eq!(bench.phase(), Phase::Failed, "{}", bench.reason());
    assert_eq!((bench.claims(), bench.debits()), (0, 0), "given back");
    assert_eq!(bench.effects(), 0);
    assert_eq!(bench.outcomes().await.len(), 1);
}

#[tokio::test]
async fn a_target_that_changes_between_plan_and_patch_is_left_alone() {
    let bench = Bench::new().await;
    bench.world.fault(PATCH, Fault::Answer(422));
    bench.run(10).await;
    assert_eq!(bench.phase(), Phase::Failed, "{}", bench.reason());
    assert_eq!(bench.image(), "shop/cart:2-missing");
    assert_eq!(bench.debits(), 0);
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_by_the_stamp() {
    let bench = Bench::new().await;
    bench.world.fault(PATCH, Fault::AfterCommit);
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    assert!(bench.reason().contains("found done"), "{}", bench.reason());
    assert_eq!(bench.effects(), 1);
}

#[tokio::test]
async fn a_request_that_never_arrived_is_made_again_only_when_it_can_not_arrive_any_more() {
    let bench = Bench::new().await;
    bench.world.fault(PATCH, Fault::BeforeCommit);
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Executing);
    bench.world.written();
    bench.run(85).await;
    assert_eq!(bench.phase(), Phase::Executing, "30 s of claim and 60 s of the API server");
    assert_eq!(bench.effects(), 0);
    bench.run(20).await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    assert_eq!(bench.effects(), 1);
    assert_eq!(bench.stamp(), Some(format!("{}/2", bench.name)), "under a new epoch");
    assert_eq!(bench.debits(), 1, "counted once");
}

#[tokio::test]
async fn an_earlier_request_that_arrives_late_is_the_one_effect() {
    let bench = Bench::new().await;
    let before = bench.world.get(CART).unwrap();
    bench.world.fault(PATCH, Fault::AfterCommit);
    bench.advance().await;
    let applied = bench.world.get(CART).unwrap();
    // As if it had been held up on its way: not there yet when it is looked for.
    bench.world.put(before);
    bench.world.edit(&format!("/remediations/{}", bench.name), |it| {
        it["status"]["phase"] = json!("Executing");
        it["status"].as_object_mut().unwrap().remove("actedAt");
    });
    bench.plane.refresh(&bench.name).await.unwrap();
    bench.world.written();
    bench.wait(95);
    // It arrives between the second look and the second request.
    bench.world.fault(DRY, Fault::Answer(422));
    let late = applied.clone();
    bench.world.put(late);
    bench.step().await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    assert_eq!(bench.effects(), 0, "no second request");
    assert_eq!(bench.stamp(), Some(format!("{}/1", bench.name)));
}

#[tokio::test]
async fn however_late_a_request_arrives_it_is_one_effect() {
    // Within the API server's time, and long after any server would have dropped it.
    for late in [0, 5, 30, 59, 80, 89, 90, 91, 95, 200] {
        let bench = Bench::new().await;
        bench.world.fault(PATCH, Fault::Late(late));
        bench.run(120).await;
        assert_eq!(bench.phase(), Phase::Verifying, "{late} s: {}", bench.reason());
        bench.heal();
        bench.run(400).await;
        assert_eq!(bench.phase(), Phase::Succeeded, "{late} s: {}", bench.reason());
        assert_eq!(bench.applied(), 1, "{late} s");
        assert_eq!(bench.debits(), 1, "{late} s");
    }
}

#[tokio::test]
async fn killed_between_intent_and_request_another_process_takes_over_and_does_it_once() {
    let mut bench = Bench::new().await;
    // The process dies with its write of the intent unanswered.
    bench.world.fault(&bench.line(STATUS), Fault::AfterCommit);
    assert!(bench.try_advance().await.is_err());
    bench.restart().await;
    assert_eq!(bench.phase(), Phase::Executing);
    assert_eq!(bench.effects(), 0);
    bench.run(85).await;
    assert_eq!(bench.effects(), 0, "not before the claim and the API server's time have ended");
    bench.run(30).await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    assert_eq!(bench.effects(), 1);
}

#[tokio::test]
async fn a_process_that_knows_it_has_sent_nothing_goes_on_at_once() {
    let bench = Bench::new().await;
    bench.world.fault(&bench.line(STATUS), Fault::AfterCommit);
    bench.run(10).await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    assert_eq!(bench.effects(), 1);
}

#[tokio::test]
async fn killed_after_the_effect_another_process_finds_it_and_does_not_repeat_it() {
    let mut bench = Bench::new().await;
    let status = bench.line(STATUS);
    bench.world.fault(&status, Fault::AfterCommit);
    assert!(bench.try_advance().await.is_err());
    bench.plane.refresh(&bench.name).await.unwrap();
    // Now the record of the effect never arrives.
    bench.world.fault(&status, Fault::AfterCommit);
    bench.world.fault(&status, Fault::BeforeCommit);
    assert!(bench.try_advance().await.is_err());
    bench.restart().await;
    bench.run(120).await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    assert_eq!(bench.effects(), 1);
}

#[tokio::test]
async fn killed_before_the_intent_its_claim_is_waited_for() {
    let mut bench = Bench::new().await;
    bench.world.fault(&bench.line(STATUS), Fault::BeforeCommit);
    assert!(bench.try_advance().await.is_err());
    assert_eq!(bench.claims(), 1);
    bench.restart().await;
    assert_eq!(bench.phase(), Phase::Proposed);
    bench.run(120).await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    assert_eq!((bench.effects(), bench.debits()), (1, 1));
}

#[tokio::test]
async fn of_two_gateways_one_acts() {
    let bench = Bench::new().await;
    let other = Bench::plane(&bench.world, &bench.bus, "gateway-2", Mode::Enforce);
    other.refresh(&bench.name).await.unwrap();
    let seen = other.index().get(&bench.name).unwrap();
    bench.advance().await;
    // The other has not heard of it yet.
    assert!(matches!(Box::pin(other.advance(&seen)).await, Ok(Next::At(_)) | Err(DriveError::Conflict(_))));
    assert_eq!(bench.effects(), 1);
    assert_eq!(bench.phase(), Phase::Verifying);
}

#[tokio::test]
async fn another_process_goes_on_verifying() {
    let mut bench = Bench::new().await;
    bench.advance().await;
    bench.heal();
    bench.restart().await;
    bench.run(300).await;
    assert_eq!(bench.phase(), Phase::Succeeded, "{}", bench.reason());
    assert_eq!(bench.effects(), 1);
}

#[tokio::test]
async fn what_can_not_be_told_pages_and_holds_the_root_until_somebody_has_looked() {
    let bench = Bench::new().await;
    bench.world.fault(PATCH, Fault::BeforeCommit);
    bench.advance().await;
    // Somebody else writes what we tested, and no stamp is there.
    bench.world.edit(CART, |cart| cart["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop/cart:3"));
    bench.run(120).await;
    assert_eq!(bench.phase(), Phase::Unknown, "{}", bench.reason());
    assert_eq!(bench.outcomes().await, [(Phase::Unknown, Some(false))]);
    assert_eq!(bench.claims(), 1);
    assert!(bench.plane.index().held_for_person(&cart(1).root).is_some());
    bench.world.edit(&format!("/remediations/{}", bench.name), |it| {
        it["status"]["acknowledged"] = serde_json::to_value(crate::testing::acknowledged()).unwrap();
    });
    bench.step().await;
    bench.step().await;
    assert_eq!(bench.claims(), 0);
}

#[tokio::test]
async fn an_acknowledgement_that_comes_before_the_outcome_is_told_frees_the_root_too() {
    let bench = Bench::new().await;
    bench.world.fault(PATCH, Fault::BeforeCommit);
    bench.advance().await;
    bench.world.edit(CART, |cart| cart["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop/cart:3"));
    bench.bus.set_away(true);
    bench.run(120).await;
    assert_eq!(bench.phase(), Phase::Unknown, "{}", bench.reason());
    assert_eq!(bench.claims(), 1);
    bench.world.edit(&format!("/remediations/{}", bench.name), |it| {
        it["status"]["acknowledged"] = serde_json::to_value(crate::testing::acknowledged()).unwrap();
    });
    bench.step().await;
    bench.bus.set_away(false);
    assert_eq!(bench.step().await, Some(Next::Done));
    assert_eq!(bench.outcomes().await.len(), 1);
    assert_eq!(bench.claims(), 0);
}

#[tokio::test]
async fn with_the_bus_away_it_acts_and_tells_later() {
    let bench = Bench::new().await;
    bench.bus.set_away(true);
    bench.run(30).await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    bench.heal();
    bench.run(300).await;
    assert_eq!(bench.phase(), Phase::Succeeded, "{}", bench.reason());
    bench.bus.set_away(false);
    bench.run(30).await;
    assert_eq!(bench.outcomes().await, [(Phase::Succeeded, Some(true))]);
}

#[tokio::test]
async fn a_pod_is_deleted_once_and_its_owner_has_to_get_well() {
    let pod = ObjectRef::namespaced(Kind::Pod, "shop", "cart-69f6589c46-hvsh5");
    let delete = Proposal { target: pod, action: Action::DeletePod(Empty {}), ..cart(1) };
    let bench = Bench::with(delete, Mode::Enforce, |_| {}).await;
    bench.world.edit("/nodes/kwok-node-0", |node| {
        for condition in node["status"]["conditions"].as_array_mut().unwrap() {
            if condition["type"] == "Ready" {
                condition["status"] = json!("Unknown");
            }
        }
    });
    bench.world.fault("DELETE pods/cart-69f6589c46-hvsh5", Fault::AfterCommit);
    bench.advance().await;
    let lines = bench.world.written();
    assert_eq!(bench.phase(), Phase::Verifying, "{} {lines:?}", bench.reason());
    assert_eq!(lines.iter().filter(|line| line.starts_with("DELETE pods") && !line.ends_with("dry")).count(), 1);
    bench.heal();
    bench.run(300).await;
    assert_eq!(bench.phase(), Phase::Succeeded, "{}", bench.reason());
}

#[tokio::test(start_paused = true)]
async fn whatever_breaks_wherever_there_is_at_most_one_effect_and_one_way_it_ended() {
    let mut ended = std::collections::BTreeMap::<Phase, usize>::new();
    for seed in 0..40 {
        let mut bench = Bench::new().await;
        bench.world.chaos(seed, 12);
        for step in 0..400 {
            bench.run(3).await;
            if bench.image() == "shop/cart:1" && bench.world.get("/pods/cart-69f6589c46-hvsh5").is_some() {
                heal(&bench.world);
            }
            // Killed now and then; another one starts.
            if (seed + step) % 7 == 0 && step < 60 {
                bench.plane = Bench::plane(&bench.world, &bench.bus, &format!("gateway-{step}"), Mode::Enforce);
                while bench.plane.refresh(&bench.name).await.is_err() {}
            }
            let remediation = bench.plane.index().get(&bench.name).unwrap();
            let status = crate::index::status(&remediation);
            if status.outcome_published == Some(status.phase) {
                break;
            }
            bench.wait(7);
        }
        let effects = bench.applied();
        let outcomes: std::collections::BTreeSet<_> = bench.outcomes().await.into_iter().map(|it| it.0).collect();
        let said = format!("seed {seed}: {} ({})", bench.phase(), bench.reason());
        assert!(bench.phase().is_final(), "{said}");
        assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [bench.phase()], "{said}");
        match bench.phase() {
            Phase::Succeeded => assert_eq!(effects, 1, "{said}"),
            Phase::Failed | Phase::Obsolete | Phase::Expired => assert_eq!(effects, 0, "{said}"),
            phase => panic!("{phase}: {said}"),
        }
        *ended.entry(bench.phase()).or_default() += 1;
    }
    assert!(ended.get(&Phase::Succeeded).is_some_and(|many| *many > 10), "{ended:?}");
}
