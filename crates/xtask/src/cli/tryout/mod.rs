//! `cargo xtask try`: a cluster, a bad image, a repair; told as it happens.

mod audit;
mod cart;
mod narrator;
mod story;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::cargo;
use super::cluster::NodeKind;
use super::tools::Suite;
use crate::cluster::{self, Addon, Cluster, ClusterOptions};
use crate::engine::{Engine, Plane, Settings};
use crate::tools::Toolbox;
use crate::{env, ui, wait};
use cart::Cart;
use narrator::{Narrator, Tone};
use story::{End, Story};

const PLAYBOOK: &str = include_str!("../../../try/playbook.yaml");
const POLICY: &str = include_str!("../../../try/policy.yaml");
const CART: &str = include_str!("../../../try/cart.yaml");
const RULES: &str = include_str!("../../../try/rules.yaml");

const GOOD: &str = "registry.example/shop/cart:v1";
/// Nobody ever made it. Fake nodes go by the end of the tag.
const BAD: &str = "registry.example/shop/cart:v2-missing";

/// How often the engine is asked for news.
const LOOK: Duration = Duration::from_millis(400);
/// How long the repair may take.
const REPAIRED: Duration = Duration::from_secs(120);
/// How long the reasoner is listened to after it.
const CLOSED: Duration = Duration::from_secs(8);
/// For how long a revision must have been available to count as good, and a little more.
const GOOD_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Fake nodes, or a real one; a real one if this machine can have it
    #[arg(long, value_enum)]
    node: Option<NodeKind>,
    /// Leave cluster and engine running in the end, to look around
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let mut narrator = Narrator::new();
    let mut scene = Scene::default();
    let played = scene.play(arguments, &mut narrator);
    if let Err(error) = played {
        scene.show_logs();
        let doing = narrator.doing().to_owned();
        if arguments.keep
            && let Err(error) = scene.leave(&mut narrator)
        {
            ui::say(format_args!("not left running: {error:#}"));
        }
        return Err(error.context(format!("while {doing}")));
    }
    if arguments.keep {
        scene.leave(&mut narrator)?;
    } else {
        narrator.heading("What next");
        narrator.paragraph(Tone::Plain, "The same again, left running to look around in:");
        narrator.command("cargo xtask try --keep");
        drop(scene);
    }
    what_next(&narrator);
    Ok(())
}

/// What is running; the engine ends before its cluster.
#[derive(Default)]
struct Scene {
    engine: Option<Engine>,
    cluster: Option<Cluster>,
}

impl Scene {
    fn play(&mut self, arguments: &Arguments, narrator: &mut Narrator) -> Result<()> {
        narrator.heading("Setting up");
        let node = match arguments.node {
            Some(node) => node,
            None if cluster::can_be_real().is_ok() => NodeKind::Real,
            None => NodeKind::Kwok,
        };
        let mut settings = Settings::new(&build(narrator, node)?)?;
        settings.overrides = overrides();
        let cluster = self.cluster.insert(start_cluster(narrator, &settings, node, arguments.node.is_none())?);
        // Everything from here on is on the cluster's own loopback.
        cluster.enter()?;
        let engine = self.engine.insert(install(narrator, cluster, settings)?);
        narrator.step("starting observer, reasoner and gateway", || {
            engine.start()?;
            Ok(((), "observer, reasoner and gateway run as three processes, and are ready".to_owned()))
        })?;
        deploy(narrator, cluster)?;

        narrator.heading("Breaking it");
        narrator.now_doing("breaking cart");
        let image = format!("cart={BAD}");
        cluster.kubectl(&["--namespace", "shop", "set", "image", "deployment/cart", &image])?;
        narrator.tell(&format!("$ kubectl --namespace shop set image deployment/cart {image}"));

        let broken = wait::wall();

        narrator.heading("What evenkeel does");
        let repaired = follow(narrator, engine, cluster)?;
        conclude(narrator, cluster)?;
        let took = (repaired - broken).num_milliseconds() / 100;
        let took = format!("{}.{} s", took / 10, took % 10);
        narrator.tell(&format!("from the bad image to a repair that was seen to hold: {took}"));
        Ok(())
    }

