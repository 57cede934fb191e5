//! What people ask for.

use evenkeel_model::{
    Answer, Ask, OfRemediation, Origin, Rearm, Request, RequestSpec, RequestStatus, RunStep, Transition,
};
use evenkeel_playbook::Loaded;

use super::*;
use crate::testing::acknowledged;

/// A plane that knows the playbook, and an API server that holds people to their names.
async fn bench() -> Bench {
    Box::pin(made()).await
}

async fn made() -> Bench {
    let mut bench = Box::pin(Bench::new()).await;
    let playbooks = vec![Loaded::new("bad-rollout", playbook()).unwrap()];
    bench.plane.playbooks = crate::playbooks::Playbooks::new(
        PlaybookSource::Files(tokio::sync::watch::channel(playbooks).1),
        bench.world.client(),
        std::time::Duration::from_secs(10),
        Health::new().part("playbooks"),
    );
    bench.world.edit("/actionpolicies/shop", |policy| {
        policy["spec"]["actions"][0]["origins"] = json!(["Playbook", "Person"]);
    });
    bench.world.hold_people();
    bench.plane.people_guard.check().await.unwrap().unwrap();
    bench.wait(60);
    bench
}

async fn ask(bench: &Bench, ask: Ask) -> RequestStatus {
    ask_as(bench, "ask-1", ask, bench.clock.now()).await
}

async fn ask_as(bench: &Bench, name: &str, ask: Ask, made_at: DateTime<Utc>) -> RequestStatus {
    let spec = RequestSpec { ask, by: "jane".to_owned(), reason: "it is mine".to_owned() };
    let mut request = serde_json::to_value(Request::new(name, spec)).unwrap();
    request["metadata"]["namespace"] = json!("evenkeel");
    request["metadata"]["uid"] = json!(format!("uid-of-{name}"));
    request["metadata"]["creationTimestamp"] = json!(made_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    bench.world.put(request);
    let request: Request = serde_json::from_value(bench.world.get(&format!("/requests/{name}")).unwrap()).unwrap();
    Box::pin(bench.plane.answer(&request)).await.unwrap().status.unwrap()
}

fn of(bench: &Bench) -> OfRemediation {
    OfRemediation { remediation: bench.name.clone() }
}

fn run(step: Option<&str>) -> Ask {
    let target = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
    Ask::Run(RunStep { playbook: "bad-rollout".to_owned(), step: step.map(str::to_owned), target })
}

#[tokio::test]
async fn what_waits_is_cancelled_and_nothing_is_sent() {
    let bench = bench().await;
    let answer = ask(&bench, Ask::Cancel(of(&bench))).await;
    assert_eq!((answer.answer, answer.remediation.as_deref()), (Answer::Done, Some(bench.name.as_str())));
    bench.run(30).await;
    assert_eq!((bench.phase(), bench.effects()), (Phase::Cancelled, 0));
    assert_eq!(bench.reason(), "cancelled by jane (ask-1): it is mine");
    assert_eq!(bench.outcomes().await, [(Phase::Cancelled, None)]);
    let again = ask_as(&bench, "ask-1", Ask::Cancel(of(&bench)), bench.clock.now()).await;
    assert_eq!(again.answer, Answer::Done, "the same request, of which the answer got lost");
    let other = ask_as(&bench, "ask-2", Ask::Cancel(of(&bench)), bench.clock.now()).await;
    assert_eq!(other.answer, Answer::Refused, "{}", other.reason);
}

#[tokio::test]
async fn what_may_have_been_sent_can_not_be_cancelled() {
    let bench = bench().await;
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Verifying);
    let answer = ask(&bench, Ask::Cancel(of(&bench))).await;
    assert_eq!(answer.answer, Answer::Refused);
    assert!(answer.reason.contains("can't be cancelled"), "{}", answer.reason);
    assert_eq!(bench.phase(), Phase::Verifying);
}

