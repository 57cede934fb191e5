//! From the command line to what it asks for.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use evenkeel_model::ApprovalDecision;

use crate::args::{Args, Command, Describe};
use crate::{
    all, approve, ask, audit, backtest, bus, check, crds, demo, describe, docs, freeze, gate, get, observe, output,
    policy, rbac, reason, report, simulate,
};

/// Runs the subcommand. Errors go to stderr, the cause after what was tried.
pub(crate) fn run(args: Args) -> ExitCode {
    match dispatch(args.command) {
        Ok(code) => code,
        Err(error) => {
            output::warn(&output::causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Check(args) => return check::run(&args),
        Command::Backtest(args) => return backtest::run(&args),
        Command::Audit(args) => return wait(audit::run(&args)),
        Command::Report(args) => wait(report::run(&args))?,
        Command::Demo(args) => return demo::run(&args),
        Command::Simulate(args) => return simulate::run(&args),
        Command::Crds => crds::run()?,
        Command::Rbac(args) => rbac::run(&args)?,
        Command::Docs(args) => docs::run(&args)?,
        Command::Completions { shell } => docs::completions(shell)?,
        Command::Reason(args) => wait(reason::run(&args))?,
        Command::Gate(args) => wait(gate::run(&args))?,
        Command::Observe(args) => wait(observe::run(&args))?,
        Command::All(args) => wait(all::run(&args))?,
        Command::Get(args) => wait(get::run(&args))?,
        Command::Describe(Describe::Remediation { name, client }) => wait(describe::run(&name, &client))?,
        Command::Approve(args) => wait(approve::run(&args, ApprovalDecision::Approve))?,
        Command::Deny(args) => wait(approve::run(&args, ApprovalDecision::Deny))?,
        Command::Freeze(args) => wait(freeze::freeze(&args))?,
        Command::Thaw(args) => wait(freeze::thaw(&args))?,
        Command::Run(args) => return wait(ask::run(&args)),
        Command::Cancel(args) => return wait(ask::cancel(&args)),
        Command::Ack(args) => return wait(ask::ack(&args)),
        Command::Rearm(args) => return wait(ask::rearm(&args)),
        Command::Policy(args) => return policy::run(&args),
        Command::Bus(args) => wait(bus::run(&args))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn wait<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting tokio")?;
    runtime.block_on(command)
}