    /// The ends of the planes' logs.
    fn show_logs(&self) {
        let Some(engine) = &self.engine else { return };
        for plane in Plane::ALL {
            ui::say(format_args!("\n--- the end of the {plane}'s log ---\n{}", engine.tail(plane)));
        }
    }

    /// Leaves everything running, and says how to look around and how to end it.
    fn leave(self, narrator: &mut Narrator) -> Result<()> {
        let Some(cluster) = self.cluster else { return Ok(()) };
        let program = self.engine.as_ref().map(|engine| engine.program().to_path_buf());
        if let Some(engine) = self.engine {
            narrator.now_doing("leaving the engine to itself");
            engine.leave()?;
        }
        let dir = cluster.leave()?;
        let exec = "cargo xtask cluster exec --dir $D --";
        narrator.heading("Cluster and engine are left running");
        narrator.paragraph(Tone::Plain, "Look around; the planes' logs and configurations are in $D/engine:");
        narrator.command(&format!("D={}", dir.display()));
        narrator.command(&format!("{exec} kubectl get remediations -A"));
        narrator.command(&format!("{exec} kubectl -n shop get events"));
        if let Some(program) = program {
            narrator.command(&format!("{exec} {} get incidents --all \\", shown(&program)));
            narrator.command("    --config $D/engine/admin.yaml");
        }
        narrator.paragraph(Tone::Plain, "End it:");
        narrator.command("cargo xtask cluster down --dir $D");
        Ok(())
    }
}

/// Builds what is needed; gives the binary.
fn build(narrator: &mut Narrator, node: NodeKind) -> Result<PathBuf> {
    let (suite, what) = match node {
        NodeKind::Kwok => (Suite::Kwok, "fake nodes"),
        NodeKind::Real => (Suite::Real, "a real node"),
    };
    narrator.now_doing("building the test tools");
    Toolbox::ensure(&suite.families())?;
    narrator.tell(&format!("test tools are built: Kubernetes, {what}, NATS, Prometheus, Alertmanager"));
    narrator.now_doing("building evenkeel");
    let programs = cargo::build(&["--package", "evenkeel"])?;
    let program = cargo::program(&programs, "evenkeel")?;
    narrator.tell(&format!("evenkeel is built: {}", shown(&program)));
    Ok(program)
}

/// Times short enough to watch.
fn overrides() -> Value {
    json!({"observer": {"kubernetes": {"availableFor": "1s"}}, "reasoner": {"recheck": "1s"}})
}

/// Starts the cluster; fake nodes will do where nobody insisted on a real one.
fn start_cluster(narrator: &mut Narrator, settings: &Settings, node: NodeKind, is_choice: bool) -> Result<Cluster> {
    let doing = "starting a cluster with NATS, Prometheus and Alertmanager";
    if node == NodeKind::Real {
        let real = narrator.step(doing, || {
            let (cluster, version) = up(settings, ClusterOptions::real())?;
            Ok((cluster, format!("a cluster runs: {version} with a real node, NATS, Prometheus, Alertmanager")))
        });
        match real {
            Err(error) if is_choice => {
                narrator.tell(&format!("a real node does not come up on this machine: {}", first_line(&error)));
            }
            started => return started,
        }
    }
    narrator.step(doing, || {
        let (cluster, version) = up(settings, ClusterOptions::kwok())?;
        Ok((cluster, format!("a cluster runs: {version} with fake nodes, NATS, Prometheus, Alertmanager")))
    })
}

/// The cluster and its version.
fn up(settings: &Settings, options: ClusterOptions) -> Result<(Cluster, String)> {
    let mut options = options.with(Addon::Prometheus).with(Addon::Alertmanager);
    options.prometheus_rules = Some(RULES.to_owned());
    let cluster = Cluster::up(settings.prepare(options)?)?;
    let version: Value = serde_json::from_str(&cluster.kubectl(&["version", "-o", "json"])?)?;
    let version = version.pointer("/serverVersion/gitVersion").and_then(Value::as_str).unwrap_or_default();
    Ok((cluster, format!("Kubernetes {version}")))
}

