use evenkeel_model::Phase;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{approved_by, story, story_in};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// PagerDuty's documentation as a schema: the OpenAPI document in github.com/PagerDuty/api-schema,
/// reference/events-v2/openapiv3.json, and the lengths of developer.pagerduty.com/docs/events-api-v2/trigger-events
/// (summary 1024 characters, routing key 32, dedup_key 255). Closed, so that a misspelt field is found.
fn pager_duty_schema() -> Value {
    let text = json!({ "type": "string", "minLength": 1 });
    json!({
        "type": "object",
        "required": ["routing_key", "event_action", "dedup_key", "payload"],
        "additionalProperties": false,
        "properties": {
            "routing_key": { "type": "string", "minLength": 32, "maxLength": 32 },
            "event_action": { "enum": ["trigger", "acknowledge", "resolve"] },
            "dedup_key": { "type": "string", "minLength": 1, "maxLength": 255 },
            "client": text,
            "client_url": text,
            "links": { "type": "array" },
            "images": { "type": "array" },
            "payload": {
                "type": "object",
                "required": ["summary", "severity", "source"],
                "additionalProperties": false,
                "properties": {
                    "summary": { "type": "string", "minLength": 1, "maxLength": 1024 },
                    "timestamp": { "type": "string", "format": "date-time" },
                    "severity": { "enum": ["critical", "warning", "error", "info"] },
                    "source": text,
                    "component": text,
                    "group": text,
                    "class": text,
                    "custom_details": { "type": "object" },
                },
            },
        },
    })
}

/// A message with one Adaptive Card 1.4, of the elements that are used here: adaptivecards.io/explorer and
/// learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using.
fn teams_schema() -> Value {
    let run = json!({
        "type": "object", "required": ["type", "text"], "additionalProperties": false,
        "properties": {
            "type": { "const": "TextRun" },
            "text": { "type": "string" },
            "weight": { "enum": ["Default", "Lighter", "Bolder"] },
            "size": { "enum": ["Default", "Small", "Medium", "Large", "ExtraLarge"] },
            "fontType": { "enum": ["Default", "Monospace"] },
        },
    });
    let spacing = json!({ "enum": ["Default", "None", "Small", "Medium", "Large", "ExtraLarge", "Padding"] });
    let rich = json!({
        "type": "object", "required": ["type", "inlines"], "additionalProperties": false,
        "properties": {
            "type": { "const": "RichTextBlock" },
            "inlines": { "type": "array", "minItems": 1, "items": run },
            "spacing": spacing,
        },
    });
    let block = json!({
        "type": "object", "required": ["type", "text"], "additionalProperties": false,
        "properties": {
            "type": { "const": "TextBlock" },
            "text": { "type": "string" },
            "wrap": { "type": "boolean" },
            "spacing": spacing,
        },
    });
    let card = json!({
        "type": "object", "required": ["type", "version", "body"], "additionalProperties": false,
        "properties": {
            "$schema": { "const": "http://adaptivecards.io/schemas/adaptive-card.json" },
            "type": { "const": "AdaptiveCard" },
            "version": { "const": "1.4" },
            "fallbackText": { "type": "string" },
            "body": { "type": "array", "minItems": 1, "items": { "anyOf": [rich, block] } },
        },
    });
    let attachment = json!({
        "type": "object", "required": ["contentType", "content"], "additionalProperties": false,
        "properties": {
            "contentType": { "const": "application/vnd.microsoft.card.adaptive" },
            "contentUrl": { "const": null },
            "content": card,
        },
    });
    json!({
        "type": "object", "required": ["type", "attachments"], "additionalProperties": false,
        "properties": {
            "type": { "const": "message" },
            "attachments": { "type": "array", "minItems": 1, "maxItems": 1, "items": attachment },
        },
    })
}

/// What of a value a schema refuses. Knows the keywords that are used above, and refuses others.
fn refused(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    let count = |value: &Value| value.as_u64().unwrap() as usize;
    for (keyword, wanted) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "type" => match wanted.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                other => panic!("type {other}"),
            },
            "enum" => wanted.as_array().unwrap().contains(value),
            "const" => wanted == value,
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() >= count(wanted)),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() <= count(wanted)),
            "minItems" => value.as_array().is_none_or(|items| items.len() >= count(wanted)),
            "maxItems" => value.as_array().is_none_or(|items| items.len() <= count(wanted)),
            "format" => {
                assert_eq!(wanted, "date-time");
                value.as_str().is_none_or(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok())
            }
            "required" => wanted.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
            "additionalProperties" => {
                assert_eq!(wanted, false);
                let known = schema["properties"].as_object().unwrap();
                value.as_object().is_none_or(|map| map.keys().all(|key| known.contains_key(key)))
            }
            "properties" => {
                for (name, schema) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        found.extend(refused(schema, value, &format!("{at}/{name}")));
                    }
                }
                true
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(refused(wanted, item, &format!("{at}/{i}")));
                }
                true
            }
            "anyOf" => wanted.as_array().unwrap().iter().any(|schema| refused(schema, value, at).is_empty()),
            other => panic!("keyword {other}"),
        };
        if !holds {
            found.push(format!("{at}: {keyword} {wanted}, found {value}"));
        }
    }
    found
}

fn rendered(which: BuiltIn, story: &Story) -> Value {
    serde_json::from_str(&Template::built_in(which).unwrap().render(story, KEY).unwrap()).unwrap()
}

