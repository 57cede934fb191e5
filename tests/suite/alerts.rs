//! Alerts as an Alertmanager posts them.

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::world::TOKEN;

/// A webhook body with one firing alert of these labels.
pub fn firing(labels: Value, starts_at: DateTime<Utc>) -> Value {
    let alert = json!({
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": "made by a test"},
        "startsAt": starts_at.to_rfc3339(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.test/graph",
        "fingerprint": "",
    });
    body(vec![alert])
}

/// A webhook body around alerts.
pub fn body(alerts: Vec<Value>) -> Value {
    json!({
        "version": "4",
        "groupKey": "{}:{alertname=\"Test\"}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "evenkeel",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.test",
        "alerts": alerts,
    })
}

/// How a post was answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub text: String,
    /// The Retry-After header.
    pub retry_after: Option<String>,
}

/// Posts a body with the bearer token.
///
/// # Errors
/// No answer came.
pub async fn post(
    client: &reqwest::Client,
    webhook: &str,
    body: impl Into<reqwest::Body>,
    encoding: Option<&str>,
) -> Result<Answer> {
    let mut request = client
        .post(format!("{webhook}/webhooks/alertmanager"))
        .bearer_auth(TOKEN)
        .header("content-type", "application/json")
        .body(body);
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    let answer = request.send().await?;
    let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    Ok(Answer { status: answer.status().as_u16(), text: answer.text().await?, retry_after })
}

/// A client for [`post`].
///
/// # Errors
/// It can't be built.
pub fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(20)).build()?)
}
