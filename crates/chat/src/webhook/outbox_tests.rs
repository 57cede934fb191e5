use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use evenkeel_model::{FixedClock, Phase};
use evenkeel_runtime::http::HttpError;
use futures::future::BoxFuture;
use http::{HeaderMap, Response};
use serde_json::Value;

use super::*;
use crate::config::BuiltIn;
use crate::store::MemoryStore;
use crate::testing::{at, story, story_in};

/// Keeps what is sent and answers by script.
#[derive(Default)]
struct Recorder {
    sent: Mutex<Vec<(String, HeaderMap, Bytes)>>,
    answers: Mutex<VecDeque<(u16, Option<&'static str>)>>,
}

impl Outbound for Recorder {
    fn send(&self, request: Request<Bytes>, _: Limits) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        let (head, body) = request.into_parts();
        self.sent.lock().unwrap().push((head.uri.to_string(), head.headers, body));
        let (status, retry) = self.answers.lock().unwrap().pop_front().unwrap_or((202, None));
        let mut response = Response::builder().status(status);
        if let Some(retry) = retry {
            response = response.header("retry-after", retry);
        }
        Box::pin(std::future::ready(Ok(response.body(Bytes::new()).unwrap())))
    }
}

struct Rig {
    outbox: WebhookOutbox,
    recorder: Arc<Recorder>,
    dir: tempfile::TempDir,
}

fn rig(progress: bool) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    };
    let recorder = Arc::new(Recorder::default());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(100));
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(at(1)));
    let first = FirstWord { store: Arc::clone(&store), clock: Arc::clone(&clock), holder: "gateway-1".to_owned() };
    let outbox = WebhookOutbox {
        name: "pager".to_owned(),
        url_file: file("url", "https://events.pagerduty.example/v2/enqueue?secret=1\n"),
        key_file: Some(file("key", "0123456789abcdef0123456789abcdef\n")),
        signing_secret_file: Some(file("sign", &["whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"].concat())),
        template: Template::built_in(BuiltIn::PagerDuty).unwrap(),
        announce: vec![Stage::AwaitingApproval, Stage::NeedsPerson],
        progress,
        outbound: Arc::clone(&recorder) as Arc<dyn Outbound>,
        limits: Limits { timeout: Duration::from_secs(1), max_bytes: 1024 },
        store,
        clock,
        first,
    };
    Rig { outbox, recorder, dir }
}

#[tokio::test]
async fn an_alert_is_opened_and_closed_and_each_body_is_signed() {
    let rig = rig(false);
    for phase in
        [Phase::AwaitingApproval, Phase::AwaitingApproval, Phase::Executing, Phase::Succeeded, Phase::Succeeded]
    {
        rig.outbox.deliver(&story_in(phase, "")).await.unwrap();
    }
    let sent = rig.recorder.sent.lock().unwrap();
    let actions: Vec<Value> = sent
        .iter()
        .map(|(_, _, body)| serde_json::from_slice::<Value>(body).unwrap()["event_action"].clone())
        .collect();
    assert_eq!(actions, ["trigger", "resolve"]);
    let (_, headers, body) = &sent[0];
    assert_eq!(headers["webhook-id"], "r-0123456789abcdef0123.AwaitingApproval");
    let timestamp: i64 = headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
    assert_eq!(timestamp, at(1).timestamp());
    let secret = ["whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"].concat();
    let expected = sign(&[secret], headers["webhook-id"].to_str().unwrap(), timestamp, body).unwrap();
    assert_eq!(headers["webhook-signature"], expected.as_str());
}

#[tokio::test]
async fn what_was_not_announced_is_not_closed_and_progress_is_told_where_asked_for() {
    let quiet = rig(false);
    assert_eq!(quiet.outbox.deliver(&story_in(Phase::Succeeded, "")).await, Ok(false));
    let talkative = rig(true);
    for phase in [Phase::AwaitingApproval, Phase::Executing, Phase::Succeeded] {
        assert_eq!(talkative.outbox.deliver(&story_in(phase, "")).await, Ok(true));
    }
}

#[tokio::test]
async fn what_may_work_later_is_tried_later_and_the_url_is_never_told() {
    let rig = rig(false);
    rig.recorder.answers.lock().unwrap().extend([(429, Some("9")), (500, None), (403, None), (400, None)]);
    let wait = rig.outbox.deliver(&story()).await.unwrap_err();
    assert!(
        matches!(wait, Undelivered::Later { after: Some(after), .. } if after == Duration::from_secs(9)),
        "{wait:?}"
    );
    for _ in 0..2 {
        assert!(matches!(rig.outbox.deliver(&story()).await, Err(Undelivered::Later { after: None, .. })));
    }
    assert!(matches!(rig.outbox.deliver(&story()).await, Err(Undelivered::Never(_))));
    std::fs::write(rig.dir.path().join("url"), "no url at all").unwrap();
    let error = format!("{:?}", rig.outbox.deliver(&story()).await.unwrap_err());
    assert!(!error.contains("no url at all"), "{error}");
    std::fs::write(rig.dir.path().join("url"), "https://other.example/").unwrap();
    assert_eq!(rig.outbox.deliver(&story()).await, Ok(true));
    assert_eq!(rig.recorder.sent.lock().unwrap().last().unwrap().0, "https://other.example/", "read anew");
}