#[tokio::test]
async fn an_acknowledgement_frees_the_root_and_says_who() {
    let bench = bench().await;
    bench.world.fault(PATCH, Fault::BeforeCommit);
    bench.advance().await;
    let refused = ask_as(&bench, "early", Ask::Ack(of(&bench)), bench.clock.now()).await;
    assert_eq!(refused.answer, Answer::Refused, "{}", refused.reason);
    bench.world.edit(CART, |cart| cart["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop/cart:3"));
    bench.run(120).await;
    assert_eq!((bench.phase(), bench.claims()), (Phase::Unknown, 1), "{}", bench.reason());
    let answer = ask(&bench, Ask::Ack(of(&bench))).await;
    assert_eq!(answer.answer, Answer::Done, "{}", answer.reason);
    bench.step().await;
    assert_eq!(bench.claims(), 0);
    let seen = crate::index::status(&bench.plane.index().get(&bench.name).unwrap()).acknowledged.unwrap();
    assert_eq!((seen.by.as_str(), seen.request.as_str()), ("jane", "ask-1"));
    let late = ask_as(&bench, "late", Ask::Ack(of(&bench)), bench.clock.now()).await;
    assert!(late.reason.contains("jane has acknowledged"), "{}", late.reason);
}

#[tokio::test]
async fn a_run_is_a_remediation_of_that_person_through_the_same_gate() {
    let bench = bench().await;
    ask_as(&bench, "first", Ask::Cancel(of(&bench)), bench.clock.now()).await;
    let answer = ask(&bench, run(None)).await;
    assert_eq!(answer.answer, Answer::Done, "{}", answer.reason);
    let name = answer.remediation.unwrap();
    let made = bench.plane.index().get(&name).unwrap();
    let proposal = &made.spec.proposal;
    assert_eq!((made.spec.requested_by.as_deref(), proposal.origin), (Some("jane"), Origin::Person));
    assert_eq!(proposal.rationale, "jane asks for it (ask-1): it is mine");
    Box::pin(bench.plane.advance(&made)).await.unwrap();
    let phase = crate::index::phase(&bench.plane.index().get(&name).unwrap());
    assert_eq!((phase, bench.effects()), (Phase::Verifying, 1));
    let again = ask(&bench, run(None)).await;
    assert_eq!((again.answer, again.remediation), (Answer::Done, Some(name)), "answered again, it is the same one");
}

#[tokio::test]
async fn a_run_that_makes_no_sense_is_refused_with_its_reason() {
    let bench = bench().await;
    let refused = async |ask: Ask| {
        let answer = ask_as(&bench, "ask", ask, bench.clock.now()).await;
        assert_eq!(answer.answer, Answer::Refused);
        answer.reason
    };
    let other = |change: fn(&mut RunStep)| {
        let Ask::Run(mut run) = run(None) else { unreachable!() };
        change(&mut run);
        Ask::Run(run)
    };
    // What is under way for the target.
    bench.advance().await;
    let reasons = [
        refused(run(None)).await,
        refused(run(Some("other"))).await,
        refused(other(|run| run.playbook = "none".to_owned())).await,
        refused(other(|run| run.target.name = "none-such".to_owned())).await,
        refused(other(|run| run.target = ObjectRef::cluster_scoped(Kind::Node, "worker-1"))).await,
        refused(other(|run| run.target.name = "../x".to_owned())).await,
        refused(other(|run| run.playbook = "a b".to_owned())).await,
        refused(Ask::Cancel(OfRemediation { remediation: "none".to_owned() })).await,
        refused(Ask::Cancel(OfRemediation { remediation: "../x".to_owned() })).await,
    ];
    insta::assert_snapshot!(reasons.join("\n").replace(&bench.name, "NAME"));
}

#[tokio::test]
async fn nobody_is_believed_while_the_admission_policy_does_not_hold() {
    let bench = bench().await;
    // The clocks' tolerance after a forgery was first seen to be refused.
    let early = bench.clock.now() - chrono::Duration::seconds(55);
    let answer = ask_as(&bench, "early", Ask::Cancel(of(&bench)), early).await;
    assert!(answer.reason.contains("admission is known to refuse forgeries since"), "{}", answer.reason);
    bench.world.remove("/validatingadmissionpolicies/evenkeel-people");
    let answer = ask(&bench, Ask::Cancel(of(&bench))).await;
    assert_eq!(answer.answer, Answer::Refused);
    assert!(answer.reason.contains("it can't be told who asks"), "{}", answer.reason);
    bench.world.hold_people();
    let answer = ask(&bench, Ask::Cancel(of(&bench))).await;
    assert!(answer.reason.contains("ask again"), "{}", answer.reason);
    bench.wait(60);
    bench.world.let_forgeries_pass(true);
    bench.world.hold_people();
    let answer = ask(&bench, Ask::Cancel(of(&bench))).await;
    assert!(answer.reason.contains("a forgery was not refused"), "{}", answer.reason);
    assert_eq!(bench.phase(), Phase::Proposed);
}

