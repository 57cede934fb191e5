//! Slack's documented limits, checked before a message leaves: Slack refuses the whole message
//! with `invalid_blocks` and says little about why.
//!
//! Sources: docs.slack.dev/reference/block-kit/blocks (50 blocks in a message; header 150; section
//! text 3000; context 10 elements; actions 25 elements; `block_id` 255),
//! …/block-elements/button-element (label 75, `value` 2000, `action_id` 255, `url` 3000),
//! …/composition-objects/confirmation-dialog-object (title 100, text 300, labels 30),
//! …/composition-objects/text-object (1 to 3000), docs.slack.dev/reference/methods/chat.postMessage
//! (`text` is cut at 40000 characters; 4000 are recommended).

use std::collections::BTreeSet;

use serde_json::Value;

use super::blocks::Message;
use super::text::length;

/// Blocks in a message.
pub const BLOCKS: usize = 50;
/// Text of a section, and of any text object.
pub const TEXT: usize = 3000;
/// Text of a header.
pub const HEADER: usize = 150;
/// A button's label.
pub const LABEL: usize = 75;
/// A button's value.
pub const VALUE: usize = 2000;
/// `block_id` and `action_id`.
pub const ID: usize = 255;
/// What notifications show: what Slack recommends, far below where it cuts.
pub const FALLBACK: usize = 4000;

const ACTIONS: usize = 25;
const CONTEXT: usize = 10;
const URL: usize = 3000;
const CONFIRM_TITLE: usize = 100;
const CONFIRM_TEXT: usize = 300;
const CONFIRM_LABEL: usize = 30;

/// What Slack would refuse about a message, a line each, with where it is. Empty: nothing.
pub fn problems(message: &Message) -> Vec<String> {
    match serde_json::to_value(message) {
        Ok(value) => check(&value),
        Err(error) => vec![format!("the message can't be written: {error}")],
    }
}

/// The same of a message as JSON: `{"text": …, "blocks": […]}`. What is not known here is a problem.
pub fn check(message: &Value) -> Vec<String> {
    let mut found = Found::default();
    match message.get("text").and_then(Value::as_str) {
        Some(text) => found.bounded("text", text, 1, FALLBACK),
        None => found.say("text", "expected text, found none"),
    }
    let Some(blocks) = message.get("blocks").and_then(Value::as_array) else {
        found.say("blocks", "expected a list");
        return found.lines;
    };
    if blocks.is_empty() || blocks.len() > BLOCKS {
        found.say("blocks", &format!("expected 1 to {BLOCKS}, found {}", blocks.len()));
    }
    let mut block_ids = BTreeSet::new();
    for (i, block) in blocks.iter().enumerate() {
        found.block(&format!("blocks[{i}]"), block);
        if let Some(id) = block.get("block_id").and_then(Value::as_str)
            && !block_ids.insert(id)
        {
            found.say(&format!("blocks[{i}].block_id"), "expected one of its own in the message");
        }
    }
    found.lines
}

#[derive(Default)]
struct Found {
    lines: Vec<String>,
}

impl Found {
    fn say(&mut self, at: &str, what: &str) {
        self.lines.push(format!("{at}: {what}"));
    }

    fn bounded(&mut self, at: &str, text: &str, least: usize, most: usize) {
        let found = length(text);
        if !(least..=most).contains(&found) {
            self.say(at, &format!("expected {least} to {most} characters, found {found}"));
        }
    }

    fn optional(&mut self, at: &str, of: &Value, key: &str, most: usize) {
        match of.get(key) {
            None => {}
            Some(Value::String(text)) => self.bounded(&format!("{at}.{key}"), text, 1, most),
            Some(_) => self.say(&format!("{at}.{key}"), "expected text"),
        }
    }

    fn block(&mut self, at: &str, block: &Value) {
        self.optional(at, block, "block_id", ID);
        match block.get("type").and_then(Value::as_str) {
            Some("header") => self.text(&format!("{at}.text"), block.get("text"), HEADER, true),
            Some("section") => self.text(&format!("{at}.text"), block.get("text"), TEXT, false),
            Some("context") => {
                self.each(at, block, CONTEXT, |found, at, element| found.text(at, Some(element), TEXT, false));
            }
            Some("actions") => {
                let mut ids = BTreeSet::new();
                self.each(at, block, ACTIONS, |found, at, element| {
                    found.button(at, element);
                    if !ids.insert(element.get("action_id").and_then(Value::as_str).map(str::to_owned)) {
                        found.say(at, "expected an action_id of its own in the block");
                    }
                });
            }
            other => self.say(at, &format!("expected a block that is used here, found {other:?}")),
        }
    }

    fn each(&mut self, at: &str, block: &Value, most: usize, mut check: impl FnMut(&mut Self, &str, &Value)) {
        let elements = block.get("elements").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if elements.is_empty() || elements.len() > most {
            self.say(at, &format!("expected 1 to {most} elements, found {}", elements.len()));
        }
        for (i, element) in elements.iter().enumerate() {
            check(self, &format!("{at}.elements[{i}]"), element);
        }
    }

