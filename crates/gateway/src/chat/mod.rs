//! Chats and pagers, wired: every change of a Remediation that people should know is told
//! ([`story`]), what they click becomes an Approval ([`decide`]), and what must outlive a restart
//! lies on the bus ([`store`]). Nothing here decides: approvals are counted where all of them are.

mod decide;
mod store;
mod story;

use std::net::SocketAddr;
use std::sync::Arc;

use evenkeel_chat::Chat;
use evenkeel_model::Remediation;
use evenkeel_runtime::http::Outbound;
use evenkeel_runtime::{BoxError, Health, Shutdown, Supervisor};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use self::decide::Deciding;
use self::store::BusStore;
use crate::error::Error;
use crate::plane::Plane;
use crate::playbooks::Found;

/// So many changes wait to be told at most. What is told next says how it stands by then.
const WAITING: usize = 1024;
/// So many connections are held by the webhook at a time.
const CONNECTIONS: usize = 64;

/// What chats and pagers need beside what the gateway has.
pub struct ChatParts {
    /// Whom to tell, and how.
    pub config: evenkeel_chat::Config,
    /// Where `/webhooks/slack` is taken, when clicks come that way.
    pub listen: SocketAddr,
    /// What is counted.
    pub metrics: evenkeel_chat::Metrics,
    /// Seed of the waits between attempts.
    pub seed: u64,
}

/// The way to those who are told.
pub(crate) struct Telling(pub(crate) mpsc::Sender<Box<Remediation>>);

impl Plane {
    /// Has people told how a Remediation stands. Never waits: an action must not wait for a chat.
    pub(crate) fn tell_chats(&self, remediation: &Remediation) {
        let Some(Telling(sender)) = self.chat.get() else { return };
        if sender.try_send(Box::new(remediation.clone())).is_err() {
            self.metrics.error("chat");
            tracing::warn!("more is to be told in chats than is taken; left out");
        }
    }
}

/// Opens the room, and listens where clicks come to a webhook.
pub(crate) async fn open(
    parts: ChatParts,
    plane: &Arc<Plane>,
    outbound: Arc<dyn Outbound>,
    health: Health,
    tasks: &mut Supervisor,
    shutdown: &Shutdown,
) -> Result<Chat, Error> {
    let listen = parts.config.listens().then_some(parts.config.listen.unwrap_or(parts.listen));
    let room = evenkeel_chat::Parts {
        config: parts.config,
        outbound,
        store: Arc::new(BusStore::new(Arc::clone(&plane.bus))),
        decide: Arc::new(Deciding(Arc::clone(plane))),
        clock: Arc::clone(&plane.clock),
        health,
        metrics: parts.metrics,
        holder: plane.holder.clone(),
        seed: parts.seed,
    };
    let chat = Chat::open(room, tasks, shutdown).await?;
    if let (Some(address), Some(router)) = (listen, chat.router()) {
        let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
        tracing::info!(address = %listener.local_addr().unwrap_or(address), "the Slack webhook listens");
        tasks.spawn("Slack webhook", evenkeel_runtime::serve(listener, router, CONNECTIONS, shutdown.clone()));
    }
    let (sender, changes) = mpsc::channel(WAITING);
    // Set once: a plane has one room.
    if plane.chat.set(Telling(sender)).is_ok() {
        tasks.spawn("telling in chats", tell(Arc::clone(plane), chat.clone(), changes, shutdown.clone()));
    }
    Ok(chat)
}

/// Hands the room what there is to tell, until shutdown.
async fn tell(
    plane: Arc<Plane>,
    chat: Chat,
    mut changes: mpsc::Receiver<Box<Remediation>>,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    loop {
        let remediation = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            remediation = changes.recv() => remediation,
        };
        let Some(remediation) = remediation else { return Ok(()) };
        let playbook = &remediation.spec.proposal.playbook.name;
        // What a playbook says about itself is good to have, and nothing waits for it.
        let summary = match plane.playbooks.find(playbook).await {
            Ok(Found::Playbook(playbook)) => playbook.spec.summary.clone(),
            Ok(Found::Missing | Found::Broken(_)) | Err(_) => String::new(),
        };
        chat.tell(&story::of(&remediation, summary));
    }
}