fn install(narrator: &mut Narrator, cluster: &Cluster, settings: Settings) -> Result<Engine> {
    let engine = narrator.step("installing the engine", || {
        let engine = Engine::install(cluster, settings)?;
        let line = "the engine is installed: custom resources, least RBAC for observer and gateway, none for the                     reasoner, a NATS user each";
        Ok((engine, line.to_owned()))
    })?;
    narrator.step("applying playbook and policy", || {
        cluster.kubectl_with(&["apply", "-f", "-"], &format!("{PLAYBOOK}---\n{POLICY}"))?;
        let line = "playbook bad-rollout says what to do; policy shop-rollbacks allows it, for Deployments of                     namespace shop only";
        Ok(((), line.to_owned()))
    })?;
    Ok(engine)
}

fn deploy(narrator: &mut Narrator, cluster: &Cluster) -> Result<()> {
    narrator.step("deploying cart", || {
        // Only a real node pulls images.
        if let Ok(images) = cluster.images() {
            images.add(GOOD, &["serve", "--version", "v1"], &[])?;
        }
        cluster.kubectl_with(&["apply", "-f", "-"], CART)?;
        let cart = wait::until_every(LOOK, "deployment/shop/cart to be available", Duration::from_secs(60), || {
            let cart = Cart::read(cluster)?;
            Ok((cart.is_whole() && cart.available_for() >= GOOD_AFTER).then_some(cart))
        })?;
        Ok(((), format!("deployment/shop/cart is available: {cart}")))
    })
}

/// Tells the story until its end; gives the time of the repair.
fn follow(narrator: &mut Narrator, engine: &mut Engine, cluster: &Cluster) -> Result<DateTime<Utc>> {
    narrator.now_doing("watching the repair");
    let mut story = Story::default();
    let mut look = |narrator: &Narrator, story: &mut Story| {
        engine.check()?;
        for event in story.read(engine, cluster)? {
            narrator.event(&event);
        }
        anyhow::Ok(())
    };
    let end = wait::until_every(LOOK, "cart to be repaired", REPAIRED, || {
        look(narrator, &mut story)?;
        Ok(story.end().cloned())
    })?;
    let repaired = match end {
        End::Repaired(at) => at,
        End::NotRepaired(why) => bail!("cart was not repaired: {why}"),
    };
    // It is repaired; that the reasoner hears of it belongs to the story, and ends it no differently.
    let told = wait::now();
    wait::until_every(LOOK, "the incident to be closed", Duration::MAX, || {
        look(narrator, &mut story)?;
        Ok((story.is_over() || told.elapsed() >= CLOSED).then_some(()))
    })?;
    Ok(repaired)
}

/// What the API server says about it.
fn conclude(narrator: &mut Narrator, cluster: &Cluster) -> Result<()> {
    narrator.now_doing("asking the API server how it ended");
    let cart = wait::until_every(LOOK, "cart to be whole again", Duration::from_secs(20), || {
        Ok(Some(Cart::read(cluster)?).filter(Cart::is_whole))
    })?;
    let writes = audit::writes(&cluster.audit_log(), "deployments", "shop", "cart")?;
    narrator.heading("What the API server's audit log has of our writes to deployment/shop/cart");
    for write in &writes {
        narrator.event(&write.event());
    }
    audit::check(&writes)?;
    narrator.heading("In the end");
    narrator.tell(&format!("deployment/shop/cart is available: {cart}"));
    if cart.image != GOOD {
        bail!("cart is to have image {GOOD} again, and has {}", cart.image);
    }
    Ok(())
}

fn what_next(narrator: &Narrator) {
    narrator.paragraph(Tone::Plain, "A bare cluster to break as you like:");
    narrator.command("cargo xtask cluster up --dir /tmp/mine --with nats,prometheus,alertmanager");
    narrator.paragraph(
        Tone::Plain,
        "On the cluster you have, where it says what it would do and does nothing: README.md, \"Point it at your own \
         cluster, in audit mode\".",
    );
}

/// A path as a person at the workspace's root would type it.
fn shown(path: &Path) -> String {
    let root = env::workspace().unwrap_or_default();
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}
