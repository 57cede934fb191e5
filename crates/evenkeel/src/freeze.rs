//! `evenkeel freeze` and `evenkeel thaw`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use evenkeel_model::{Clock as _, Freeze, FreezeSpec, FrozenUndo, Span};
use evenkeel_runtime::WallClock;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt as _};

use crate::config::Config;
use crate::{connect, output, person};

/// What stands for every namespace.
const EVERYWHERE: &str = "*";

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("where").required(true).args(["namespace", "all_namespaces"])))]
pub(crate) struct FreezeArgs {
    /// Namespaces in which nothing new is done
    #[arg(long, short, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    pub(crate) namespace: Vec<String>,
    /// Everywhere, nodes and other objects that are in no namespace included
    #[arg(long, short = 'A')]
    pub(crate) all_namespaces: bool,
    /// Undo nothing either: what did not help stays as it is until the freeze ends
    #[arg(long)]
    pub(crate) all: bool,
    /// Why; everybody may read it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// It ends by itself after this time, such as 2h; otherwise it lasts until it is thawed
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) lasts: Option<Span>,
    /// Its name; one is made up otherwise
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The configuration file; without one, defaults and EVENKEEL_… variables
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["names", "everything"])))]
pub(crate) struct ThawArgs {
    /// Freezes, by name; `kubectl get freezes` lists them
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// All freezes there are
    #[arg(long)]
    pub(crate) everything: bool,
    /// The configuration file; without one, defaults and EVENKEEL_… variables
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

pub(crate) async fn freeze(args: &FreezeArgs) -> Result<()> {
    let client = client(args.config.as_deref()).await?;
    let by = person::name(&client).await?;
    let freeze = made(args, by, WallClock.now())?;
    for namespace in missing(&client, &args.namespace).await {
        output::warn(&format!("namespace {namespace} does not exist: nothing is frozen there until it does"));
    }
    let api: Api<Freeze> = Api::all(client);
    let made = api
        .create(&PostParams::default(), &freeze)
        .await
        .map_err(connect::said)
        .context("making the freeze; it needs the right to create freezes.evenkeel.dev")?;
    output::print(&told(&made))
}

pub(crate) async fn thaw(args: &ThawArgs) -> Result<()> {
    let client = client(args.config.as_deref()).await?;
    // Also those of a version that is not understood: they freeze everything.
    let api: Api<DynamicObject> = Api::all_with(client, &ApiResource::erase::<Freeze>(&()));
    let names = if args.everything {
        let all = api.list(&ListParams::default()).await.map_err(connect::said).context("listing freezes")?;
        all.iter().map(|freeze| freeze.name_any()).collect()
    } else {
        args.names.clone()
    };
    for name in &names {
        let deleted = api.delete(name, &DeleteParams::default()).await;
        deleted.map_err(connect::said).with_context(|| format!("ending freeze {name}"))?;
        output::print(&format!("{name} is ended\n"))?;
    }
    if names.is_empty() {
        output::warn("nothing is frozen");
    }
    Ok(())
}

/// Those that the API server says do not exist. Whoever may not ask is not told.
async fn missing(client: &Client, namespaces: &[String]) -> Vec<String> {
    let api: Api<Namespace> = Api::all(client.clone());
    let mut missing = Vec::new();
    for name in namespaces.iter().filter(|name| *name != EVERYWHERE) {
        if matches!(api.get_metadata_opt(name).await, Ok(None)) {
            missing.push(name.clone());
        }
    }
    missing
}

async fn client(config: Option<&std::path::Path>) -> Result<Client> {
    let config = Config::load_or_default(config)?;
    connect::writer(&config.kubernetes, config.gateway.request_timeout.get()).await
}

fn made(args: &FreezeArgs, by: String, now: DateTime<Utc>) -> Result<Freeze> {
    let reason = args.reason.trim().to_owned();
    if reason.is_empty() {
        bail!("--reason: expected why, found nothing");
    }
    let until = match args.lasts {
        Some(lasts) if lasts.get().is_zero() => bail!("--for: expected more than 0s"),
        Some(lasts) => Some(now.checked_add_signed(lasts.chrono()).context("--for: so long a time can't be reckoned")?),
        None => None,
    };
    let everywhere = || vec![EVERYWHERE.to_owned()];
    let spec = FreezeSpec {
        namespaces: if args.all_namespaces { everywhere() } else { args.namespace.clone() },
        undo: if args.all { FrozenUndo::Waits } else { FrozenUndo::GoesOn },
        by,
        reason,
        from: None,
        until,
    };
    if let Some(name) = spec.misnamed() {
        bail!("--namespace: expected names of namespaces, without patterns, found {name:?}");
    }
    let metadata = match &args.name {
        Some(name) => ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        None => ObjectMeta { generate_name: Some("freeze-".to_owned()), ..ObjectMeta::default() },
    };
    Ok(Freeze { metadata, spec })
}

fn told(freeze: &Freeze) -> String {
    let (name, spec) = (freeze.name_any(), &freeze.spec);
    let place = if spec.namespaces.iter().any(|name| name == EVERYWHERE) {
        "everywhere".to_owned()
    } else {
        format!("in {}", spec.namespaces.join(", "))
    };
    let until = spec.until.map_or_else(|| "until it is thawed".to_owned(), |until| format!("until {until}"));
    let undo = match spec.undo {
        FrozenUndo::GoesOn => "What did not help is still taken back.",
        FrozenUndo::Waits => "What did not help is not taken back either.",
    };
    format!("{name}: nothing new is done {place} {until}. {undo}\n`evenkeel thaw {name}` ends it.\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args;
    use crate::testing::at;

    fn parsed(arguments: &[&str]) -> Result<FreezeArgs, String> {
        let all = ["evenkeel", "freeze"].into_iter().chain(arguments.iter().copied());
        match args::Args::try_parse_from(all).map_err(|error| error.to_string())?.command {
            args::Command::Freeze(args) => Ok(args),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn what_is_frozen_has_to_be_said() {
        assert!(parsed(&["--reason", "x"]).unwrap_err().contains("--namespace"));
        assert!(parsed(&["--all-namespaces", "--namespace", "shop", "--reason", "x"]).is_err());
        assert!(parsed(&["--all-namespaces"]).unwrap_err().contains("--reason"));
        assert_eq!(parsed(&["-n", "shop,cart", "--reason", "x"]).unwrap().namespace, ["shop", "cart"]);
    }

    #[test]
    fn a_freeze_is_made_as_asked_and_told() {
        let args = parsed(&["--namespace", "shop", "--all", "--for", "2h", "--reason", " release day "]).unwrap();
        let mut freeze = made(&args, "jane".to_owned(), at(0)).unwrap();
        assert_eq!((freeze.spec.reason.as_str(), freeze.spec.undo), ("release day", FrozenUndo::Waits));
        assert_eq!(freeze.spec.until, Some(at(7200)));
        freeze.metadata.name = Some("freeze-x7k2p".to_owned());
        let told = told(&freeze);
        assert!(told.starts_with("freeze-x7k2p: nothing new is done in shop until "), "{told}");
        assert!(told.ends_with("is not taken back either.\n`evenkeel thaw freeze-x7k2p` ends it.\n"), "{told}");
        let everywhere = made(&parsed(&["-A", "--reason", "x"]).unwrap(), "jane".to_owned(), at(0)).unwrap();
        assert_eq!((everywhere.spec.namespaces, everywhere.spec.until), (vec!["*".to_owned()], None));
        let pattern = made(&parsed(&["-n", "shop-*", "--reason", "x"]).unwrap(), "jane".to_owned(), at(0)).unwrap_err();
        assert!(pattern.to_string().contains("without patterns"), "{pattern}");
        assert!(made(&parsed(&["-A", "--reason", " "]).unwrap(), "jane".to_owned(), at(0)).is_err());
        assert!(made(&parsed(&["-A", "--for", "0s", "--reason", "x"]).unwrap(), "jane".to_owned(), at(0)).is_err());
    }
}
