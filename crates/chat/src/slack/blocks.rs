use serde::Serialize;

/// A message as `chat.postMessage` and `chat.update` take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// What notifications show.
    pub text: String,
    /// What the message shows.
    pub blocks: Vec<Block>,
}

/// The blocks that are used here (docs.slack.dev/reference/block-kit/blocks).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// A title.
    Header {
        /// `plain_text`.
        text: Text,
    },
    /// A paragraph.
    Section {
        /// Either kind of text.
        text: Text,
    },
    /// Small print.
    Context {
        /// Either kind of text.
        elements: Vec<Text>,
    },
    /// Buttons.
    Actions {
        /// Another one in each version of a message.
        block_id: String,
        /// The buttons.
        elements: Vec<Button>,
    },
}

/// A text object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Text {
    /// No formatting.
    PlainText {
        /// The text, escaped.
        text: String,
        /// Whether `:tada:` is a picture; never, here.
        emoji: bool,
    },
    /// Slack's own formatting.
    Mrkdwn {
        /// The text, escaped.
        text: String,
        /// Whether URLs and names are left as they are; always, here.
        verbatim: bool,
    },
}

impl Text {
    /// Text without formatting.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::PlainText { text: text.into(), emoji: false }
    }

    /// Text with formatting; nothing in it is made a link that is not written as one.
    pub(super) fn mrkdwn(text: impl Into<String>) -> Self {
        Self::Mrkdwn { text: text.into(), verbatim: true }
    }
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Button {
    /// `button`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its label.
    pub text: Text,
    /// What it is for.
    pub action_id: &'static str,
    /// What is sent back when it is clicked.
    pub value: String,
    /// `primary` or `danger`.
    pub style: &'static str,
    /// What is asked before it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
}

/// What is asked before a click counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confirm {
    /// At most 100 characters.
    pub title: Text,
    /// At most 300 characters.
    pub text: Text,
    /// At most 30 characters.
    pub confirm: Text,
    /// At most 30 characters.
    pub deny: Text,
}
