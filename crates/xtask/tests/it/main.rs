//! The tools and clusters as the end-to-end suites use them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may end where it stands"
)]

mod cluster;
mod nats;
