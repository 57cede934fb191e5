use std::sync::Arc;

use axum::Router;
use evenkeel_model::Clock;
use evenkeel_runtime::http::{Limits, Outbound};
use evenkeel_runtime::{Health, Shutdown, Supervisor};

use crate::config::{BadConfig, Config, Slack, Webhook};
use crate::mailbox::{Destination, FirstWord, Mailbox, tell};
use crate::metrics::Metrics;
use crate::secret::{self, SecretFileError};
use crate::slack::{BadUsers, ClickQueue, Clicks, Decide, Door, SlackApi, SlackOutbox, SocketMode, Users, router};
use crate::store::Store;
use crate::story::Story;
use crate::webhook::{BadTemplate, Template, WebhookOutbox};

/// The largest answer of a webhook that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// What the room is handed.
pub struct Parts {
    /// The section `chat` of the configuration.
    pub config: Config,
    /// Carries requests to Slack and webhooks.
    pub outbound: Arc<dyn Outbound>,
    /// What outlives a restart.
    pub store: Arc<dyn Store>,
    /// Makes Approvals of clicks.
    pub decide: Arc<dyn Decide>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Socket Mode is a part of the process' readiness.
    pub health: Health,
    /// What is counted.
    pub metrics: Metrics,
    /// This process, among those that share the store.
    pub holder: String,
    /// Seed of the waits between attempts.
    pub seed: u64,
}

