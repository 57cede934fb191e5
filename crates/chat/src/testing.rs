//! What the tests of this room share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeZone as _, Utc};
use evenkeel_model::{
    Action, ApiRequest, Decision, Kind, ObjectRef, Origin, Phase, Plan, PlaybookStep, Proposal, RemediationSpec,
    RemediationStatus, RollbackTo, RollbackWorkload, Spoken, Tier, Verb, Verdict,
};

use evenkeel_runtime::BoxError;
use evenkeel_runtime::http::{Network, Outbound};
use serde_json::Value;

use crate::slack::SlackApi;
use crate::store::Store;
use crate::story::{Found, Story, Voice};

pub(crate) const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

pub(crate) fn at(minute: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 21, 3, minute, 0).unwrap()
}

pub(crate) fn remediation() -> (RemediationSpec, RemediationStatus) {
    let target = ObjectRef::namespaced(Kind::Deployment, "shop", "cart").with_uid("u-1");
    let spec = RemediationSpec::new(Proposal {
        incident: "0a1b".to_owned(),
        number: 1,
        cluster: "prod".to_owned(),
        target: target.clone(),
        root: target.clone(),
        action: Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable }),
        playbook: PlaybookStep {
            name: "bad-rollout".to_owned(),
            version: "v".to_owned(),
            step: "roll-back".to_owned(),
        },
        origin: Origin::Playbook,
        signals: vec!["KubeDeploymentRolloutStuck".to_owned()],
        rationale: "Revision 2 will not become available: its image can't be pulled.".to_owned(),
        recurrence_of: None,
        proposed_at: at(0),
        expires_at: at(45),
        traceparent: None,
    });
    let mut status = RemediationStatus::proposed(at(1));
    status.phase = Phase::AwaitingApproval;
    status.reason = "a medium-tier action needs a person".to_owned();
    status.verdict = Some(Verdict {
        decision: Decision::NeedsApproval { tier: Tier::Medium },
        rules: vec![Spoken {
            policy: "shop-stateless".to_owned(),
            said: "rollbackWorkload is of tier Medium".to_owned(),
        }],
    });
    status.plan = Some(Plan {
        request: ApiRequest { verb: Verb::Patch, object: target, body: None },
        inverse: None,
        changes: vec!["spec.template.spec.containers[web].image: web:2 → web:1".to_owned()],
        captured: Vec::new(),
    });
    (spec, status)
}

/// One that waits for a person.
pub(crate) fn story() -> Story {
    let (spec, status) = remediation();
    Story {
        digest: Some(DIGEST.to_owned()),
        summary: "A new revision will not become available; go back to the last one that was.".to_owned(),
        evidence: vec![
            Found { name: "recent.podTemplateChanged".to_owned(), value: "true".to_owned() },
            Found { name: "target.unavailableReplicas".to_owned(), value: "2".to_owned() },
        ],
        blast_radius: vec!["2 of 3 pods are replaced; 1 is available now".to_owned()],
        ..Story::of("r-0123456789abcdef0123", &spec, &status)
    }
}

/// The same in another phase.
pub(crate) fn story_in(phase: Phase, reason: &str) -> Story {
    Story { phase, reason: reason.to_owned(), at: at(5), ..story() }
}

pub(crate) fn approved_by(person: &str) -> Voice {
    Voice { person: person.to_owned(), approved: true, at: at(4) }
}

/// A Slack on loopback: checks the token and Slack's limits, keeps messages as Slack would, and
/// answers by script where a test says so.
pub(crate) struct FakeSlack {
    pub(crate) base: String,
    state: Arc<Mutex<SlackState>>,
    server: tokio::task::JoinHandle<()>,
}

