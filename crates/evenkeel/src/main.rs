//! The evenkeel binary: a subcommand a plane, and what people need beside them.

mod all;
mod approve;
mod args;
mod ask;
mod audit;
mod backtest;
mod bus;
mod check;
mod config;
mod connect;
mod crds;
mod deaths;
mod demo;
mod describe;
mod docs;
mod freeze;
mod gate;
mod get;
mod observe;
mod output;
mod person;
mod playbooks;
mod policy;
mod process;
mod rbac;
mod reason;
mod report;
mod run;
mod simulate;
#[cfg(test)]
mod testing;
mod threads;

/// Half of what a simulation or a backtest does is making and dropping small values, which this one does faster
/// than the C library; see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Before anything opens a connection: rustls has no provider of its own here. It can only have
    // been installed already, and then it is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    run::run(<args::Args as clap::Parser>::parse())
}
