use chrono::{DateTime, Utc};

use super::blocks::{Block, Button, Confirm, Message, Text};
use super::interaction::{APPROVE, DENY, value};
use super::limits::{HEADER, TEXT};
use super::text::{block_line, code, length, line, prose};
use crate::story::{Stage, Story, tier_name};

/// So many signals, findings, rules and voices are shown; the rest is counted.
const SIGNALS: usize = 8;
const EVIDENCE: usize = 12;
const RULES: usize = 8;
const VOICES: usize = 10;
/// How long one name or value is shown.
const VALUE: usize = 200;
/// The change takes so many sections at most, of so many characters.
const CHANGE_SECTIONS: usize = 4;
const CHANGE_SECTION: usize = 2800;
/// A line of the change is shown so long.
const CHANGE_LINE: usize = 1000;
/// Prose is shown so long.
const PROSE: usize = 1500;

/// The message about a remediation as it stands: posted once, then edited. There are buttons as
/// long as people are asked, and at no other time.
pub fn render(story: &Story) -> Message {
    let stage = story.stage();
    let mut blocks = vec![
        Block::Header { text: Text::plain(line(&format!("{}: {}", stage.headline(), story.title), HEADER)) },
        section(about(story)),
    ];
    if !story.reason.trim().is_empty() {
        let label = if stage == Stage::AwaitingApproval { "Asked" } else { "Now" };
        blocks.push(section(format!("*{label}* {}", code(&story.reason, PROSE))));
    }
    let told = [&story.summary, &story.rationale];
    for text in told.into_iter().filter(|text| !text.trim().is_empty()) {
        blocks.push(Block::Section { text: Text::plain(prose(text, PROSE)) });
    }
    if !story.evidence.is_empty() {
        let found = story.evidence.iter().map(|it| format!("{} is {}", code(&it.name, VALUE), code(&it.value, VALUE)));
        blocks.push(section(list("Evidence", found, story.evidence.len(), EVIDENCE)));
    }
    blocks.extend(change(story));
    if !story.blast_radius.is_empty() {
        let parts = story.blast_radius.iter().map(|part| code(part, VALUE));
        blocks.push(section(list("Blast radius", parts, story.blast_radius.len(), RULES)));
    }
    blocks.push(section(policy(story)));
    if !story.voices.is_empty() {
        let voices = story.voices.iter().map(|voice| {
            let verb = if voice.approved { "Approved" } else { "Denied" };
            format!("{verb} by {} {}", code(&voice.person, VALUE), date(voice.at))
        });
        blocks.push(section(list("Said", voices, story.voices.len(), VOICES)));
    }
    blocks.extend(buttons(story));
    blocks.push(Block::Context { elements: vec![Text::mrkdwn(small_print(story))] });
    Message { text: line(&format!("{}: {} ({})", stage.headline(), story.title, story.cluster), 300), blocks }
}

/// What the thread below the message is told when the stage changes.
pub fn thread_line(story: &Story) -> Message {
    let stage = story.stage();
    let mut shown = format!("*{}* {}", stage.headline(), date(story.at));
    if let Some(voice) = story.voices.last().filter(|_| matches!(stage, Stage::Approved | Stage::Denied)) {
        let verb = if voice.approved { "approved" } else { "denied" };
        shown.push_str(&format!("\n{verb} by {}", code(&voice.person, VALUE)));
    }
    if !story.reason.trim().is_empty() {
        shown.push_str(&format!("\n{}", code(&story.reason, PROSE)));
    }
    Message { text: line(stage.headline(), 300), blocks: vec![section(shown)] }
}

/// Every caller bounds the parts; the whole is bounded again, so that no sum of them is refused.
fn section(text: String) -> Block {
    Block::Section { text: Text::mrkdwn(fit(text)) }
}

/// The lines that fit, whole: a line that is cut could end within an entity or inline code.
fn fit(text: String) -> String {
    const MORE: &str = "\n…";
    if length(&text) <= TEXT {
        return text;
    }
    let mut kept = String::new();
    for line in text.lines() {
        if length(&kept) + length(line) + 1 + MORE.len() > TEXT {
            kept.push_str(MORE);
            break;
        }
        if !kept.is_empty() {
            kept.push('\n');
        }
        kept.push_str(line);
    }
    kept
}

fn about(story: &Story) -> String {
    let signals: Vec<String> = story.signals.iter().take(SIGNALS).map(|signal| code(signal, 120)).collect();
    let more = story.signals.len().saturating_sub(SIGNALS);
    let mut text = format!(
        "*Target* {} in cluster {}\n*Playbook* {} step {}",
        code(&story.target, 600),
        code(&story.cluster, 80),
        code(&story.playbook, 80),
        code(&story.step, 80)
    );
    if !signals.is_empty() {
        text.push_str(&format!("\n*Signals* {}", signals.join(", ")));
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
    }
    text
}

