//! What is recorded: one canonical line of JSON a record, without secrets.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use evenkeel_model::{ActionName, ObjectRef, Phase};
use evenkeel_runtime::redact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::layout::MAX_RECORD_BYTES;

/// The version of records this writes.
pub const RECORD_VERSION: u32 = 1;
/// What is put in the place of a secret.
const MARK: &str = "[redacted]";
/// kubectl's copy of a whole object as text: it may hold anything, and what matters is there besides.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The longest reason, in characters.
const MAX_REASON: usize = 4096;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A proposal was accepted; `detail` is the whole of it.
    Proposal,
    /// A proposal was refused before it became a Remediation; `detail` is the whole of it.
    Refusal,
    /// A Remediation entered a phase; `detail` is what it rests on: verdict, claim, plan or verification.
    Phase,
    /// The API server was asked whether it would take the request.
    DryRun,
    /// A request that may have changed the cluster was answered, or not.
    Request,
    /// How it ended, as it was told.
    Outcome,
    /// What a person said: an answer that counts or does not, a request with its answer, a freeze that began or ended.
    Person,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The same record told again has the same id.
    pub id: String,
    /// When it happened, by the gateway's clock.
    pub at: DateTime<Utc>,
    /// The cluster's name.
    pub cluster: String,
    /// What it is about.
    pub kind: Kind,
    /// The Remediation's name, also of a proposal that never became one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<String>,
    /// The incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// The action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionName>,
    /// The object acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ObjectRef>,
    /// The phase entered or ended in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Who: the person, for [`Kind::Person`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, or what came of it, in a line.
    pub reason: String,
    /// What belongs to it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
    /// In place of a detail that would be too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// A detail too large to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeftOut {
    /// SHA-256 over its canonical JSON after redaction, hexadecimal.
    pub digest: String,
    /// Its size, bytes.
    pub bytes: usize,
}

impl Record {
    /// A record with nothing but what each has.
    pub fn new(id: String, at: DateTime<Utc>, cluster: &str, kind: Kind, reason: impl Into<String>) -> Self {
        Self {
            version: RECORD_VERSION,
            id,
            at,
            cluster: cluster.to_owned(),
            kind,
            remediation: None,
            incident: None,
            action: None,
            target: None,
            phase: None,
            by: None,
            reason: reason.into(),
            detail: Value::Null,
            left_out: None,
        }
    }

    /// The bytes that are hashed: JSON with sorted keys and no white space, secrets removed, at most
    /// 64 KiB.
    ///
    /// # Errors
    /// When it can't be written as JSON, or is too large even without its detail.
    pub fn encode(mut self) -> Result<Bytes, EncodeError> {
        self.reason = redact::text(&self.reason).chars().take(MAX_REASON).collect();
        redact_value(&mut self.detail);
        let bytes = canonical(&self)?;
        if bytes.len() <= MAX_RECORD_BYTES {
            return Ok(bytes.into());
        }
        let detail = std::mem::take(&mut self.detail);
        self.left_out =
            Some(LeftOut { digest: evenkeel_model::digest(&detail)?, bytes: serde_json::to_vec(&detail)?.len() });
        let bytes = canonical(&self)?;
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(EncodeError::TooLarge(bytes.len()));
        }
        Ok(bytes.into())
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When it is none this version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// Why a record can't be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Not JSON.
    #[error("a record can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Too large.
    #[error("a record has {0} bytes without its detail, more than {MAX_RECORD_BYTES}")]
    TooLarge(usize),
}

/// serde_json's maps are sorted, so going through a value is what sorts the keys.
fn canonical(record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&serde_json::to_value(record)?)
}

/// Whether redaction takes what is called so for a secret.
fn speaks_of_secrets(name: &str) -> bool {
    redact::text(&format!("{name}=0")).ends_with(MARK)
}

fn redact_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = redact::text(text),
        Value::Array(items) => items.iter_mut().for_each(redact_value),
        Value::Object(fields) => redact_fields(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn redact_fields(fields: &mut Map<String, Value>) {
    // An environment variable: its name stands beside its value.
    let secret = fields.get("name").and_then(Value::as_str).is_some_and(speaks_of_secrets);
    for (name, value) in fields.iter_mut() {
        let literal = value.is_string() || value.is_number();
        if name == LAST_APPLIED || (literal && (speaks_of_secrets(name) || (secret && name == "value"))) {
            *value = Value::String(MARK.to_owned());
        } else {
            redact_value(value);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn record(n: u64) -> Record {
        let at = DateTime::from_timestamp(1_800_000_000 + n as i64, 0).unwrap();
        let mut record = Record::new(format!("r-{n}/Verifying"), at, "prod", Kind::Phase, format!("done: {n}"));
        record.remediation = Some(format!("r-{n}"));
        record.phase = Some(Phase::Verifying);
        record
    }

    #[test]
    fn the_encoding_is_canonical() {
        let mut record = record(1);
        record.detail = json!({"b": 1, "a": {"d": [], "c": null}});
        assert_eq!(
            record.clone().encode().unwrap(),
            concat!(
                r#"{"at":"2027-01-15T08:00:01Z","cluster":"prod","detail":{"a":{"c":null,"d":[]},"b":1},"#,
                r#""id":"r-1/Verifying","kind":"Phase","phase":"Verifying","reason":"done: 1","remediation":"r-1","#,
                r#""version":1}"#
            )
        );
        let again = Record::decode(&record.clone().encode().unwrap()).unwrap();
        assert_eq!(again, record);
        assert_eq!(again.encode().unwrap(), record.encode().unwrap());
    }

    #[test]
    fn no_secret_gets_into_a_record() {
        let mut record = record(1);
        record.reason =
            "nothing was written: GET https://bob:hunter2@db failed, Authorization: Bearer hunter2hunter2".into();
        record.detail = json!({"request": {"body": [
            {"op": "replace", "path": "/spec/template", "value": {"spec": {"containers": [{
                "env": [
                    {"name": "DB_PASSWORD", "value": "hunter2"},
                    {"name": "PLAIN", "value": "kept"},
                    {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "db", "key": "kept-too"}}},
                ],
                "args": ["--token", "--password=hunter2"],
            }]}}},
            {"op": "add", "path": "/metadata/annotations", "value": {
                (LAST_APPLIED): r#"{"env":[{"name":"DB_PASSWORD","value":"hunter2"}]}"#,
                "clientSecret": "hunter2",
            }},
        ]}});
        let text = String::from_utf8(record.encode().unwrap().to_vec()).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("kept") && text.contains("kept-too") && text.contains("DB_PASSWORD"), "{text}");
    }

    #[test]
    fn what_is_too_large_is_left_out_and_said() {
        let mut record = record(1);
        record.detail = json!({"captured": "x".repeat(MAX_RECORD_BYTES)});
        let bytes = record.encode().unwrap();
        assert!(bytes.len() < 1024);
        let left_out = Record::decode(&bytes).unwrap().left_out.unwrap();
        assert_eq!(left_out.bytes, MAX_RECORD_BYTES + r#"{"captured":""}"#.len());
    }
}