/// Why the room can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] BadConfig),
    /// A secret's file.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// The users file.
    #[error(transparent)]
    Users(#[from] BadUsers),
    /// A template's file.
    #[error("chat.webhooks {name}: {reason}")]
    Template {
        /// The webhook.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// Where remediations are told, and the way in for clicks.
#[derive(Clone)]
pub struct Chat {
    mailboxes: Vec<(String, Arc<Mailbox>)>,
    router: Option<Router>,
    metrics: Metrics,
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let to: Vec<&str> = self.mailboxes.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Chat").field("to", &to).finish_non_exhaustive()
    }
}

impl Chat {
    /// Opens the room: every file is read once, so that what is wrong is told now and not when a
    /// person is needed. Its tasks run in `tasks` until `shutdown`.
    ///
    /// # Errors
    /// [`ChatError`]: a setting, a file or a template that is of no use.
    pub async fn open(parts: Parts, tasks: &mut Supervisor, shutdown: &Shutdown) -> Result<Self, ChatError> {
        parts.config.check()?;
        let mut chat = Self { mailboxes: Vec::new(), router: None, metrics: parts.metrics.clone() };
        if let Some(slack) = &parts.config.slack {
            chat.open_slack(slack, &parts, tasks, shutdown).await?;
        }
        for webhook in &parts.config.webhooks {
            let destination = open_webhook(webhook, &parts).await?;
            chat.add(Arc::new(destination), &parts, tasks, shutdown);
        }
        Ok(chat)
    }

    /// Tells everybody who is to be told how a remediation stands. Returns at once; of several
    /// stories of one remediation that wait, the latest is told. Telling the same again, as after
    /// a restart, tells nobody anything.
    pub fn tell(&self, story: &Story) {
        for (name, mailbox) in &self.mailboxes {
            if !mailbox.put(story.clone()) {
                self.metrics.told(name, "left out");
            }
        }
    }

    /// The route `/webhooks/slack`, when clicks come that way.
    pub fn router(&self) -> Option<Router> {
        self.router.clone()
    }

    fn add(&mut self, to: Arc<dyn Destination>, parts: &Parts, tasks: &mut Supervisor, shutdown: &Shutdown) {
        let mailbox = Arc::new(Mailbox::default());
        self.mailboxes.push((to.name().to_owned(), Arc::clone(&mailbox)));
        let telling = tell(to, mailbox, parts.metrics.clone(), parts.seed, shutdown.clone());
        tasks.spawn("chat", async move {
            telling.await;
            Ok(())
        });
    }

    async fn open_slack(
        &mut self,
        config: &Slack,
        parts: &Parts,
        tasks: &mut Supervisor,
        shutdown: &Shutdown,
    ) -> Result<(), ChatError> {
        secret::first(&config.bot_token_file).await?;
        let users = Users::new(config.users_file.clone());
        users.read().await?;
        let outbound = Arc::clone(&parts.outbound);
        let api = SlackApi::new(outbound, &config.api, config.bot_token_file.clone(), config.timeout.get());
        let outbox = SlackOutbox {
            api: api.clone(),
            channel: config.channel.clone(),
            announce: config.announce.clone(),
            store: Arc::clone(&parts.store),
            first: first_word(parts),
        };
        self.add(Arc::new(outbox), parts, tasks, shutdown);
        let (queue, waiting) = ClickQueue::new(Arc::clone(&parts.store));
        let clicks = Clicks {
            queue: waiting,
            team: config.team.clone(),
            users,
            decide: Arc::clone(&parts.decide),
            api: api.clone(),
            clock: Arc::clone(&parts.clock),
            metrics: parts.metrics.clone(),
        };
        let until = shutdown.clone();
        tasks.spawn("clicks in Slack", async move {
            clicks.run(until).await;
            Ok(())
        });
        if let Some(path) = &config.signing_secret_file {
            secret::lines(path).await?;
            self.router = Some(router(Door {
                signing_secret_file: path.clone(),
                max_body_bytes: config.max_body_bytes,
                clicks: queue.clone(),
                clock: Arc::clone(&parts.clock),
                metrics: parts.metrics.clone(),
            }));
        }
        if let Some(path) = &config.app_token_file {
            secret::first(path).await?;
            let socket = SocketMode {
                api,
                app_token_file: path.clone(),
                clicks: queue,
                max_message_bytes: config.max_body_bytes,
                health: parts.health.part("Slack Socket Mode"),
                metrics: parts.metrics.clone(),
                seed: parts.seed,
            };
            let until = shutdown.clone();
            tasks.spawn("Slack Socket Mode", async move {
                socket.run(until).await;
                Ok(())
            });
        }
        Ok(())
    }
}

async fn open_webhook(config: &Webhook, parts: &Parts) -> Result<WebhookOutbox, ChatError> {
    let bad = |reason: String| ChatError::Template { name: config.name.clone(), reason };
    let compiled = |made: Result<Template, BadTemplate>| made.map_err(|error| bad(error.to_string()));
    let template = match (&config.template, &config.template_file) {
        (Some(built_in), _) => compiled(Template::built_in(*built_in))?,
        (None, Some(path)) => {
            let text = tokio::fs::read_to_string(path).await;
            compiled(Template::new(&text.map_err(|error| bad(format!("{}: {error}", path.display())))?))?
        }
        (None, None) => return Err(bad("expected a template, found none".to_owned())),
    };
    secret::first(&config.url_file).await?;
    if let Some(path) = &config.key_file {
        secret::first(path).await?;
    }
    if let Some(path) = &config.signing_secret_file {
        let secrets = secret::lines(path).await?;
        crate::webhook::sign(&secrets, "", 0, b"").map_err(|error| bad(format!("{}: {error}", path.display())))?;
    }
    Ok(WebhookOutbox {
        name: config.name.clone(),
        url_file: config.url_file.clone(),
        key_file: config.key_file.clone(),
        signing_secret_file: config.signing_secret_file.clone(),
        template,
        announce: config.announce.clone(),
        progress: config.progress,
        outbound: Arc::clone(&parts.outbound),
        limits: Limits { timeout: config.timeout.get(), max_bytes: MAX_ANSWER },
        store: Arc::clone(&parts.store),
        clock: Arc::clone(&parts.clock),
        first: first_word(parts),
    })
}

fn first_word(parts: &Parts) -> FirstWord {
    FirstWord { store: Arc::clone(&parts.store), clock: Arc::clone(&parts.clock), holder: parts.holder.clone() }
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
