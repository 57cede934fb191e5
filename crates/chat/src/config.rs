use std::net::SocketAddr;
use std::path::PathBuf;

use evenkeel_model::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::story::Stage;

/// Chats and pagers. Secrets stand in files, which are read anew each time they are needed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Where `/webhooks/slack` is taken. Absent: at the top-level `listen`. (`evenkeel all` has Alertmanager's webhook
    /// there, and needs another address here, or Socket Mode.)
    pub listen: Option<SocketAddr>,
    /// Slack. Absent: nobody is told or asked there.
    pub slack: Option<Slack>,
    /// Other chats and pagers.
    pub webhooks: Vec<Webhook>,
}

/// Slack: one message a remediation, with buttons. See docs/slack.md.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slack {
    /// Id of the workspace, `T012AB3CD`: only its members decide.
    pub team: String,
    /// Id of the channel, `C012AB3CD`.
    pub channel: String,
    /// File with the bot's token (`xoxb-…`).
    pub bot_token_file: PathBuf,
    /// File with the app's signing secret: clicks come to `/webhooks/slack`. Two lines while it is replaced.
    #[serde(default)]
    pub signing_secret_file: Option<PathBuf>,
    /// File with the app-level token (`xapp-…`): clicks come over Socket Mode, with nothing open to the outside.
    #[serde(default)]
    pub app_token_file: Option<PathBuf>,
    /// File that says which Kubernetes user a Slack user is. Who is not in it can't decide.
    pub users_file: PathBuf,
    /// At which stages a remediation gets its message; from then on the message follows it.
    #[serde(default = "announced")]
    pub announce: Vec<Stage>,
    /// The Web API's base URL.
    #[serde(default = "api")]
    pub api: String,
    /// The longest one call to Slack may take.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// The largest click taken, bytes. Slack sends the message along.
    #[serde(default = "max_body_bytes")]
    pub max_body_bytes: usize,
}

/// A URL that is told in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Webhook {
    /// Its name, in logs and metrics: at most 40 lower-case letters, digits and hyphens.
    pub name: String,
    /// File with the URL: for many chats it is all the secret there is.
    pub url_file: PathBuf,
    /// A template that is shipped.
    #[serde(default)]
    pub template: Option<BuiltIn>,
    /// File with a handlebars template of one's own, instead.
    #[serde(default)]
    pub template_file: Option<PathBuf>,
    /// File with what the template calls `key`: PagerDuty's integration key.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// File with a secret (`whsec_…`) by which each body is signed as Standard Webhooks has it.
    #[serde(default)]
    pub signing_secret_file: Option<PathBuf>,
    /// At which stages it is told of a remediation first; from then on, how it ends.
    #[serde(default = "announced")]
    pub announce: Vec<Stage>,
    /// Whether it is told what happens between the first word and the end.
    #[serde(default)]
    pub progress: bool,
    /// The longest one call may take.
    #[serde(default = "timeout")]
    pub timeout: Span,
}

/// Templates that are shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BuiltIn {
    /// PagerDuty, Events API v2: an alert is opened, acknowledged and resolved.
    PagerDuty,
    /// Microsoft Teams: an Adaptive Card, for a workflow that posts what its webhook gets.
    Teams,
    /// All there is to tell, as JSON.
    Json,
}

fn announced() -> Vec<Stage> {
    vec![Stage::AwaitingApproval, Stage::NeedsPerson]
}

fn api() -> String {
    "https://slack.com/api".to_owned()
}

fn timeout() -> Span {
    Span::seconds(10)
}

fn max_body_bytes() -> usize {
    512 * 1024
}

/// A setting that can't be worked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chat.{field}: expected {expected}, found {found}")]
pub struct BadConfig {
    /// The field.
    pub field: String,
    /// What it has to be.
    pub expected: &'static str,
    /// What it is.
    pub found: String,
}

/// So many webhooks at most.
const MAX_WEBHOOKS: usize = 20;

impl Config {
    /// Whether there is anybody to be told.
    pub fn is_empty(&self) -> bool {
        self.slack.is_none() && self.webhooks.is_empty()
    }

    /// Whether clicks come to `/webhooks/slack`.
    pub fn listens(&self) -> bool {
        self.slack.as_ref().is_some_and(|slack| slack.signing_secret_file.is_some())
    }

    /// Checks what the types can't.
    ///
    /// # Errors
    /// [`BadConfig`] for the first setting that can't be worked with.
    pub fn check(&self) -> Result<(), BadConfig> {
        if let Some(slack) = &self.slack {
            slack.check()?;
        }
        if self.webhooks.len() > MAX_WEBHOOKS {
            return bad("webhooks", "at most 20", self.webhooks.len().to_string());
        }
        for (i, webhook) in self.webhooks.iter().enumerate() {
            webhook.check(i)?;
            if self.webhooks.iter().take(i).any(|other| other.name == webhook.name) {
                return bad(&format!("webhooks[{i}].name"), "a name of its own", webhook.name.clone());
            }
        }
        Ok(())
    }
}

