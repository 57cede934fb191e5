//! `evenkeel run|cancel|ack|rearm`: a Request for the gateway, and its answer.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use evenkeel_model::{Answer, Ask, ObjectRef, OfRemediation, Rearm, Request, RequestSpec, RunStep, Span};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};

use crate::config::Config;
use crate::{connect, output, person};

/// How often is looked for the answer.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    /// Why; everybody may read it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// How long to wait for the gateway's answer
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) wait: Span,
    /// The configuration file; without one, defaults and EVENKEEL_… variables
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The engine's namespace, instead of the configured one
    #[arg(long, short, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The playbook
    #[arg(value_name = "PLAYBOOK")]
    pub(crate) playbook: String,
    /// On what: deployment/shop/cart, node/worker-1
    #[arg(value_name = "TARGET")]
    pub(crate) target: ObjectRef,
    /// The step; the first one that changes something otherwise
    #[arg(long, value_name = "NAME")]
    pub(crate) step: Option<String>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OfArgs {
    /// The remediation; `evenkeel get remediations` lists them
    #[arg(value_name = "NAME")]
    pub(crate) remediation: String,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["playbooks", "all"])))]
pub(crate) struct RearmArgs {
    /// Playbooks that are suspended; `evenkeel get breakers` lists them
    #[arg(value_name = "PLAYBOOK")]
    pub(crate) playbooks: Vec<String>,
    /// All breakers, the one over all automatic action included
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

pub(crate) async fn run(args: &RunArgs) -> Result<ExitCode> {
    let (playbook, step, target) = (args.playbook.clone(), args.step.clone(), args.target.clone());
    ask(Ask::Run(RunStep { playbook, step, target }), &args.ask).await
}

pub(crate) async fn cancel(args: &OfArgs) -> Result<ExitCode> {
    ask(Ask::Cancel(OfRemediation { remediation: args.remediation.clone() }), &args.ask).await
}

pub(crate) async fn ack(args: &OfArgs) -> Result<ExitCode> {
    ask(Ask::Ack(OfRemediation { remediation: args.remediation.clone() }), &args.ask).await
}

pub(crate) async fn rearm(args: &RearmArgs) -> Result<ExitCode> {
    let playbooks = if args.all { vec!["*".to_owned()] } else { args.playbooks.clone() };
    ask(Ask::Rearm(Rearm { playbooks }), &args.ask).await
}

async fn ask(ask: Ask, args: &AskArgs) -> Result<ExitCode> {
    let reason = args.reason.trim().to_owned();
    if reason.is_empty() {
        bail!("--reason: expected why, found nothing");
    }
    let mut config = Config::load_or_default(args.config.as_deref())?;
    if let Some(namespace) = &args.namespace {
        config.namespace.clone_from(namespace);
    }
    let client = connect::writer(&config.kubernetes, config.gateway.request_timeout.get()).await?;
    let by = person::name(&client).await?;
    let api: Api<Request> = Api::namespaced(client, &config.namespace);
    let metadata = ObjectMeta { generate_name: Some(format!("{}-", ask.verb())), ..ObjectMeta::default() };
    let request = Request { metadata, spec: RequestSpec { ask, by, reason }, status: None };
    let made = api.create(&PostParams::default(), &request).await.map_err(connect::said).with_context(|| {
        format!(
            "asking in namespace {}: it needs the right to create requests.evenkeel.dev there, and the verb {}",
            config.namespace,
            request.spec.ask.verb()
        )
    })?;
    let name = made.name_any();
    let answered = tokio::time::timeout(args.wait.get(), answer(&api, &name)).await;
    let Ok(answered) = answered else {
        bail!(
            "{name} is not answered within {}: is the gateway running? kubectl -n {} get request {name} tells later",
            args.wait,
            config.namespace
        );
    };
    let status = answered?;
    match status.answer {
        Answer::Done => {
            output::print(&format!("{}\n", status.reason))?;
            Ok(ExitCode::SUCCESS)
        }
        Answer::Refused => {
            output::warn(&format!("refused: {}", status.reason));
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn answer(api: &Api<Request>, name: &str) -> Result<evenkeel_model::RequestStatus> {
    loop {
        let request =
            api.get(name).await.map_err(connect::said).with_context(|| format!("looking for {name}'s answer"))?;
        if let Some(status) = request.status {
            return Ok(status);
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args;

    fn parse(line: &str) -> Result<args::Command, String> {
        let parsed = args::Args::try_parse_from(line.split(' '));
        parsed.map(|args| args.command).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_asked_for_needs_a_reason_and_an_object() {
        assert!(parse("evenkeel run bad-rollout deployment/shop/cart").unwrap_err().contains("--reason"));
        let wrong = parse("evenkeel run bad-rollout cart --reason x").unwrap_err();
        assert!(wrong.contains("expected KIND/NAMESPACE/NAME"), "{wrong}");
        let args::Command::Run(run) = parse("evenkeel run p deployment/shop/cart --step s --reason x").unwrap() else {
            panic!("not run")
        };
        assert_eq!((run.playbook.as_str(), run.step.as_deref()), ("p", Some("s")));
    }

    #[test]
    fn all_breakers_are_closed_only_when_that_is_said() {
        assert!(parse("evenkeel rearm --reason x").unwrap_err().contains("--all"));
        assert!(parse("evenkeel rearm --all p --reason x").is_err());
        assert!(parse("evenkeel rearm p q --reason x").is_ok());
    }
}