type Scripted = (u16, Vec<(&'static str, String)>, Value);

#[derive(Default)]
struct SlackState {
    token: String,
    app_token: String,
    /// Each call that was let in: method and body.
    calls: Vec<(String, Value)>,
    /// Answers to the next calls: status, headers, body.
    script: VecDeque<Scripted>,
    /// Messages by `ts`.
    messages: BTreeMap<String, Value>,
    socket_url: String,
}

impl Drop for FakeSlack {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeSlack {
    pub(crate) async fn begin() -> Self {
        let state = Arc::new(Mutex::new(SlackState {
            token: "xoxb-1".to_owned(),
            app_token: "xapp-1".to_owned(),
            ..SlackState::default()
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/api", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route("/api/{method}", axum::routing::post(slack_method))
            .with_state(Arc::clone(&state));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, state, server }
    }

    pub(crate) fn api(&self, dir: &std::path::Path) -> SlackApi {
        std::fs::write(dir.join("bot"), "xoxb-1\n").unwrap();
        SlackApi::new(network(), &self.base, dir.join("bot"), std::time::Duration::from_secs(5))
    }

    pub(crate) fn takes_only(&self, token: &str) {
        self.state.lock().unwrap().token = token.to_owned();
    }

    pub(crate) fn next_answer(&self, status: u16, headers: &[(&'static str, &str)], body: Value) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.state.lock().unwrap().script.push_back((status, headers, body));
    }

    pub(crate) fn calls(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap().calls.clone()
    }

    pub(crate) fn methods(&self) -> Vec<String> {
        self.calls().into_iter().map(|(method, _)| method).collect()
    }

    pub(crate) fn message(&self, ts: &str) -> Value {
        self.state.lock().unwrap().messages[ts].clone()
    }

    pub(crate) fn forget_messages(&self) {
        self.state.lock().unwrap().messages.clear();
    }

    pub(crate) fn socket_at(&self, url: &str) {
        self.state.lock().unwrap().socket_url = url.to_owned();
    }

    /// Waits until there are so many calls.
    pub(crate) async fn calls_reach(&self, n: usize) -> Vec<(String, Value)> {
        let waiting = async {
            while self.calls().len() < n {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.expect("so many calls");
        self.calls()
    }
}

async fn slack_method(
    axum::extract::State(state): axum::extract::State<Arc<Mutex<SlackState>>>,
    axum::extract::Path(method): axum::extract::Path<String>,
    headers: http::HeaderMap,
    body: bytes::Bytes,
) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    let mut state = state.lock().unwrap();
    if let Some((status, headers, body)) = state.script.pop_front() {
        let mut response = (http::StatusCode::from_u16(status).unwrap(), body.to_string()).into_response();
        for (name, value) in headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        return response;
    }
    axum::Json(state.call(&method, &headers, &body)).into_response()
}

impl SlackState {
    fn call(&mut self, method: &str, headers: &http::HeaderMap, body: &[u8]) -> Value {
        let no = |error: &str| serde_json::json!({ "ok": false, "error": error });
        let wanted = if method == "apps.connections.open" { &self.app_token } else { &self.token };
        let found = headers.get("authorization").and_then(|value| value.to_str().ok());
        if found != Some(format!("Bearer {wanted}").as_str()) {
            return no("invalid_auth");
        }
        if method == "apps.connections.open" {
            self.calls.push((method.to_owned(), Value::Null));
            return serde_json::json!({ "ok": true, "url": self.socket_url });
        }
        if headers["content-type"] != "application/json; charset=utf-8" {
            return no("invalid_post_type");
        }
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return no("invalid_json") };
        if body.get("blocks").is_some() && !crate::slack::limits::check(&body).is_empty() {
            return no("invalid_blocks");
        }
        if !body["channel"].as_str().is_some_and(|channel| channel.starts_with('C')) {
            return no("channel_not_found");
        }
        let ts = match method {
            "chat.postMessage" => {
                let ts = format!("1763694000.{:06}", self.calls.len() + 1);
                self.messages.insert(ts.clone(), body.clone());
                ts
            }
            "chat.update" => {
                let ts = body["ts"].as_str().unwrap_or_default().to_owned();
                if !self.messages.contains_key(&ts) {
                    return no("message_not_found");
                }
                self.messages.insert(ts.clone(), body.clone());
                ts
            }
            "chat.postEphemeral" if body["user"].is_string() => String::new(),
            _ => return no("unknown_method"),
        };
        let channel = body["channel"].clone();
        self.calls.push((method.to_owned(), body));
        serde_json::json!({ "ok": true, "channel": channel, "ts": ts })
    }
}

/// The real client for HTTP.
pub(crate) fn network() -> Arc<dyn Outbound> {
    // A second installation is refused, and the first is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Arc::new(Network::new().unwrap())
}

/// A store that can't be asked.
pub(crate) struct NoStore;

#[async_trait::async_trait]
impl Store for NoStore {
    async fn get(&self, _: &str) -> Result<Option<bytes::Bytes>, BoxError> {
        Err("the bus is away".into())
    }

    async fn create(&self, _: &str, _: bytes::Bytes) -> Result<bool, BoxError> {
        Err("the bus is away".into())
    }

    async fn put(&self, _: &str, _: bytes::Bytes) -> Result<(), BoxError> {
        Err("the bus is away".into())
    }
}
