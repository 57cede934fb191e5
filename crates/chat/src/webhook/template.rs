use handlebars::{Context, Handlebars, Helper, HelperResult, Output, RenderContext, RenderErrorReason};
use serde_json::Value;

use super::context::{context, cut};
use crate::config::BuiltIn;
use crate::story::Story;

/// A longer template is refused: the parser recurses.
const MAX_TEMPLATE: usize = 64 * 1024;
/// The longest body that is sent.
const MAX_BODY: usize = 512 * 1024;
/// The longest that Teams takes (learn.microsoft.com/microsoftteams/limits-specifications-teams).
const MAX_TEAMS: usize = 28 * 1024;

const PAGER_DUTY: &str = include_str!("../../templates/pagerduty.json.hbs");
const TEAMS: &str = include_str!("../../templates/teams.json.hbs");
const JSON: &str = include_str!("../../templates/json.json.hbs");

/// A handlebars template that makes a JSON body of a story. Strict: what is not there is an error.
/// Values are escaped for JSON strings, so that none can end the string it stands in; `{{json x}}`
/// writes a value whole, `{{cut x 255}}` at most so many characters of one.
pub struct Template {
    registry: Handlebars<'static>,
    max_body: usize,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Template").field("max_body", &self.max_body).finish_non_exhaustive()
    }
}

/// A template that can't be used, or makes no JSON.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTemplate(String);

impl Template {
    /// One that is shipped.
    ///
    /// # Errors
    /// As [`Template::new`]; none of them, as tests hold.
    pub fn built_in(which: BuiltIn) -> Result<Self, BadTemplate> {
        let (text, max_body) = match which {
            BuiltIn::PagerDuty => (PAGER_DUTY, MAX_BODY),
            BuiltIn::Teams => (TEAMS, MAX_TEAMS),
            BuiltIn::Json => (JSON, MAX_BODY),
        };
        let mut template = Self::new(text)?;
        template.max_body = max_body;
        Ok(template)
    }

    /// One that an operator wrote; tried out on a story, so that a variable there is not is told now.
    ///
    /// # Errors
    /// [`BadTemplate`]: too long, not to be parsed, or what it makes is no JSON.
    pub fn new(text: &str) -> Result<Self, BadTemplate> {
        if text.len() > MAX_TEMPLATE {
            return Err(BadTemplate(format!("expected at most {MAX_TEMPLATE} bytes, found {}", text.len())));
        }
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_escape_fn(inside_a_string);
        registry.register_helper("json", Box::new(json_helper));
        registry.register_helper("cut", Box::new(cut_helper));
        registry.register_template_string("body", text).map_err(|error| BadTemplate(error.to_string()))?;
        let template = Self { registry, max_body: MAX_BODY };
        template.render(&sample(), "0123456789abcdef0123456789abcdef")?;
        Ok(template)
    }

    /// The body. `key` is what the template calls `key`: a routing key.
    ///
    /// # Errors
    /// [`BadTemplate`]: a variable there is not, no JSON, or too much of it.
    pub fn render(&self, story: &Story, key: &str) -> Result<String, BadTemplate> {
        let mut data = context(story);
        if let Some(data) = data.as_object_mut() {
            data.insert("key".to_owned(), key.into());
        }
        let body = self.registry.render("body", &data).map_err(|error| BadTemplate(error.to_string()))?;
        // The parsed and written form: what is checked is what is sent, and no white space is.
        let body: Value = serde_json::from_str(&body)
            .map_err(|error| BadTemplate(format!("what the template makes is no JSON: {error}")))?;
        let body = body.to_string();
        if body.len() > self.max_body {
            return Err(BadTemplate(format!("expected at most {} bytes, found {}", self.max_body, body.len())));
        }
        Ok(body)
    }
}

/// Escapes a value for within the quotes of a JSON string.
fn inside_a_string(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}

fn param<'h>(helper: &'h Helper<'_>, index: usize, name: &'static str) -> Result<&'h Value, RenderErrorReason> {
    let found = helper.param(index).filter(|param| !param.is_value_missing());
    found.map(|param| param.value()).ok_or_else(|| {
        RenderErrorReason::ParamNotFoundForName(
            name,
            helper.param(index).map_or_else(String::new, |it| format!("{:?}", it.relative_path())),
        )
    })
}

fn json_helper(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    out.write(&param(helper, 0, "json")?.to_string())?;
    Ok(())
}

fn cut_helper(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let text = param(helper, 0, "cut")?.as_str().unwrap_or_default();
    let most = param(helper, 1, "cut")?.as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(0);
    out.write(&inside_a_string(&cut(text, most)))?;
    Ok(())
}

/// A story to try templates out on: with something in each list.
fn sample() -> Story {
    use crate::story::{Found, Voice};
    use chrono::DateTime;
    let at = DateTime::UNIX_EPOCH;
    let text = || "\"sample\"\n".to_owned();
    Story {
        remediation: "r-0".to_owned(),
        digest: Some("0".to_owned()),
        cluster: text(),
        title: text(),
        target: text(),
        action: text(),
        playbook: text(),
        step: text(),
        summary: text(),
        signals: vec![text(), text()],
        rationale: text(),
        evidence: vec![Found { name: text(), value: text() }, Found { name: text(), value: text() }],
        changes: vec![text(), text()],
        blast_radius: vec![text(), text()],
        rules: vec![
            evenkeel_model::Spoken { policy: text(), said: text() },
            evenkeel_model::Spoken { policy: text(), said: text() },
        ],
        tier: Some(evenkeel_model::Tier::Medium),
        approvers: 1,
        expires_at: at,
        voices: vec![Voice { person: text(), approved: true, at }, Voice { person: text(), approved: false, at }],
        phase: evenkeel_model::Phase::AwaitingApproval,
        reason: text(),
        at,
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
