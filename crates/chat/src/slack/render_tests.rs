use evenkeel_model::{Phase, Spoken, Tier};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::slack::limits;
use crate::story::{Found, Voice};
use crate::testing::{DIGEST, approved_by, at, story, story_in};

#[test]
fn awaiting_approval() {
    insta::assert_json_snapshot!(render(&story()));
}

#[test]
fn approved_by_whom() {
    let story = Story {
        voices: vec![approved_by("jane@example.com")],
        ..story_in(Phase::Authorized, "approved by jane@example.com")
    };
    insta::assert_json_snapshot!([render(&story), thread_line(&story)]);
}

#[test]
fn executing() {
    let story =
        Story { voices: vec![approved_by("jane@example.com")], ..story_in(Phase::Executing, "sent to the API server") };
    insta::assert_json_snapshot!(render(&story));
}

#[test]
fn helped_undone_and_expired() {
    let shown = [
        story_in(Phase::Succeeded, "deployment/shop/cart is well for 3m"),
        story_in(Phase::RolledBack, "target.well is false after 10m; undone"),
        story_in(Phase::Expired, "nobody approved in time"),
    ]
    .map(|story| {
        let message = render(&story);
        (message.text, message.blocks[0].clone(), message.blocks[2].clone(), thread_line(&story))
    });
    insta::assert_json_snapshot!(shown);
}

#[test]
fn there_are_buttons_while_people_are_asked_and_at_no_other_time() {
    for phase in Phase::ALL {
        let message = render(&story_in(phase, "why"));
        let buttons = message.blocks.iter().filter(|block| matches!(block, Block::Actions { .. })).count();
        assert_eq!(buttons, usize::from(phase == Phase::AwaitingApproval), "{phase}");
    }
    let without = Story { digest: None, ..story() };
    assert!(!render(&without).blocks.iter().any(|block| matches!(block, Block::Actions { .. })), "nothing to approve");
}

#[test]
fn a_button_carries_the_remediation_and_the_digest() {
    let message = serde_json::to_value(render(&story())).unwrap();
    let actions = message["blocks"].as_array().unwrap().iter().find(|block| block["type"] == "actions").unwrap();
    for button in actions["elements"].as_array().unwrap() {
        assert_eq!(button["value"], format!("r-0123456789abcdef0123/{DIGEST}"));
    }
}

#[test]
fn a_change_that_does_not_fit_says_so() {
    let changes = (0..400).map(|i| format!("spec.x[{i}]: {} → {}", "a".repeat(40), "b".repeat(40))).collect();
    let message = render(&Story { changes, ..story() });
    assert_eq!(limits::problems(&message), [""; 0]);
    let text = serde_json::to_string(&message).unwrap();
    assert!(text.contains("The change is longer than fits here"), "{text}");
    let fits = serde_json::to_string(&render(&story())).unwrap();
    assert!(!fits.contains("longer than fits"));
}

/// Every string in a message that Slack reads as mrkdwn, and whether `<…>` in it is ours.
fn no_foreign_markup(value: &Value) -> Result<(), TestCaseError> {
    match value {
        Value::Object(map) => {
            if value["type"] == "mrkdwn" {
                let text = value["text"].as_str().unwrap();
                let fences = text.matches("```").count();
                prop_assert!(fences == 0 || fences == 2, "{text:?}");
                prop_assert_eq!(text.matches('`').count() % 2, 0, "{:?}", text);
            }
            for (key, value) in map {
                // What is sent back is not shown.
                if key != "value" {
                    no_foreign_markup(value)?;
                }
            }
        }
        Value::Array(items) => items.iter().try_for_each(no_foreign_markup)?,
        Value::String(text) => {
            for (at, _) in text.match_indices('<') {
                prop_assert!(text[at..].starts_with("<!date^"), "{text:?}");
            }
        }
        _ => {}
    }
    Ok(())
}

/// Text as an attacker would write it into names and annotations.
fn hostile() -> impl Strategy<Value = String> {
    let bait = prop::sample::select(vec![
        "<!channel>",
        "<!here|x>",
        "<@U012AB3CD>",
        "<#C012>",
        "<https://evil.example|Approve>",
        "```",
        "`",
        "*Approved*",
        "_x_",
        "~x~",
        "&lt;!channel&gt;",
        "\u{202E}",
        "\n",
        "\r\n",
        "\t",
        "😀",
        "<!date^0^{date}|x>",
        " → ",
        ": ",
        "\u{0}",
    ]);
    prop_oneof![
        prop::collection::vec(prop_oneof![bait.prop_map(str::to_owned), ".{0,40}"], 0..12)
            .prop_map(|parts| parts.concat()),
        (0_usize..9000, "[<&>`a😀]").prop_map(|(n, text)| text.repeat(n)),
    ]
}

fn hostile_story() -> impl Strategy<Value = Story> {
    let texts = || prop::collection::vec(hostile(), 0..30);
    let phase = prop::sample::select(Phase::ALL.to_vec());
    let parts = (hostile(), hostile(), hostile(), texts(), texts(), texts(), texts());
    (parts, phase, any::<u32>(), prop::option::of(Just(DIGEST.to_owned()))).prop_map(
        |((title, prose, name, many, changes, rules, people), phase, approvers, digest)| Story {
            remediation: name.clone(),
            digest,
            cluster: name.clone(),
            title: title.clone(),
            target: title,
            action: name.clone(),
            playbook: name.clone(),
            step: name,
            summary: prose.clone(),
            signals: many.clone(),
            rationale: prose.clone(),
            evidence: many.iter().map(|text| Found { name: text.clone(), value: text.clone() }).collect(),
            changes,
            blast_radius: many,
            rules: rules.iter().map(|text| Spoken { policy: text.clone(), said: text.clone() }).collect(),
            tier: Some(Tier::High),
            approvers,
            expires_at: at(59),
            voices: people.into_iter().map(|person| Voice { person, approved: true, at: at(3) }).collect(),
            phase,
            reason: prose,
            at: at(2),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_a_cluster_holds_slack_takes_the_message_and_reads_nothing_into_it(story in hostile_story()) {
        for message in [render(&story), thread_line(&story)] {
            prop_assert_eq!(limits::problems(&message), Vec::<String>::new());
            let value = serde_json::to_value(&message).unwrap();
            no_foreign_markup(&value)?;
            prop_assert!(value.to_string().len() < 256 * 1024);
        }
    }
}
