use std::time::Duration;

use evenkeel_model::Phase;
use serde_json::{Value, json};

use super::*;
use crate::store::MemoryStore;
use crate::testing::{FakeSlack, NoStore, approved_by, story, story_in};

struct Rig {
    slack: FakeSlack,
    outbox: SlackOutbox,
    store: Arc<dyn Store>,
    dir: tempfile::TempDir,
}

async fn rig() -> Rig {
    let (slack, dir) = (FakeSlack::begin().await, tempfile::tempdir().unwrap());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(100));
    let outbox = outbox(slack.api(dir.path()), Arc::clone(&store));
    Rig { slack, outbox, store, dir }
}

fn outbox(api: SlackApi, store: Arc<dyn Store>) -> SlackOutbox {
    let announce = vec![Stage::AwaitingApproval, Stage::NeedsPerson];
    let clock = Arc::new(evenkeel_model::FixedClock::new(crate::testing::at(1)));
    let first = FirstWord { store: Arc::clone(&store), clock, holder: "gateway-1".to_owned() };
    SlackOutbox { api, channel: "C012AB3CD".to_owned(), announce, store, first }
}

fn has_buttons(message: &Value) -> bool {
    message["blocks"].as_array().unwrap().iter().any(|block| block["type"] == "actions")
}

#[tokio::test]
async fn a_message_is_edited_in_place_and_its_thread_tells_the_course() {
    let rig = rig().await;
    let Rig { slack, outbox, .. } = &rig;
    assert_eq!(outbox.deliver(&story()).await, Ok(true));
    let calls = slack.calls();
    assert_eq!(calls[0].0, "chat.postMessage");
    let posted = &calls[0].1;
    assert!(has_buttons(posted) && posted["channel"] == "C012AB3CD");
    assert_eq!(
        (&posted["parse"], &posted["link_names"], &posted["unfurl_links"]),
        (&json!("none"), &json!(false), &json!(false))
    );
    let ts = "1763694000.000001";
    let approved = Story { voices: vec![approved_by("jane@example.com")], ..story_in(Phase::Authorized, "approved") };
    assert_eq!(outbox.deliver(&approved).await, Ok(true));
    let message = slack.message(ts);
    assert!(!has_buttons(&message) && message.to_string().contains("Approved by `jane@example.com`"));
    assert_eq!(outbox.deliver(&story_in(Phase::Succeeded, "well for 3m")).await, Ok(true));
    assert_eq!(
        slack.methods(),
        ["chat.postMessage", "chat.update", "chat.postMessage", "chat.update", "chat.postMessage"]
    );
    let calls = slack.calls();
    assert_eq!((&calls[2].1["thread_ts"], &calls[4].1["thread_ts"]), (&json!(ts), &json!(ts)));
    assert!(calls[4].1.to_string().contains("Helped"));
}

#[tokio::test]
async fn the_same_is_told_once_also_after_a_restart() {
    let rig = rig().await;
    assert_eq!(rig.outbox.deliver(&story()).await, Ok(true));
    assert_eq!(rig.outbox.deliver(&story()).await, Ok(false));
    let after = outbox(rig.slack.api(rig.dir.path()), Arc::clone(&rig.store));
    assert_eq!(after.deliver(&story()).await, Ok(false));
    assert_eq!(after.deliver(&story_in(Phase::Expired, "nobody approved")).await, Ok(true), "buttons go");
    assert!(!has_buttons(&rig.slack.message("1763694000.000001")));
}

#[tokio::test]
async fn what_is_older_than_what_was_told_is_not_told_any_more() {
    let rig = rig().await;
    assert_eq!(rig.outbox.deliver(&story()).await, Ok(true));
    assert_eq!(rig.outbox.deliver(&story_in(Phase::Expired, "")).await, Ok(true));
    let late = Story { approvers: 2, ..story() };
    assert_eq!(rig.outbox.deliver(&late).await, Ok(false));
    assert!(!has_buttons(&rig.slack.message("1763694000.000001")));
}