    fn text(&mut self, at: &str, object: Option<&Value>, most: usize, only_plain: bool) {
        let kind = object.and_then(|object| object.get("type")).and_then(Value::as_str);
        match kind {
            Some("plain_text") => {}
            Some("mrkdwn") if !only_plain => {}
            other => self.say(at, &format!("expected a text object, found {other:?}")),
        }
        match object.and_then(|object| object.get("text")).and_then(Value::as_str) {
            Some(text) => self.bounded(at, text, 1, most),
            None => self.say(at, "expected text, found none"),
        }
    }

    fn button(&mut self, at: &str, button: &Value) {
        if button.get("type").and_then(Value::as_str) != Some("button") {
            self.say(at, "expected a button");
        }
        self.text(&format!("{at}.text"), button.get("text"), LABEL, true);
        self.optional(at, button, "action_id", ID);
        self.optional(at, button, "value", VALUE);
        self.optional(at, button, "url", URL);
        if let Some(style) = button.get("style")
            && !matches!(style.as_str(), Some("primary" | "danger"))
        {
            self.say(&format!("{at}.style"), "expected primary or danger");
        }
        if let Some(confirm) = button.get("confirm") {
            for (key, most) in
                [("title", CONFIRM_TITLE), ("text", CONFIRM_TEXT), ("confirm", CONFIRM_LABEL), ("deny", CONFIRM_LABEL)]
            {
                self.text(&format!("{at}.confirm.{key}"), confirm.get(key), most, key != "text");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(block: &Value) -> Vec<String> {
        check(&json!({ "text": "t", "blocks": [block] }))
    }

    fn plain(n: usize) -> Value {
        json!({ "type": "plain_text", "text": "x".repeat(n) })
    }

    fn button(text: usize, value: usize, id: usize) -> Value {
        let button =
            json!({ "type": "button", "text": plain(text), "value": "v".repeat(value), "action_id": "a".repeat(id) });
        json!({ "type": "actions", "elements": [button] })
    }

    #[test]
    fn what_is_at_a_limit_passes_and_one_more_does_not() {
        let actions = |n: usize| {
            let elements: Vec<Value> =
                (0..n).map(|i| json!({ "type": "button", "text": plain(1), "action_id": i.to_string() })).collect();
            json!({ "type": "actions", "elements": elements })
        };
        let context = |n: usize| json!({ "type": "context", "elements": vec![plain(1); n] });
        let confirm = |title: usize, text: usize, label: usize| {
            let confirm =
                json!({ "title": plain(title), "text": plain(text), "confirm": plain(label), "deny": plain(label) });
            json!({ "type": "actions", "elements": [{ "type": "button", "text": plain(1), "confirm": confirm }] })
        };
        let section = |n: usize| json!({ "type": "section", "text": plain(n) });
        for (fits, does_not) in [
            (json!({ "type": "header", "text": plain(150) }), json!({ "type": "header", "text": plain(151) })),
            (section(3000), section(3001)),
            (section(1), section(0)),
            (button(75, 1, 1), button(76, 1, 1)),
            (button(1, 2000, 1), button(1, 2001, 1)),
            (button(1, 1, 255), button(1, 1, 256)),
            (actions(25), actions(26)),
            (context(10), context(11)),
            (confirm(100, 300, 30), confirm(101, 300, 30)),
            (confirm(100, 300, 30), confirm(100, 301, 30)),
            (confirm(100, 300, 30), confirm(100, 300, 31)),
            (
                json!({ "type": "section", "block_id": "b".repeat(255), "text": plain(1) }),
                json!({ "type": "section", "block_id": "b".repeat(256), "text": plain(1) }),
            ),
        ] {
            assert_eq!(with(&fits), [""; 0], "{fits}");
            assert_eq!(with(&does_not).len(), if does_not == confirm(100, 300, 31) { 2 } else { 1 }, "{does_not}");
        }
        let many = |n: usize| check(&json!({ "text": "t", "blocks": vec![section(1); n] }));
        assert!(many(50).is_empty());
        assert_eq!(many(51), ["blocks: expected 1 to 50, found 51"]);
    }

    #[test]
    fn what_is_no_message_is_a_problem() {
        assert_eq!(check(&json!({})).len(), 2);
        assert_eq!(with(&json!({ "type": "table" })).len(), 1);
        assert_eq!(with(&json!({ "type": "header", "text": { "type": "mrkdwn", "text": "x" } })).len(), 1);
        let twice = json!({ "type": "section", "block_id": "b", "text": plain(1) });
        assert_eq!(check(&json!({ "text": "t", "blocks": [twice, twice] })).len(), 1);
    }

    #[test]
    fn characters_beyond_the_basic_plane_count_twice() {
        assert_eq!(
            with(&json!({ "type": "header", "text": { "type": "plain_text", "text": "😀".repeat(76) } })).len(),
            1
        );
    }
}
