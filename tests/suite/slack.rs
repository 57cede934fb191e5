//! A stand-in for Slack, which is not to be had here: the methods of its Web API that are used, answered on loopback as
//! <https://docs.slack.dev/reference/methods> documents them, and clicks as Slack signs and sends them. It takes what
//! the gateway says; whether the real Slack would, it can't prove.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use evenkeel_xtask::ports;
use serde_json::{Value, json};

use crate::engine::Plane;
use crate::wait::eventually;
use crate::world::World;

/// The workspace.
pub const TEAM: &str = "T012AB3CD";
/// The channel.
pub const CHANNEL: &str = "C012AB3CD";
/// The button that approves.
pub const APPROVE: &str = "evenkeel_approve";

const TOKEN: &str = "xoxb-token-of-the-test";
const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// A message as it stands.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its id in the channel.
    pub ts: String,
    /// The message whose thread it is in.
    pub thread: Option<String>,
    /// What was sent last.
    pub body: Value,
    /// The headlines it has had, in order, the last included.
    pub headlines: Vec<String>,
}

impl Message {
    /// All text in it, a line each.
    pub fn text(&self) -> String {
        let mut texts = Vec::new();
        collect(&self.body["blocks"], &mut texts);
        texts.join("\n")
    }

    /// What the button of this action carries; `None` without one.
    pub fn button(&self, action: &str) -> Option<String> {
        let blocks = self.body["blocks"].as_array()?;
        let mut elements = blocks.iter().filter_map(|block| block["elements"].as_array()).flatten();
        let button = elements.find(|element| element["action_id"] == action)?;
        button["value"].as_str().map(ToOwned::to_owned)
    }
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            texts.extend(map.get("text").and_then(Value::as_str).map(ToOwned::to_owned));
            map.values().for_each(|value| collect(value, texts));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        _ => {}
    }
}

/// What only one person sees.
#[derive(Debug, Clone)]
pub struct Whisper {
    /// Who.
    pub user: String,
    /// What.
    pub text: String,
}

#[derive(Default)]
struct Held {
    messages: Vec<Message>,
    whispers: Vec<Whisper>,
}

/// The stand-in; it ends with the runtime it was started on.
#[derive(Clone)]
pub struct Slack {
    held: Arc<Mutex<Held>>,
    /// The base URL of its Web API.
    pub api: String,
    /// Where the gateway takes clicks.
    pub clicks: String,
}

/// How a click was answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub text: String,
}

/// A click on its way: the raw body and the headers that sign it.
#[derive(Debug, Clone)]
pub struct Click {
    /// `application/x-www-form-urlencoded`, as Slack sends it.
    pub body: String,
    /// `X-Slack-Request-Timestamp`
    pub at: i64,
    /// `X-Slack-Signature`
    pub signature: String,
}

impl Click {
    /// Signed with this secret at this time, over this body.
    pub fn signed(body: String, at: i64, secret: &str) -> Self {
        // https://docs.slack.dev/authentication/verifying-requests-from-slack
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        let tag = ring::hmac::sign(&key, format!("v0:{at}:{body}").as_bytes());
        Self { signature: format!("v0={}", hex::encode(tag)), body, at }
    }

    /// Somebody of the workspace presses the button that carries `value`; signed as Slack does, now.
    pub fn by(user: &str, value: &str) -> Self {
        Self::signed(body(TEAM, user, value), crate::world::now().timestamp(), SECRET)
    }

    /// The same by somebody of another workspace, as in a shared channel.
    pub fn from_team(team: &str, user: &str, value: &str) -> Self {
        Self::signed(body(team, user, value), crate::world::now().timestamp(), SECRET)
    }

    /// The same press, signed as if Slack had sent it so many seconds ago.
    #[must_use]
    pub fn aged(&self, seconds: i64) -> Self {
        Self::signed(self.body.clone(), self.at - seconds, SECRET)
    }
}

/// <https://docs.slack.dev/reference/interaction-payloads/block_actions-payload>
fn body(team: &str, user: &str, value: &str) -> String {
    let payload = json!({
        "type": "block_actions",
        "team": {"id": TEAM, "domain": "example"},
        "user": {"id": user, "username": user.to_lowercase(), "name": user.to_lowercase(), "team_id": team},
        "api_app_id": "A012AB3CD",
        "token": "9s8d9as89d8as9d8as989",
        "container": {"type": "message", "message_ts": "1548261231.000200", "channel_id": CHANNEL, "is_ephemeral": false},
        "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
        "channel": {"id": CHANNEL, "name": "repairs"},
        "response_url": "https://hooks.slack.com/actions/T012AB3CD/1232321423432/D09sSasdasdAS9091209",
        "actions": [{
            "action_id": APPROVE, "block_id": "=qXel", "text": {"type": "plain_text", "text": "Approve"},
            "value": value, "type": "button", "action_ts": "1548426417.840180",
        }],
    });
    form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload.to_string()).finish()
}