fn bad<T>(field: &str, expected: &'static str, found: String) -> Result<T, BadConfig> {
    Err(BadConfig { field: field.to_owned(), expected, found })
}

impl Slack {
    fn check(&self) -> Result<(), BadConfig> {
        for (field, id, first) in [("slack.team", &self.team, "TE"), ("slack.channel", &self.channel, "CGD")] {
            let fits = id.starts_with(|c| first.contains(c))
                && (2..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
            if !fits {
                return bad(field, "an id as Slack shows it, not a name", format!("{id:?}"));
            }
        }
        let ways = (self.signing_secret_file.is_some(), self.app_token_file.is_some());
        if ways.0 == ways.1 {
            let found = if ways.0 { "both" } else { "none" };
            return bad("slack", "one of signingSecretFile and appTokenFile", found.to_owned());
        }
        let local = ["http://127.0.0.1:", "http://[::1]:", "http://localhost:"];
        if !self.api.starts_with("https://") && !local.iter().any(|prefix| self.api.starts_with(prefix)) {
            // The token would be on the wire for all to read.
            return bad("slack.api", "an https URL", self.api.clone());
        }
        if self.timeout.get().is_zero() {
            return bad("slack.timeout", "more than 0s", self.timeout.to_string());
        }
        if !(16 * 1024..=16 * 1024 * 1024).contains(&self.max_body_bytes) {
            return bad("slack.maxBodyBytes", "16384 to 16777216", self.max_body_bytes.to_string());
        }
        Ok(())
    }
}

impl Webhook {
    fn check(&self, i: usize) -> Result<(), BadConfig> {
        let at = |field: &str| format!("webhooks[{i}].{field}");
        let fits = (1..=40).contains(&self.name.len())
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits || self.name == "slack" {
            let expected = "1 to 40 lower-case letters, digits and hyphens, not slack";
            return bad(&at("name"), expected, format!("{:?}", self.name));
        }
        if self.template.is_some() == self.template_file.is_some() {
            let found = if self.template.is_some() { "both" } else { "none" };
            return bad(&at("template"), "one of template and templateFile", found.to_owned());
        }
        if self.template == Some(BuiltIn::PagerDuty) && self.key_file.is_none() {
            return bad(&at("keyFile"), "a file with PagerDuty's integration key", "none".to_owned());
        }
        if self.timeout.get().is_zero() {
            return bad(&at("timeout"), "more than 0s", self.timeout.to_string());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLACK: &str = "slack: {team: T1, channel: C1, botTokenFile: b, usersFile: u, signingSecretFile: s}\n";

    fn read(text: &str) -> Result<Config, String> {
        let config: Config = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn the_example_of_the_documentation_is_taken() {
        let page = include_str!("../../../docs/slack.md");
        let yaml: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        let examples: Vec<&&str> = yaml.iter().filter(|text| text.starts_with("chat:")).collect();
        assert!(examples.len() >= 2, "{yaml:?}");
        #[derive(Deserialize)]
        struct File {
            chat: Config,
        }
        for example in examples {
            let file: File = serde_saphyr::from_str(example).unwrap();
            file.chat.check().unwrap();
        }
    }

    #[test]
    fn secrets_are_files_and_unknown_keys_are_errors() {
        assert!(read(SLACK).is_ok());
        assert!(read(&SLACK.replace("botTokenFile", "botToken")).is_err());
        assert!(read(&SLACK.replace("team: T1, ", "")).is_err());
        assert!(read("slak: {}").is_err());
        assert_eq!(read("{}"), Ok(Config::default()));
    }

    #[test]
    fn clicks_come_one_way() {
        let both = SLACK.replace("botTokenFile: b", "botTokenFile: b, appTokenFile: a");
        let error = read(&both).unwrap_err();
        assert_eq!(error, "chat.slack: expected one of signingSecretFile and appTokenFile, found both");
        assert!(read(&SLACK.replace(", signingSecretFile: s", "")).unwrap_err().ends_with("found none"));
    }

    #[test]
    fn a_token_is_not_sent_in_the_clear_and_names_are_no_ids() {
        assert!(read(&SLACK.replace("team: T1", "team: T1, api: 'http://slack.com/api'")).is_err());
        assert!(read(&SLACK.replace("team: T1", "team: T1, api: 'http://127.0.0.1:1/api'")).is_ok());
        assert!(read(&SLACK.replace("channel: C1", "channel: '#alerts'")).is_err());
    }

    #[test]
    fn a_webhook_has_one_template_and_a_name_of_its_own() {
        let hook = |rest: &str| format!("{{name: a, urlFile: u, {rest}}}");
        assert!(read(&format!("webhooks: [{}]", hook("template: Teams"))).is_ok());
        for rest in ["template: Teams, templateFile: t", "progress: true", "template: PagerDuty", "template: IRC"] {
            assert!(read(&format!("webhooks: [{}]", hook(rest))).is_err(), "{rest}");
        }
        let twice = format!("webhooks: [{0}, {0}]", hook("template: Json"));
        assert!(read(&twice).unwrap_err().contains("a name of its own"));
    }
}
