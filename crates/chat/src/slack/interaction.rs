use serde::Deserialize;

/// `action_id` of the button that approves.
pub(super) const APPROVE: &str = "evenkeel_approve";
/// `action_id` of the button that denies.
pub(super) const DENY: &str = "evenkeel_deny";

/// What a button says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClickDecision {
    /// Yes, to this digest.
    Approve,
    /// No.
    Deny,
}

/// One click, as Slack tells it; every part has its form, none is believed further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Click {
    /// Which button.
    pub decision: ClickDecision,
    /// The Remediation's name, as the button carries it.
    pub remediation: String,
    /// What was to be approved, as the button carries it.
    pub digest: String,
    /// The Slack user.
    pub user: String,
    /// The Slack workspace the user belongs to; absent where Slack does not say.
    pub team: Option<String>,
    /// The channel the message is in.
    pub channel: String,
    /// Who the click was seen to be, so that it counts once: a key for the store.
    pub seen_as: String,
}

/// What a button carries: name and digest. `None` for what no Remediation and no digest looks like.
pub(super) fn value(remediation: &str, digest: &str) -> Option<String> {
    (is_name(remediation) && is_digest(digest)).then(|| format!("{remediation}/{digest}"))
}

fn is_name(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

fn is_digest(digest: &str) -> bool {
    digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// An id as Slack writes it: `U012AB3CD`.
pub(super) fn is_slack_id(id: &str) -> bool {
    (2..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// What a payload is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Interaction {
    /// A click on one of our buttons.
    Click(Box<Click>),
    /// Something of Slack's that is not for us.
    NotOurs,
}

/// A payload that is not what Slack's documentation says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(&'static str);

/// <https://docs.slack.dev/reference/interaction-payloads/block_actions-payload>, what is used of it.
#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    user: Option<User>,
    team: Option<Team>,
    container: Option<Container>,
    channel: Option<Channel>,
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    team_id: Option<String>,
}

#[derive(Deserialize)]
struct Team {
    id: String,
}

#[derive(Deserialize)]
struct Channel {
    id: String,
}

#[derive(Deserialize)]
struct Container {
    channel_id: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    action_id: String,
    value: Option<String>,
}

/// Reads the JSON of an interaction. `seen_as` is what makes this delivery itself.
pub(super) fn parse(json: &[u8], seen_as: String) -> Result<Interaction, Malformed> {
    let payload: Payload = serde_json::from_slice(json).map_err(|_| Malformed("no interaction payload"))?;
    if payload.kind != "block_actions" {
        return Ok(Interaction::NotOurs);
    }
    let ours = payload.actions.iter().find_map(|action| match action.action_id.as_str() {
        APPROVE => Some((ClickDecision::Approve, action)),
        DENY => Some((ClickDecision::Deny, action)),
        _ => None,
    });
    let Some((decision, action)) = ours else { return Ok(Interaction::NotOurs) };
    if payload.actions.len() != 1 {
        return Err(Malformed("more than one click"));
    }
    let carried = action.value.as_deref().and_then(|value| value.split_once('/'));
    let (remediation, digest) = carried
        .filter(|(name, digest)| is_name(name) && is_digest(digest))
        .ok_or(Malformed("a button that is none of ours"))?;
    let user = payload.user.filter(|user| is_slack_id(&user.id)).ok_or(Malformed("no user"))?;
    let channel = payload.container.and_then(|container| container.channel_id).or(payload.channel.map(|it| it.id));
    let channel = channel.filter(|channel| is_slack_id(channel)).ok_or(Malformed("no channel"))?;
    // A guest of a shared channel clicks in our workspace and belongs to another.
    let team = user.team_id.or(payload.team.map(|team| team.id));
    Ok(Interaction::Click(Box::new(Click {
        decision,
        remediation: remediation.to_owned(),
        digest: digest.to_owned(),
        user: user.id,
        team,
        channel,
        seen_as,
    })))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing::DIGEST;
    use serde_json::{Value, json};

    /// A click as Slack's documentation shows one.
    pub(in crate::slack) fn payload(user: &str, action_id: &str, value: &str) -> Value {
        json!({
            "type": "block_actions",
            "team": { "id": "T9TK3CUKW", "domain": "example" },
            "user": { "id": user, "username": "jtorrance", "name": "jtorrance", "team_id": "T9TK3CUKW" },
            "api_app_id": "AABA1ABCD",
            "token": "9s8d9as89d8as9d8as989",
            "container": {
                "type": "message", "message_ts": "1548261231.000200", "channel_id": "CBR2V3XEX", "is_ephemeral": false,
            },
            "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
            "channel": { "id": "CBR2V3XEX", "name": "review-updates" },
            "message": { "bot_id": "BAH5CA16Z", "type": "message", "text": "t", "user": "UAJ2RU415", "ts": "1548261231.000200" },
            "response_url": "https://hooks.slack.com/actions/AABA1ABCD/1232321423432/D09sSasdasdAS9091209",
            "actions": [{
                "action_id": action_id, "block_id": "=qXel", "text": { "type": "plain_text", "text": "View" },
                "value": value, "type": "button", "action_ts": "1548426417.840180",
            }],
        })
    }

    fn read(payload: &Value) -> Result<Interaction, Malformed> {
        parse(payload.to_string().as_bytes(), "click.1".to_owned())
    }

    #[test]
    fn a_click_is_read() {
        let payload = payload("U012AB3CD", APPROVE, &value("r-1", DIGEST).unwrap());
        let Ok(Interaction::Click(click)) = read(&payload) else { panic!("{:?}", read(&payload)) };
        assert_eq!((click.decision, click.remediation.as_str()), (ClickDecision::Approve, "r-1"));
        assert_eq!((click.user.as_str(), click.team.as_deref()), ("U012AB3CD", Some("T9TK3CUKW")));
        assert_eq!((click.digest.as_str(), click.channel.as_str()), (DIGEST, "CBR2V3XEX"));
    }

    #[test]
    fn what_is_not_ours_is_left_alone_and_what_is_malformed_is_refused() {
        let value = value("r-1", DIGEST).unwrap();
        assert_eq!(read(&payload("U1", "other_app", &value)), Ok(Interaction::NotOurs));
        assert_eq!(read(&json!({ "type": "view_submission" })), Ok(Interaction::NotOurs));
        for bad in ["", "r-1", "r-1/abc", "r-1/x/y", "R 1/", "../x/0"] {
            assert!(read(&payload("U1", DENY, bad)).is_err(), "{bad}");
        }
        assert!(read(&payload("jane", DENY, &value)).is_err(), "a name is no id");
        let mut two = payload("U1", DENY, &value);
        let again = two["actions"][0].clone();
        two["actions"].as_array_mut().unwrap().push(again);
        assert!(read(&two).is_err());
        assert!(parse(b"[[[[", String::new()).is_err());
        assert!(parse("[".repeat(100_000).as_bytes(), String::new()).is_err(), "depth is bounded");
    }

    #[test]
    fn what_no_remediation_looks_like_gets_no_button() {
        for (name, digest) in [("R-1", DIGEST), ("", DIGEST), ("r-1", "abc"), ("a/b", DIGEST), ("<!channel>", DIGEST)] {
            assert_eq!(value(name, digest), None, "{name}");
        }
    }
}
