//! Other chats and pagers: a JSON body made of a template, signed, posted to a URL.

mod context;
mod outbox;
mod signature;
mod template;

pub(crate) use outbox::WebhookOutbox;
pub use signature::{BadSigningSecret, sign};
pub use template::{BadTemplate, Template};