#[test]
fn pager_duty() {
    let voices = vec![approved_by("jane@example.com")];
    let course = [story(), Story { voices, ..story_in(Phase::Executing, "sent") }, story_in(Phase::Succeeded, "well")];
    let events = course.map(|story| rendered(BuiltIn::PagerDuty, &story));
    assert_eq!(
        events.each_ref().map(|event| event["event_action"].as_str().unwrap()),
        ["trigger", "acknowledge", "resolve"]
    );
    assert!(events.iter().all(|event| event["dedup_key"] == events[0]["dedup_key"]), "one alert");
    insta::assert_json_snapshot!(events[0]);
}

#[test]
fn teams() {
    insta::assert_json_snapshot!(rendered(BuiltIn::Teams, &story()));
}

#[test]
fn plain_json() {
    insta::assert_json_snapshot!(rendered(BuiltIn::Json, &story()));
}

#[test]
fn each_stage_is_what_the_receivers_document() {
    for phase in Phase::ALL {
        let story = story_in(phase, "why");
        assert_eq!(refused(&pager_duty_schema(), &rendered(BuiltIn::PagerDuty, &story), ""), [""; 0], "{phase}");
        assert_eq!(refused(&teams_schema(), &rendered(BuiltIn::Teams, &story), ""), [""; 0], "{phase}");
    }
}

#[test]
fn the_schemas_refuse_what_is_wrong() {
    let good = rendered(BuiltIn::PagerDuty, &story());
    for (pointer, bad) in [
        ("/event_action", json!("open")),
        ("/routing_key", json!("short")),
        ("/payload/severity", json!("Critical")),
        ("/payload/summary", json!("x".repeat(1025))),
        ("/payload/timestamp", json!("today")),
        ("/payload", json!({ "summary": "x" })),
    ] {
        let mut event = good.clone();
        *event.pointer_mut(pointer).unwrap() = bad;
        assert!(!refused(&pager_duty_schema(), &event, "").is_empty(), "{pointer}");
    }
    let good = rendered(BuiltIn::Teams, &story());
    for (pointer, bad) in [
        ("/attachments/0/content/version", json!("9.9")),
        ("/attachments/0/content/body/0/type", json!("Input.Text")),
        ("/attachments/0/content/body/0/inlines/0/weight", json!("bold")),
        ("/attachments", json!([])),
    ] {
        let mut message = good.clone();
        *message.pointer_mut(pointer).unwrap() = bad;
        assert!(!refused(&teams_schema(), &message, "").is_empty(), "{pointer}");
    }
}

#[test]
fn a_template_of_ones_own_is_tried_out_when_it_is_read() {
    let template =
        Template::new(r#"{"text": "{{title}}", "all": {{json signals}}, "short": "{{cut reason 3}}"}"#).unwrap();
    let made: Value = serde_json::from_str(&template.render(&story(), "").unwrap()).unwrap();
    assert_eq!(made["text"], story().title);
    assert_eq!(made["short"], "a …");
    for (bad, says) in [
        (r#"{"text": "{{titel}}"}"#, "titel"),
        (r#"{"text": "{{title}"}"#, ""),
        ("{{title}}", "no JSON"),
        (r#"{"text": {{cut title 5}}}"#, "no JSON"),
        (r#"{"text": "{{{title}}}"}"#, "no JSON"),
        (r#"{"text": {{json titel}}}"#, ""),
        (r#"{{> other}}"#, ""),
    ] {
        let error = Template::new(bad).unwrap_err().to_string();
        assert!(error.contains(says), "{bad}: {error}");
    }
    assert!(Template::new(&" ".repeat(70_000)).unwrap_err().to_string().contains("at most"));
}

fn hostile() -> impl Strategy<Value = String> {
    let bait = prop::sample::select(vec![
        "\"",
        "\\",
        "\",\"event_action\":\"resolve\",\"x\":\"",
        "{{key}}",
        "</at>",
        "[x](https://evil.example)",
        "\n",
        "\u{0}",
        "😀",
        "\u{2028}",
    ]);
    prop_oneof![
        prop::collection::vec(prop_oneof![bait.prop_map(str::to_owned), ".{0,40}"], 0..12)
            .prop_map(|parts| parts.concat()),
        (0_usize..5000, "[\"\\\\<a😀]").prop_map(|(n, text)| text.repeat(n)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_a_cluster_holds_the_body_is_what_the_receivers_document(
        text in hostile(),
        many in prop::collection::vec(hostile(), 0..30),
        phase in prop::sample::select(Phase::ALL.to_vec()),
    ) {
        let rules = many.iter().map(|text| evenkeel_model::Spoken { policy: text.clone(), said: text.clone() }).collect();
        let evidence = many.iter().map(|text| crate::story::Found { name: text.clone(), value: text.clone() }).collect();
        let story = Story {
            title: text.clone(),
            target: format!("x{text}"),
            playbook: format!("x{text}"),
            rationale: text.clone(),
            reason: text.clone(),
            signals: many.clone(),
            changes: many.clone(),
            blast_radius: many,
            rules,
            evidence,
            phase,
            ..story()
        };
        let event = rendered(BuiltIn::PagerDuty, &story);
        prop_assert_eq!(refused(&pager_duty_schema(), &event, ""), Vec::<String>::new());
        prop_assert_eq!(&event["event_action"], story.stage().event_action());
        let card = rendered(BuiltIn::Teams, &story);
        prop_assert_eq!(refused(&teams_schema(), &card, ""), Vec::<String>::new());
        prop_assert!(!card.to_string().contains(KEY));
        rendered(BuiltIn::Json, &story);
    }
}