#[tokio::test]
async fn a_policy_of_the_name_that_says_something_else_makes_nobody_believed() {
    type Change = fn(&mut serde_json::Value);
    let changes: [(&str, &str, Change); 5] = [
        ("policies", "spec.validations", |it| {
            it["spec"]["validations"].as_array_mut().unwrap().truncate(2);
        }),
        ("policies", "spec.matchConditions", |it| {
            it["spec"]["matchConditions"] =
                json!([{"name": "spared", "expression": "!('sre' in request.userInfo.groups)"}]);
        }),
        ("policies", "spec.failurePolicy", |it| it["spec"]["failurePolicy"] = json!("Ignore")),
        ("policybindings", "spec.matchResources", |it| {
            let spared = json!({"matchLabels": {"checked": "yes"}});
            it["spec"]["matchResources"] = json!({"objectSelector": spared});
        }),
        ("policybindings", "spec.validationActions", |it| it["spec"]["validationActions"] = json!(["Warn"])),
    ];
    for (kind, field, change) in changes {
        let bench = bench().await;
        bench.world.edit(&format!("/validatingadmission{kind}/evenkeel-people"), change);
        let answer = ask(&bench, Ask::Cancel(of(&bench))).await;
        assert_eq!((answer.answer, bench.phase()), (Answer::Refused, Phase::Proposed), "{}", answer.reason);
        assert!(answer.reason.contains(field) && answer.reason.contains("differs"), "{}", answer.reason);
    }
}

/// As `kubectl replace --force` does, and nobody looked meanwhile.
#[tokio::test]
async fn a_policy_that_was_made_anew_holds_from_then_on_and_no_longer() {
    let bench = bench().await;
    bench.world.remove("/validatingadmissionpolicies/evenkeel-people");
    bench.world.hold_people();
    let in_the_gap = bench.clock.now();
    bench.wait(60);
    let answer = ask_as(&bench, "ask-1", Ask::Cancel(of(&bench)), in_the_gap).await;
    assert_eq!((answer.answer, bench.phase()), (Answer::Refused, Phase::Proposed));
    assert!(answer.reason.contains("ask again"), "{}", answer.reason);
    bench.wait(60);
    assert_eq!(ask_as(&bench, "ask-2", Ask::Cancel(of(&bench)), bench.clock.now()).await.answer, Answer::Done);
}

/// A gateway dies between what it does and its answer, and another one finds the request.
#[tokio::test]
async fn what_was_done_is_answered_so_whatever_has_become_of_the_rest() {
    let bench = bench().await;
    ask_as(&bench, "first", Ask::Cancel(of(&bench)), bench.clock.now()).await;
    let begun = bench.clock.now();
    let run = ask_as(&bench, "mine", run(None), begun).await;
    assert_eq!(run.answer, Answer::Done, "{}", run.reason);
    // No answer was written, the playbook is gone, the policy was made anew, and an hour has passed.
    bench.wait(3600);
    let mut later = Bench::plane(&bench.world, &bench.bus, "gateway-2", Mode::Enforce);
    later.config.clock_tolerance = evenkeel_model::Span::seconds(5);
    bench.world.hold_people();
    for (name, what) in [("mine", self::run(None)), ("first", Ask::Cancel(of(&bench)))] {
        let mut request: serde_json::Value = bench.world.get(&format!("/requests/{name}")).unwrap();
        request.as_object_mut().unwrap().remove("status");
        bench.world.put(request.clone());
        let request: Request = serde_json::from_value(bench.world.get(&format!("/requests/{name}")).unwrap()).unwrap();
        assert_eq!(request.spec.ask, what);
        let again = Box::pin(later.answer(&request)).await.unwrap().status.unwrap();
        assert_eq!(again.answer, Answer::Done, "{name}: {}", again.reason);
    }
    assert_eq!(bench.world.objects("remediations").len(), 2);
}

