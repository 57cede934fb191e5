//! What people said is in the audit log before what came of it is anywhere.

use std::time::Duration;

use evenkeel_audit::{Kind as Recorded, MessageKey, Record, SigningKey};
use evenkeel_model::{
    Answer, ApprovalDecision, Ask, Freeze, FreezeSpec, FrozenUndo, OfRemediation, Request, RequestSpec,
};

use super::approvals::{ask, asked, make};
use super::*;
use crate::Audit;

/// From now on it is recorded.
async fn records(mut bench: Bench) -> Bench {
    let key = MessageKey::of(&SigningKey::new("prod", [1; 32]).unwrap());
    let audit = Audit { key, unsealed_at_most: 1000 };
    bench.plane = Bench::recording(&bench.world, &bench.bus, "gateway-2", Mode::Enforce, Some(audit));
    bench.plane.refresh(&bench.name).await.unwrap();
    bench
}

/// Does it while records get to the bus; gives them.
async fn told<T>(bench: &Bench, act: impl Future<Output = T>) -> (T, Vec<Record>) {
    let mut told = Vec::new();
    let mut act = std::pin::pin!(act);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut act => break done,
            () = tokio::time::sleep(Duration::from_millis(10)) => told.extend(bench.plane.recorder.take()),
        }
    };
    told.extend(bench.plane.recorder.take());
    (done, told)
}

fn of_people(records: &[Record]) -> Vec<(String, String)> {
    let people = records.iter().filter(|it| it.kind == Recorded::Person);
    people.map(|it| (it.by.clone().unwrap_or_default(), it.reason.clone())).collect()
}

#[tokio::test(start_paused = true)]
async fn each_answer_of_a_person_is_recorded_and_so_is_what_they_approved() {
    let bench = records(asked().await).await;
    bench.wait(120);
    make(&bench, "a-1", "stranger", 60, |_| {});
    make(&bench, "a-2", "jane", 61, |_| {});
    let before = ask(&bench);
    let (advanced, records) = told(&bench, bench.try_advance()).await;
    advanced.unwrap();
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    let people = of_people(&records);
    assert_eq!(people[0], ("jane".to_owned(), "counts: looked at it".to_owned()));
    assert_eq!(people[1].0, "stranger");
    assert!(people[1].1.starts_with("does not count: stranger may not approve"), "{people:?}");
    assert_eq!(people.len(), 2, "once each: {people:?}");
    let jane = records.iter().find(|it| it.by.as_deref() == Some("jane")).unwrap();
    assert_eq!(jane.remediation.as_deref(), Some(bench.name.as_str()));
    assert_eq!(jane.detail["asked"], json!(before.digest));
    assert_eq!(jane.detail["spec"]["groups"], json!(["sre"]));
    let executing = records.iter().find(|it| it.phase == Some(Phase::Executing) && it.kind == Recorded::Phase).unwrap();
    let approval = &executing.detail["approval"];
    assert_eq!((&approval["digest"], &approval["given"][0]["name"]), (&json!(before.digest), &json!("a-2")));
    assert_eq!(approval["changes"], json!(before.changes));
    assert!(approval["guard"]["since"].is_string(), "{approval}");
}

#[tokio::test(start_paused = true)]
async fn what_a_person_said_is_told_before_anything_comes_of_it() {
    let bench = records(asked().await).await;
    bench.wait(120);
    make(&bench, "a-1", "joe", 60, |it| it.spec.decision = ApprovalDecision::Deny);
    let object = || bench.world.get(&format!("/remediations/{}", bench.name)).unwrap();
    let before = object()["status"].clone();
    // The bus is away.
    let error = bench.try_advance().await.unwrap_err();
    assert!(matches!(error, DriveError::Unrecorded(_)), "{error}");
    assert_eq!(object()["status"], before);
    let (advanced, records) = told(&bench, bench.try_advance()).await;
    advanced.unwrap();
    assert_eq!(bench.phase(), Phase::Denied);
    assert!(of_people(&records).contains(&("joe".to_owned(), "counts: looked at it".to_owned())));
    let denied = records.iter().find(|it| it.phase == Some(Phase::Denied) && it.kind == Recorded::Phase).unwrap();
    assert_eq!(denied.detail["approval"]["given"][0]["decision"], "Deny");
}

#[tokio::test(start_paused = true)]
async fn each_answered_request_is_recorded_before_its_answer_is_written() {
    let bench = records(Bench::new().await).await;
    let request = |name: &str| {
        let ask = Ask::Cancel(OfRemediation { remediation: bench.name.clone() });
        let spec = RequestSpec { ask, by: "jane".to_owned(), reason: "it is mine".to_owned() };
        let mut request = serde_json::to_value(Request::new(name, spec)).unwrap();
        request["metadata"]["namespace"] = json!("evenkeel");
        request["metadata"]["creationTimestamp"] = json!(bench.clock.now().to_rfc3339());
        bench.world.put(request);
        serde_json::from_value::<Request>(bench.world.get(&format!("/requests/{name}")).unwrap()).unwrap()
    };
    let unbelieved = request("ask-1");
    let (answered, records) = told(&bench, Box::pin(bench.plane.answer(&unbelieved))).await;
    assert_eq!(answered.unwrap().status.unwrap().answer, Answer::Refused);
    let people = of_people(&records);
    assert!(people[0].0 == "jane" && people[0].1.starts_with("refused: it can't be told who asks"), "{people:?}");

    bench.world.hold_people();
    bench.plane.people_guard.check().await.unwrap().unwrap();
    bench.wait(60);
    let believed = request("ask-2");
    let error = Box::pin(bench.plane.answer(&believed)).await.unwrap_err();
    assert!(matches!(error, DriveError::Unrecorded(_)), "{error}");
    assert!(bench.world.get("/requests/ask-2").unwrap()["status"].is_null());
    let (answered, records) = told(&bench, Box::pin(bench.plane.answer(&believed))).await;
    assert_eq!(answered.unwrap().status.unwrap().answer, Answer::Done);
    let last = records.iter().rfind(|it| it.kind == Recorded::Person).unwrap();
    assert_eq!(last.reason, format!("done: {} is cancelled", bench.name));
    assert_eq!(
        (last.remediation.as_deref(), &last.detail["spec"]["reason"]),
        (Some(bench.name.as_str()), &json!("it is mine"))
    );
}

#[tokio::test(start_paused = true)]
async fn freezes_that_begin_and_end_are_recorded() {
    let bench = records(Bench::new().await).await;
    let spec = FreezeSpec {
        namespaces: vec!["shop".to_owned()],
        undo: FrozenUndo::GoesOn,
        by: "jane".to_owned(),
        reason: "release day".to_owned(),
        from: None,
        until: None,
    };
    bench.world.put(serde_json::to_value(Freeze::new("release", spec)).unwrap());
    for _ in 0..2 {
        bench.plane.freezes.read().await;
    }
    bench.world.remove("/freezes/release");
    bench.plane.freezes.read().await;
    let records = bench.plane.recorder.take();
    let expected = [("jane", "freeze release begins: release day"), ("", "freeze release ends: it was deleted")];
    assert_eq!(of_people(&records), expected.map(|(by, said)| (by.to_owned(), said.to_owned())));
    assert_eq!(records[1].detail["spec"]["by"], "jane");
}
