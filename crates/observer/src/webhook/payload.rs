use std::borrow::Cow;

use chrono::{DateTime, Utc};
use evenkeel_model::SignalState;
use serde::Deserialize;

use super::refusal::Refusal;
use crate::alert::{Alert, Labels, Text, fingerprint};

/// What Alertmanager posts, as far as it is needed; it borrows from the body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(borrow)]
    version: Text<'a>,
    #[serde(default)]
    truncated_alerts: u64,
    #[serde(borrow)]
    alerts: Vec<Posted<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    status: Status,
    #[serde(borrow)]
    labels: Labels<'a>,
    #[serde(borrow, default)]
    annotations: Labels<'a>,
    starts_at: DateTime<Utc>,
    #[serde(default)]
    ends_at: Option<DateTime<Utc>>,
    #[serde(borrow, default)]
    fingerprint: Option<Text<'a>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

/// A body's alerts, and how many the Alertmanager left out.
#[derive(Debug)]
pub(crate) struct Notification<'a> {
    pub(crate) alerts: Vec<Alert<'a>>,
    pub(crate) truncated: u64,
}

/// Reads a body.
///
/// # Errors
/// [`Refusal::Malformed`] saying what was expected and where.
pub(crate) fn parse(body: &[u8], max_alerts: usize) -> Result<Notification<'_>, Refusal> {
    let payload: Payload<'_> =
        serde_json::from_slice(body).map_err(|error| Refusal::Malformed(reason(&error, body.len())))?;
    if payload.version.as_str() != "4" {
        return Err(Refusal::Malformed(format!("expected \"4\" in version, found {:?}", payload.version.as_str())));
    }
    if payload.alerts.len() > max_alerts {
        let found = payload.alerts.len();
        return Err(Refusal::Malformed(format!(
            "expected at most {max_alerts} alerts, found {found}; set max_alerts in the receiver or raise alertmanager.maxAlerts"
        )));
    }
    Ok(Notification { truncated: payload.truncated_alerts, alerts: payload.alerts.into_iter().map(alert).collect() })
}

fn reason(error: &serde_json::Error, length: usize) -> String {
    if length == 0 {
        return "the body is empty".to_owned();
    }
    // serde_json says what was expected and the line and column; what was found may be long.
    crate::alert::bounded(&error.to_string(), 512).into_owned()
}

fn alert(posted: Posted<'_>) -> Alert<'_> {
    let state = match posted.status {
        Status::Firing => SignalState::Firing,
        Status::Resolved => SignalState::Resolved,
    };
    let given = posted.fingerprint.filter(|given| is_fingerprint(given.as_str()));
    Alert {
        state,
        fingerprint: given.map_or_else(|| Cow::Owned(fingerprint(&posted.labels)), |given| given.0),
        labels: posted.labels,
        annotations: posted.annotations,
        starts_at: posted.starts_at,
        // Of a firing alert it is when it would end by itself, or the zero time.
        ends_at: posted.ends_at.filter(|_| state == SignalState::Resolved),
    }
}

fn is_fingerprint(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERT: &str = r#"{"status":"resolved","labels":{"alertname":"A","pod":"p"},"annotations":{"summary":"s"},
        "startsAt":"2026-03-01T10:00:00.123Z","endsAt":"2026-03-01T10:05:00Z","generatorURL":"http://p/g",
        "fingerprint":"507a62d79ee76c9a"}"#;

    fn body(alerts: &str) -> String {
        format!(
            r#"{{"version":"4","groupKey":"{{}}","truncatedAlerts":2,"status":"firing","receiver":"r","groupLabels":{{}},
            "commonLabels":{{}},"commonAnnotations":{{}},"externalURL":"http://a","alerts":[{alerts}]}}"#
        )
    }

    fn refused(body: &str) -> String {
        match parse(body.as_bytes(), 10) {
            Err(Refusal::Malformed(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn alerts_are_read() {
        let body = body(ALERT);
        let found = parse(body.as_bytes(), 10).unwrap();
        assert_eq!((found.truncated, found.alerts.len()), (2, 1));
        let alert = &found.alerts[0];
        assert_eq!((alert.name(), alert.state), ("A", SignalState::Resolved));
        assert!(matches!(alert.fingerprint, Cow::Borrowed("507a62d79ee76c9a")));
        assert_eq!(alert.ends_at.unwrap().to_rfc3339(), "2026-03-01T10:05:00+00:00");
    }

    #[test]
    fn a_missing_or_odd_fingerprint_is_computed() {
        for odd in [r#","fingerprint":"""#, r#","fingerprint":"../../x""#, "", r#","fingerprint":null"#] {
            let body = body(&format!(
                r#"{{"status":"firing","labels":{{"name":"garland, briggs","fear":"love is not enough"}},
                "startsAt":"2026-03-01T10:00:00Z","endsAt":"0001-01-01T00:00:00Z"{odd}}}"#
            ));
            let found = parse(body.as_bytes(), 10).unwrap();
            assert_eq!(found.alerts[0].fingerprint, "507a62d79ee76c9a", "{odd}");
            assert_eq!(found.alerts[0].ends_at, None);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert_eq!(refused(""), "the body is empty");
        assert_eq!(refused("{\"version\":\"4\",\"alerts\":["), "EOF while parsing a list at line 1 column 25");
        assert_eq!(refused("{\"hello\":\"world\"}"), "missing field `version` at line 1 column 17");
        assert_eq!(refused(r#"{"version":"3","alerts":[]}"#), r#"expected "4" in version, found "3""#);
        assert_eq!(
            refused(r#"{"version":4,"alerts":[]}"#),
            "invalid type: integer `4`, expected a string at line 1 column 12"
        );
        let bad =
            |from: &str, to: &str| refused(&format!(r#"{{"version":"4","alerts":[{}]}}"#, ALERT.replace(from, to)));
        assert_eq!(
            bad("resolved", "maybe"),
            "unknown variant `maybe`, expected `firing` or `resolved` at line 1 column 42"
        );
        assert!(
            bad(r#""p""#, "5").starts_with("invalid type: integer `5`, expected a string at line 1"),
            "{}",
            bad(r#""p""#, "5")
        );
        assert!(bad("2026-03-01T10:00:00.123Z", "yesterday").contains("at line 2 column"));
        let eleven = [ALERT; 11].join(",");
        assert!(refused(&body(&eleven)).starts_with("expected at most 10 alerts, found 11"));
    }
}