fn list(title: &str, items: impl Iterator<Item = String>, all: usize, most: usize) -> String {
    let mut text = format!("*{title}*");
    for item in items.take(most) {
        text.push_str("\n• ");
        text.push_str(&item);
    }
    if all > most {
        text.push_str(&format!("\n• {} more", all - most));
    }
    text
}

/// The exact change as a diff in code blocks. What does not fit is said to be left out.
fn change(story: &Story) -> Vec<Block> {
    if story.changes.is_empty() {
        return Vec::new();
    }
    let lines: Vec<String> = story.changes.iter().flat_map(|change| diff(change)).collect();
    let mut sections: Vec<String> = Vec::new();
    let mut open = String::new();
    let mut shown = 0;
    for line in &lines {
        if !open.is_empty() && length(&open) + length(line) + 1 > CHANGE_SECTION {
            sections.push(std::mem::take(&mut open));
            if sections.len() == CHANGE_SECTIONS {
                break;
            }
        }
        open.push_str(line);
        open.push('\n');
        shown += 1;
    }
    if !open.is_empty() {
        sections.push(open);
    }
    let cut = shown < lines.len() || lines.iter().any(|line| line.ends_with('…'));
    let mut blocks: Vec<Block> = sections
        .iter()
        .enumerate()
        .map(|(i, lines)| {
            let title = if i == 0 { format!("*Change* {}\n", code(&story.action, 80)) } else { String::new() };
            section_of_code(&title, lines)
        })
        .collect();
    if cut {
        let all = code(&format!("evenkeel describe remediation {}", story.remediation), 300);
        blocks.push(section(format!("*The change is longer than fits here.* All of it: {all}")));
    }
    blocks
}

fn section_of_code(title: &str, lines: &str) -> Block {
    Block::Section { text: Text::mrkdwn(format!("{title}```\n{lines}```")) }
}

/// `path: before → after` as a diff of three lines; anything else as it is.
fn diff(change: &str) -> Vec<String> {
    let parts = change
        .split_once(" → ")
        .and_then(|(left, after)| left.split_once(": ").map(|(path, before)| (path, before, after)));
    match parts {
        Some((path, before, after)) => vec![
            block_line(&format!("@ {path}"), CHANGE_LINE),
            block_line(&format!("- {before}"), CHANGE_LINE),
            block_line(&format!("+ {after}"), CHANGE_LINE),
        ],
        None => vec![block_line(&format!("  {change}"), CHANGE_LINE)],
    }
}

fn policy(story: &Story) -> String {
    let mut title = "Policy".to_owned();
    if let Some(tier) = story.tier {
        let persons =
            if story.approvers == 1 { "one person".to_owned() } else { format!("{} persons", story.approvers) };
        title = format!("Policy: tier {}, {persons} to approve", tier_name(tier));
    }
    let rules = story.rules.iter().map(|rule| format!("{} {}", code(&rule.policy, 80), code(&rule.said, 250)));
    list(&title, rules, story.rules.len(), RULES)
}

fn small_print(story: &Story) -> String {
    let mut text = code(&story.remediation, 280);
    if let Some(digest) = &story.digest {
        let short: String = digest.chars().take(12).collect();
        text.push_str(&format!(" · digest {}", code(&short, 20)));
    }
    if story.phase.is_waiting() {
        text.push_str(&format!(" · expires {}", date(story.expires_at)));
    }
    if story.stage() == Stage::AwaitingApproval {
        let approve = format!("evenkeel approve {} --reason …", story.remediation);
        text.push_str(&format!(" · or {}", code(&approve, 300)));
    }
    text
}

/// A time in the reader's own zone; where a client can't, as UTC
/// (docs.slack.dev/messaging/formatting-message-text#date-formatting).
fn date(at: DateTime<Utc>) -> String {
    format!("<!date^{}^{{date_short_pretty}} {{time_secs}}|{}>", at.timestamp(), at.format("%Y-%m-%d %H:%M:%SZ"))
}

fn buttons(story: &Story) -> Option<Block> {
    if story.stage() != Stage::AwaitingApproval {
        return None;
    }
    let value = value(&story.remediation, story.digest.as_deref()?)?;
    let button = |label: &str, action_id, style, confirm| Button {
        kind: "button",
        text: Text::plain(label),
        action_id,
        value: value.clone(),
        style,
        confirm,
    };
    let confirm = Confirm {
        title: Text::plain("Approve this change?"),
        text: Text::plain(line(&format!("{} in cluster {}", story.title, story.cluster), 300)),
        confirm: Text::plain("Approve"),
        deny: Text::plain("Not yet"),
    };
    // Another id in each version of the message, as Slack asks for.
    let block_id = format!("evenkeel-{}-{}", story.at.timestamp(), story.voices.len());
    Some(Block::Actions {
        block_id,
        elements: vec![button("Approve", APPROVE, "primary", Some(confirm)), button("Deny", DENY, "danger", None)],
    })
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