#[tokio::test]
async fn what_nobody_has_to_decide_makes_no_message() {
    let rig = rig().await;
    assert_eq!(rig.outbox.deliver(&story_in(Phase::Executing, "")).await, Ok(false));
    assert_eq!(rig.outbox.deliver(&story_in(Phase::RollbackFailed, "403")).await, Ok(true), "a person has to look");
    assert_eq!(rig.slack.methods(), ["chat.postMessage"]);
}

#[tokio::test]
async fn a_message_somebody_deleted_is_posted_again_while_people_are_asked() {
    let rig = rig().await;
    assert_eq!(rig.outbox.deliver(&story()).await, Ok(true));
    rig.slack.forget_messages();
    let changed = Story { approvers: 2, ..story() };
    assert_eq!(rig.outbox.deliver(&changed).await, Ok(true));
    rig.slack.forget_messages();
    assert_eq!(
        rig.outbox.deliver(&story_in(Phase::Expired, "")).await,
        Ok(false),
        "nobody is told what they need not do"
    );
    assert_eq!(rig.slack.methods(), ["chat.postMessage", "chat.postMessage"]);
}

#[tokio::test]
async fn what_slack_asks_to_wait_is_asked_of_the_mailbox() {
    let rig = rig().await;
    rig.slack.next_answer(429, &[("retry-after", "17")], json!({ "ok": false, "error": "ratelimited" }));
    let Err(Undelivered::Later { after, .. }) = rig.outbox.deliver(&story()).await else { panic!("later") };
    assert_eq!(after, Some(Duration::from_secs(17)));
    rig.slack.next_answer(503, &[], json!({}));
    rig.slack.next_answer(200, &[], json!({ "ok": false, "error": "internal_error" }));
    rig.slack.next_answer(200, &[], json!("what"));
    for _ in 0..3 {
        assert!(matches!(rig.outbox.deliver(&story()).await, Err(Undelivered::Later { after: None, .. })));
    }
    rig.slack.next_answer(200, &[], json!({ "ok": false, "error": "channel_not_found" }));
    assert!(matches!(rig.outbox.deliver(&story()).await, Err(Undelivered::Never(_))));
    assert_eq!(rig.outbox.deliver(&story()).await, Ok(true));
}

#[tokio::test]
async fn a_token_rotated_in_its_file_is_used_with_the_next_call_and_never_shown() {
    let rig = rig().await;
    rig.slack.takes_only("xoxb-2");
    let Err(Undelivered::Later { reason, .. }) = rig.outbox.deliver(&story()).await else { panic!("later") };
    assert!(reason.contains("invalid_auth") && !reason.contains("xoxb"), "{reason}");
    std::fs::write(rig.dir.path().join("bot"), "xoxb-2\n").unwrap();
    assert_eq!(rig.outbox.deliver(&story()).await, Ok(true));
    std::fs::remove_file(rig.dir.path().join("bot")).unwrap();
    assert!(matches!(rig.outbox.deliver(&story_in(Phase::Expired, "")).await, Err(Undelivered::Later { .. })));
}

#[tokio::test]
async fn without_the_store_nothing_is_posted_twice() {
    let rig = rig().await;
    let away = outbox(rig.slack.api(rig.dir.path()), Arc::new(NoStore));
    assert!(matches!(away.deliver(&story()).await, Err(Undelivered::Later { .. })));
    assert!(rig.slack.calls().is_empty());
}

#[tokio::test]
async fn a_slack_that_does_not_answer_is_not_waited_for_for_ever() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bot"), "xoxb-1").unwrap();
    let base = format!("http://{}/api", listener.local_addr().unwrap());
    let api = SlackApi::new(crate::testing::network(), &base, dir.path().join("bot"), Duration::from_millis(200));
    let outbox = outbox(api, Arc::new(MemoryStore::new(1)));
    let delivered = tokio::time::timeout(Duration::from_secs(20), outbox.deliver(&story())).await.expect("an end");
    assert!(matches!(delivered, Err(Undelivered::Later { .. })));
}
