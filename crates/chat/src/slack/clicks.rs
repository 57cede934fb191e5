use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use evenkeel_model::Clock;
use evenkeel_runtime::Shutdown;
use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::client::SlackApi;
use super::interaction::{Click, ClickDecision};
use super::users::{Person, Users};
use crate::metrics::Metrics;
use crate::store::Store;

/// So many clicks wait at most; more are refused while people are still at their screens.
const QUEUE: usize = 64;
/// How long the store may take: the whole answer to Slack is due in three seconds.
const STORE: Duration = Duration::from_millis(1500);
/// How long one click may take to be decided on.
const DECIDE: Duration = Duration::from_secs(20);

/// After shutdown was asked for: how long clicks that were taken are decided on, and how long persons are told of the
/// others: together less than a process has to drain.
const DRAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(4));

/// What a person said in Slack, with who they are in Kubernetes. To be counted, it still has to be
/// for the digest that stands in the Remediation, and the person has to have the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Yes or no.
    pub decision: ClickDecision,
    /// The Remediation's name.
    pub remediation: String,
    /// What they saw and answered to.
    pub digest: String,
    /// The Kubernetes user.
    pub person: Person,
    /// The Slack user who clicked: `U012AB3CD`.
    pub slack_user: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// What became of a click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It stands as an Approval. The message itself shows what follows.
    Recorded,
    /// It does not, and why, for the person who clicked.
    Refused(String),
}

/// Makes an Approval of what a person said; implemented by the gateway.
#[async_trait]
pub trait Decide: Send + Sync + 'static {
    /// Records it, or says why not. Called again with the same only when the first call was lost.
    async fn decide(&self, said: Said) -> Answer;
}

/// Why a click was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It was taken before.
    Seen,
    /// Too many are waiting.
    Full,
    /// Whether it was taken before can't be told.
    Unknown(String),
}

/// Where clicks are handed in: each counts once, whoever delivers it again.
#[derive(Clone)]
pub(crate) struct ClickQueue {
    sender: mpsc::Sender<Click>,
    store: Arc<dyn Store>,
}

impl ClickQueue {
    pub(crate) fn new(store: Arc<dyn Store>) -> (Self, mpsc::Receiver<Click>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender, store }, receiver)
    }

    /// Takes a click. The place is reserved before the click is marked as seen, so that one that
    /// finds no room can be made again.
    pub(crate) async fn take(&self, click: Click) -> Result<(), NotTaken> {
        let place = self.sender.try_reserve().map_err(|error| match error {
            TrySendError::Full(()) => NotTaken::Full,
            TrySendError::Closed(()) => NotTaken::Unknown("shutting down".to_owned()),
        })?;
        let first = tokio::time::timeout(STORE, self.store.create(&click.seen_as, Bytes::from_static(b"1"))).await;
        match first {
            Ok(Ok(true)) => {
                place.send(click);
                Ok(())
            }
            Ok(Ok(false)) => Err(NotTaken::Seen),
            Ok(Err(error)) => Err(NotTaken::Unknown(error.to_string())),
            Err(_) => Err(NotTaken::Unknown(format!("the store did not answer within {STORE:?}"))),
        }
    }
}

/// Works on clicks, one after the other. Slack was told that each of them is taken: none goes without an answer.
pub(crate) struct Clicks {
    pub(crate) queue: mpsc::Receiver<Click>,
    pub(crate) team: String,
    pub(crate) users: Users,
    pub(crate) decide: Arc<dyn Decide>,
    pub(crate) api: SlackApi,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
}

impl Clicks {
    /// Until shutdown, and what was taken by then.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN.0).await;
        };
        let late = late.shared();
        let mut left = Vec::new();
        let mut closing = false;
        loop {
            let click = tokio::select! {
                biased;
                () = shutdown.cancelled(), if !closing => {
                    closing = true;
                    self.queue.close();
                    continue;
                }
                click = self.queue.recv() => click,
            };
            let Some(click) = click else { break };
            if late.clone().now_or_never().is_some() {
                left.push((click, "This gateway is shutting down, and your click did not count. Click again."));
                continue;
            }
            tokio::select! {
                biased;
                () = late.clone() => {
                    let why = "This gateway is shutting down; look whether it counted before you click again.";
                    left.push((click, why));
                }
                () = self.work_on(&click) => {}
            }
        }
        if !closing {
            // Nobody can click any more.
            return shutdown.cancelled().await;
        }
        let telling = left.iter().map(|(click, why)| {
            self.metrics.click("shutting down");
            self.tell(click, why)
        });
        let told = tokio::time::timeout(DRAIN.1, futures::future::join_all(telling)).await;
        if told.is_err() {
            tracing::warn!("not everybody could be told that their click did not count");
        }
    }

    async fn work_on(&self, click: &Click) {
        let (result, refusal) = self.answer(click).await;
        self.metrics.click(result);
        tracing::info!(user = click.user, remediation = click.remediation, result, "a click in Slack");
        if let Some(refusal) = refusal {
            self.tell(click, &refusal).await;
        }
    }

    async fn tell(&self, click: &Click, why: &str) {
        if let Err(error) = self.api.tell_one(&click.channel, &click.user, why).await {
            tracing::warn!(%error, user = click.user, "a person could not be told why their click does not count");
        }
    }

    async fn answer(&self, click: &Click) -> (&'static str, Option<String>) {
        if click.team.as_deref() != Some(self.team.as_str()) {
            return ("another workspace", Some("Only members of this workspace can decide this.".to_owned()));
        }
        let person = match self.users.find(&click.user).await {
            Ok(Some(person)) => person,
            Ok(None) => {
                let why = format!(
                    "Your Slack user {} stands for no Kubernetes user, so your click does not count. An operator can add \
                     it to the users file; `evenkeel approve {}` works without.",
                    click.user, click.remediation
                );
                return ("unmapped", Some(why));
            }
            Err(error) => {
                tracing::warn!(%error, "nobody can decide in Slack until this is mended");
                return ("no users", Some("Who is who can't be read now, so nobody can decide in Slack.".to_owned()));
            }
        };
        let said = Said {
            decision: click.decision,
            remediation: click.remediation.clone(),
            digest: click.digest.clone(),
            person,
            slack_user: click.user.clone(),
            at: self.clock.now(),
        };
        match tokio::time::timeout(DECIDE, self.decide.decide(said)).await {
            Ok(Answer::Recorded) => ("recorded", None),
            Ok(Answer::Refused(why)) => ("refused", Some(why)),
            Err(_) => {
                ("too late", Some("This took too long; look whether it counted before you click again.".to_owned()))
            }
        }
    }
}
