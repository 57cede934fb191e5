//! Configuration, telemetry, health, shutdown, supervised tasks, the wall clock.
//!
//! What every plane is handed by the binary's wiring, and nothing that knows a plane.

mod admin;
mod backoff;
mod clock;
pub mod config;
mod health;
pub mod http;
mod listen;
pub mod metrics;
mod name;
pub mod redact;
mod signals;
mod supervisor;
pub mod telemetry;
pub mod terminal;
pub mod trace;

pub use admin::{Admin, AdminError};
pub use backoff::Backoff;
pub use clock::WallClock;
pub use health::{Health, HealthPart};
pub use listen::serve;
pub use name::process_name;
pub use signals::on_signal;
pub use supervisor::{BoxError, Supervisor, TaskEnded};
pub use tokio_util::sync::CancellationToken as Shutdown;
