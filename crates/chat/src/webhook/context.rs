use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::story::{Story, tier_name};

/// A name, a line: so many characters at most.
const LINE: usize = 300;
/// Prose: so many characters at most.
const PROSE: usize = 1000;
/// So many items of a list at most.
const ITEMS: usize = 20;

/// What a template can name. Bounded, so that what is made of it is.
pub(super) fn context(story: &Story) -> Value {
    let stage = story.stage();
    let changes: Vec<String> = story.changes.iter().take(ITEMS).map(|line| cut(line, LINE)).collect();
    let rules = story.rules.iter().take(ITEMS).map(|rule| cut(&format!("{}: {}", rule.policy, rule.said), LINE));
    let evidence = story.evidence.iter().take(ITEMS);
    let evidence = evidence.map(|found| json!({ "name": cut(&found.name, LINE), "value": cut(&found.value, LINE) }));
    let voices = story.voices.iter().take(ITEMS).map(|voice| {
        json!({
            "person": cut(&voice.person, LINE),
            "approved": voice.approved,
            "at": voice.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        })
    });
    let list = |items: &[String]| items.iter().take(ITEMS).map(|item| cut(item, LINE)).collect::<Vec<_>>();
    json!({
        "remediation": cut(&story.remediation, LINE),
        "digest": story.digest.as_deref().map(|digest| cut(digest, LINE)).unwrap_or_default(),
        "cluster": cut(&story.cluster, LINE),
        "title": cut(&story.title, LINE),
        "target": cut(&story.target, LINE),
        "action": cut(&story.action, LINE),
        "playbook": cut(&story.playbook, LINE),
        "step": cut(&story.step, LINE),
        "summary": cut(&story.summary, PROSE),
        "rationale": cut(&story.rationale, PROSE),
        "signals": list(&story.signals),
        "evidence": evidence.collect::<Vec<_>>(),
        "changes": changes,
        "moreChanges": story.changes.len().saturating_sub(ITEMS),
        "blastRadius": list(&story.blast_radius),
        "policy": rules.collect::<Vec<_>>(),
        "tier": story.tier.map(tier_name).unwrap_or_default(),
        "approvers": story.approvers,
        "voices": voices.collect::<Vec<_>>(),
        "stage": stage.as_str(),
        "phase": story.phase.to_string(),
        "headline": stage.headline(),
        "reason": cut(&story.reason, PROSE),
        "severity": stage.severity(),
        "eventAction": stage.event_action(),
        "awaitingApproval": stage == crate::story::Stage::AwaitingApproval,
        "at": story.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        "expiresAt": story.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true),
        // A routing key, for templates that carry one; set by who sends.
        "key": "",
    })
}

/// At most so many characters, the last of them an ellipsis where something was cut; without
/// control characters but line feeds.
pub(super) fn cut(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control() || *c == '\n').take(most).collect();
    if text.chars().filter(|c| !c.is_control() || *c == '\n').nth(most).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}
