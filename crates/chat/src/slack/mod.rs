//! Slack: messages in Block Kit, edited in place as a remediation moves; clicks on them over the
//! webhook or Socket Mode.

mod blocks;
mod clicks;
mod client;
mod interaction;
pub mod limits;
mod outbox;
mod render;
mod signature;
mod socket;
mod text;
mod users;
mod webhook;

pub use blocks::{Block, Button, Confirm, Message, Text};
pub use clicks::{Answer, Decide, Said};
pub(crate) use clicks::{ClickQueue, Clicks};
pub use client::SlackError;
pub(crate) use client::{SlackApi, retry_after};
pub use interaction::{Click, ClickDecision};
pub(crate) use outbox::SlackOutbox;
pub use render::{render, thread_line};
pub use signature::{NotSigned, sign, verify};
pub(crate) use socket::SocketMode;
pub use users::{BadUsers, Person, Users};
pub(crate) use webhook::{Door, router};
