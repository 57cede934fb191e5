//! Chats and pagers: what people are told about remediations there, and what they click.
//!
//! The room stands on the model and the runtime alone and decides nothing. The gateway hands it a
//! [`Story`] whenever a Remediation moves, through [`Chat::tell`], and implements two narrow traits:
//!
//! - [`Decide`]: what a person clicked becomes an Approval, or is refused with a reason;
//! - [`Store`]: a few small values that outlive a restart (which clicks were seen, where messages are).
//!
//! Rendering is pure ([`slack::render`], [`webhook::Template`]); everything that comes from a
//! cluster is bounded and escaped for where it lands.

mod chat;
mod config;
mod mailbox;
mod metrics;
mod secret;
pub mod slack;
mod store;
mod story;
pub mod webhook;

#[cfg(test)]
mod testing;

pub use chat::{Chat, ChatError, Parts};
pub use config::{BadConfig, BuiltIn, Config, Slack, Webhook};
pub use metrics::Metrics;
pub use secret::SecretFileError;
pub use slack::{Answer, Click, ClickDecision, Decide, Said};
pub use store::{MemoryStore, Store};
pub use story::{Found, Stage, Story, Voice};