impl Slack {
    async fn start(clicks: String) -> Result<Self> {
        let held = Arc::new(Mutex::new(Held::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let api = format!("http://{}/api", listener.local_addr()?);
        let app = Router::new().route("/api/{method}", post(call)).with_state(Arc::clone(&held));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { held, api, clicks })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // What is kept here is whole after each change.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands in the channel itself.
    pub fn messages(&self) -> Vec<Message> {
        self.held().messages.iter().filter(|message| message.thread.is_none()).cloned().collect()
    }

    /// The headlines in a message's thread, in order.
    pub fn thread(&self, ts: &str) -> Vec<String> {
        let held = self.held();
        let replies = held.messages.iter().filter(|message| message.thread.as_deref() == Some(ts));
        replies.flat_map(|message| message.headlines.clone()).collect()
    }

    /// The message about a Remediation.
    ///
    /// # Errors
    /// There is none.
    pub fn about(&self, remediation: &str) -> Result<Message> {
        let found = self.messages().into_iter().find(|message| message.text().contains(remediation));
        found.with_context(|| format!("Slack was told nothing about {remediation}"))
    }

    /// What the buttons below the message about a Remediation carry, once they are for this digest.
    ///
    /// # Errors
    /// They are not in time.
    pub async fn asks(&self, remediation: &str, digest: &str) -> Result<String> {
        let wanted = format!("{remediation}/{digest}");
        eventually(&format!("Slack to ask about {wanted}"), Duration::from_secs(30), || async {
            Ok(self.about(remediation)?.button(APPROVE).filter(|value| *value == wanted))
        })
        .await
    }

    /// What only this person was told, once it says so.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn whispers(&self, user: &str, words: &str) -> Result<()> {
        eventually(&format!("{user} to be told {words:?}"), Duration::from_secs(30), || async {
            let told: Vec<String> =
                self.held().whispers.iter().filter(|it| it.user == user).map(|it| it.text.clone()).collect();
            if told.iter().any(|text| text.contains(words)) { Ok(Some(())) } else { bail!("told {told:#?}") }
        })
        .await
    }

    /// Sends a click to the gateway.
    ///
    /// # Errors
    /// No answer came.
    pub async fn send(&self, click: &Click) -> Result<Answer> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
        let request = client
            .post(&self.clicks)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("user-agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
            .header("x-slack-request-timestamp", click.at)
            .header("x-slack-signature", &click.signature);
        let answer = request.body(click.body.clone()).send().await?;
        Ok(Answer { status: answer.status().as_u16(), text: answer.text().await?.trim().to_owned() })
    }
}

async fn call(
    State(held): State<Arc<Mutex<Held>>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Json<Value> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    let said = headers.get("authorization").and_then(|value| value.to_str().ok());
    Json(if said == Some(format!("Bearer {TOKEN}").as_str()) {
        answer(&mut held, &method, body).unwrap_or_else(|code| json!({"ok": false, "error": code}))
    } else {
        json!({"ok": false, "error": "invalid_auth"})
    })
}

/// As Slack answers; what it refuses, by its error code.
fn answer(held: &mut Held, method: &str, body: Value) -> Result<Value, &'static str> {
    if body["channel"] != CHANNEL {
        return Err("channel_not_found");
    }
    let headline = body["text"].as_str().filter(|text| !text.is_empty()).ok_or("no_text")?.to_owned();
    let known = |ts: &Value| held.messages.iter().position(|message| Some(message.ts.as_str()) == ts.as_str());
    match method {
        "chat.postMessage" => {
            if !body["thread_ts"].is_null() && known(&body["thread_ts"]).is_none() {
                return Err("thread_not_found");
            }
            let ts = format!("1763694000.{:06}", held.messages.len() + 1);
            let thread = body["thread_ts"].as_str().map(ToOwned::to_owned);
            let answer = json!({"ok": true, "channel": CHANNEL, "ts": ts, "message": body});
            held.messages.push(Message { ts, thread, body, headlines: vec![headline] });
            Ok(answer)
        }
        "chat.update" => {
            let message = known(&body["ts"]).and_then(|at| held.messages.get_mut(at)).ok_or("message_not_found")?;
            message.headlines.push(headline);
            message.body = body;
            Ok(json!({"ok": true, "channel": CHANNEL, "ts": message.ts, "text": message.body["text"]}))
        }
        "chat.postEphemeral" => {
            let user = body["user"].as_str().ok_or("user_not_in_channel")?.to_owned();
            held.whispers.push(Whisper { user, text: headline });
            Ok(json!({"ok": true, "message_ts": "1763694000.999999"}))
        }
        _ => Err("unknown_method"),
    }
}

impl World {
    /// Has the gateway ask in Slack from its next start on. `users` are Slack's, with the Kubernetes user and group of each.
    ///
    /// # Errors
    /// No port is free, or a file can't be written.
    pub async fn with_slack(&self, users: &[(&str, &str, &str)]) -> Result<Slack> {
        let port = ports::free(1)?.first().copied().context("no port")?;
        let slack = Slack::start(format!("http://127.0.0.1:{port}/webhooks/slack")).await?;
        let file = |name: &str, content: String| -> Result<std::path::PathBuf> {
            let path = self.dir.path().join(name);
            std::fs::write(&path, content)?;
            Ok(path)
        };
        let users: serde_json::Map<String, Value> = users
            .iter()
            .map(|(id, user, group)| ((*id).to_owned(), json!({"user": user, "groups": [group]})))
            .collect();
        let mut configuration = self.read_configuration(Plane::Gateway)?;
        configuration["chat"] = json!({
            "listen": format!("127.0.0.1:{port}"),
            "slack": {
                "team": TEAM,
                "channel": CHANNEL,
                "api": slack.api,
                "botTokenFile": file("slack-bot-token", TOKEN.to_owned())?,
                "signingSecretFile": file("slack-signing-secret", SECRET.to_owned())?,
                "usersFile": file("slack-users.yaml", json!({"users": users}).to_string())?,
            },
        });
        self.write_configuration(Plane::Gateway, &configuration)?;
        Ok(slack)
    }
}