#[tokio::test]
async fn nothing_is_done_that_was_asked_for_long_ago() {
    let bench = bench().await;
    let asked_at = bench.clock.now();
    bench.wait(15 * 60 + 1);
    let asks = [
        Ask::Cancel(of(&bench)),
        Ask::Ack(of(&bench)),
        run(None),
        Ask::Rearm(Rearm { playbooks: vec!["*".to_owned()] }),
    ];
    for (n, ask) in asks.into_iter().enumerate() {
        let answer = ask_as(&bench, &format!("late-{n}"), ask, asked_at).await;
        assert_eq!(answer.answer, Answer::Refused);
        assert!(answer.reason.contains("could not be done within 15 minutes"), "{}", answer.reason);
    }
    assert_eq!(bench.phase(), Phase::Proposed);
}

#[tokio::test]
async fn a_run_has_its_time_from_when_it_was_asked_for() {
    let bench = bench().await;
    ask_as(&bench, "first", Ask::Cancel(of(&bench)), bench.clock.now()).await;
    let asked_at = bench.clock.now();
    bench.wait(10 * 60);
    let name = ask_as(&bench, "mine", run(None), asked_at).await.remediation.unwrap();
    let proposal = bench.plane.index().get(&name).unwrap().spec.proposal.clone();
    assert_eq!(proposal.proposed_at, asked_at);
    assert_eq!(proposal.expires_at - asked_at, chrono::Duration::minutes(15));
}

#[tokio::test]
async fn a_run_is_not_held_up_by_what_waits_from_the_bus() {
    let bench = bench().await;
    assert_eq!(bench.phase(), Phase::Proposed);
    let answer = ask(&bench, run(None)).await;
    assert_eq!(answer.answer, Answer::Done, "{}", answer.reason);
}

#[tokio::test]
async fn beyond_so_many_open_requests_a_person_is_refused() {
    let bench = bench().await;
    for n in 0..crate::requests::MOST_OPEN {
        let spec = RequestSpec { ask: Ask::Cancel(of(&bench)), by: "jane".to_owned(), reason: "x".to_owned() };
        bench.plane.requests().apply(Request::new(&format!("crowd-{n}"), spec));
    }
    let answer = ask(&bench, Ask::Cancel(of(&bench))).await;
    assert!(answer.reason.contains("100 requests of jane wait"), "{}", answer.reason);
    assert_eq!(bench.phase(), Phase::Proposed);
}

#[tokio::test]
async fn breakers_of_what_never_acted_are_not_closed() {
    let bench = bench().await;
    let rearm = |name: &str| Ask::Rearm(Rearm { playbooks: vec![name.to_owned()] });
    let answer = ask_as(&bench, "ask-1", rearm("no-such"), bench.clock.now()).await;
    assert!(answer.reason.contains("done by playbook no-such"), "{}", answer.reason);
    for known in ["bad-rollout", "*"] {
        let answer = ask_as(&bench, &format!("ask-{}", known.len()), rearm(known), bench.clock.now()).await;
        assert_eq!(answer.answer, Answer::Done, "{known}: {}", answer.reason);
    }
}

#[tokio::test]
async fn a_suspended_playbook_is_denied_to_the_reasoner_and_not_to_a_person() {
    for (origin, phase) in [(Origin::Playbook, Phase::Denied), (Origin::Person, Phase::Verifying)] {
        let bench = Bench::with(Proposal { origin, ..cart(1) }, Mode::Enforce, |_| {}).await;
        bench.world.edit("/actionpolicies/shop", |policy| {
            policy["spec"]["actions"][0]["origins"] = json!(["Playbook", "Person"]);
        });
        for n in 2..5 {
            let mut failed = crate::testing::remediation(n, Phase::NotUndoable);
            failed.spec.proposal.incident = format!("i-{n}");
            failed.spec.proposal.root.name = format!("other-{n}");
            failed.spec.proposal.target.name = format!("other-{n}");
            failed.metadata.name = Some(format!("r-{n}"));
            let status = failed.status.as_mut().unwrap();
            status.acknowledged = Some(acknowledged());
            let entry = |phase| Transition { at: bench.clock.now(), phase, reason: "in a test".to_owned() };
            status.history = [Phase::Executing, Phase::Ineffective, Phase::NotUndoable].map(entry).into();
            bench.plane.index().apply(Arc::new(failed));
        }
        bench.advance().await;
        assert_eq!(bench.phase(), phase, "{}", bench.reason());
        if origin == Origin::Playbook {
            assert!(bench.reason().contains("evenkeel rearm bad-rollout"), "{}", bench.reason());
        }
    }
}
