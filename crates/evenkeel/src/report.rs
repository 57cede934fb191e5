//! `evenkeel report`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use evenkeel_bus::{Bus as _, Stream};
use evenkeel_model::{Clock as _, FIELD_MANAGER, ObjectRef, Phase, Playbook, Remediation, Signal};
use evenkeel_playbook::Playbooks;
use evenkeel_runtime::{WallClock, terminal};
use evenkeel_scenarios::road::{self, Change, Road, Row, Sources};
use futures::TryStreamExt as _;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};

use crate::args::ReportArgs;
use crate::config::{Config, PlaybooksFrom};
use crate::get::config;
use crate::output::{self, Table, Tone};
use crate::{connect, playbooks};

/// So many objects are asked who wrote to them.
const MOST_LOOKED_AT: usize = 500;
/// Writers of specs that repair nothing: autoscalers write through the first, and the rest is our own.
const CONTROLLERS: [&str; 2] = ["kube-controller-manager", FIELD_MANAGER];

pub(crate) async fn run(args: &ReportArgs) -> Result<()> {
    let config = config(&args.client)?;
    let now = WallClock.now();
    let since = now - args.since.chrono();
    let client = connect::reader(&config.kubernetes).await?;
    let remediations = remediations(client.clone(), &config.namespace).await?;
    let playbooks = playbooks_of(client.clone(), &config).await?;
    let signals = signals(&config, since).await?;
    let changes = changes(&client, &remediations, since).await;
    let road = road::road(Sources {
        remediations: &remediations,
        signals: &signals,
        playbooks: &playbooks,
        changes: &changes,
        since,
        now,
    });
    if let Some(file) = &args.html {
        write(file, &road)?;
    }
    let shown =
        if args.json { serde_json::to_string_pretty(&road)? + "\n" } else { text(&road, terminal::is_coloured()) };
    output::print(&shown)
}

fn write(file: &Path, road: &Road) -> Result<()> {
    std::fs::write(file, road::html(road)).with_context(|| format!("writing {}", file.display()))
}

/// Those of this version; others are counted.
async fn remediations(client: Client, namespace: &str) -> Result<Vec<Remediation>> {
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &ApiResource::erase::<Remediation>(&()));
    let list = api.list(&ListParams::default()).await.map_err(connect::said).with_context(|| {
        format!("listing remediations in namespace {namespace}; `evenkeel crds` has their definition, -n names another namespace")
    })?;
    let all = list.items.len();
    let known: Vec<Remediation> = list.items.into_iter().filter_map(|object| object.try_parse().ok()).collect();
    if known.len() < all {
        output::warn(&format!("{} remediations are not of this version and are left out", all - known.len()));
    }
    Ok(known)
}

/// The playbooks that the planes use.
async fn playbooks_of(client: Client, config: &Config) -> Result<Playbooks> {
    let loaded = match &config.playbooks.from {
        PlaybooksFrom::Files(paths) => playbooks::from_files(paths)?,
        PlaybooksFrom::Cluster => {
            let api: Api<Playbook> = Api::all(client);
            let list = api.list(&ListParams::default()).await.map_err(connect::said).context("listing playbooks")?;
            list.iter().filter_map(|resource| evenkeel_playbook::from_resource(resource).ok()).collect()
        }
    };
    Ok(Playbooks::new(loaded).0)
}

/// Who else wrote to the objects to which something would have been done. What can't be read is said, and left out.
async fn changes(client: &Client, remediations: &[Remediation], since: DateTime<Utc>) -> Vec<Change> {
    let audited = remediations.iter().filter(|remediation| {
        let phase = remediation.status.as_ref().map(|status| status.phase);
        phase == Some(Phase::WouldExecute) && remediation.spec.proposal.proposed_at >= since
    });
    let objects: BTreeSet<ObjectRef> = audited
        .flat_map(|it| [&it.spec.proposal.root, &it.spec.proposal.target])
        .map(|object| ObjectRef { uid: None, ..object.clone() })
        .collect();
    let (mut changes, mut unread) = (Vec::new(), None);
    for object in objects.iter().take(MOST_LOOKED_AT) {
        match evenkeel_cluster::meta(client, object).await {
            Ok(Some(meta)) => {
                let told = meta.writers.into_iter().filter(|writer| !CONTROLLERS.contains(&writer.manager.as_str()));
                let told = told.filter_map(|writer| Some((writer.at?, writer.manager)));
                let anew = (meta.created_at, "whoever made it anew".to_owned());
                let change = |(at, by)| Change { object: object.clone(), at, by };
                changes.extend(told.chain([anew]).map(change));
            }
            // Gone: by whose hand nobody knows.
            Ok(None) => {}
            Err(error) => unread = Some(error),
        }
    }
    if let Some(error) = unread {
        output::warn(&format!("who else changed some objects can't be read, and counts as nobody: {error}"));
    }
    if objects.len() > MOST_LOOKED_AT {
        output::warn(&format!("who else changed objects is looked at for {MOST_LOOKED_AT} of {}", objects.len()));
    }
    changes
}

async fn signals(config: &Config, since: DateTime<Utc>) -> Result<Vec<Signal>> {
    let bus = connect::bus_once(config).await?;
    let mut stored = bus.replay(Stream::Signals, Some(since)).await?;
    let (mut signals, mut unreadable) = (Vec::new(), 0_u64);
    while let Some(message) = stored.try_next().await? {
        match serde_json::from_slice(&message.payload) {
            Ok(signal) => signals.push(signal),
            Err(_) => unreadable += 1,
        }
    }
    if unreadable > 0 {
        output::warn(&format!("{unreadable} signals are not of this version and are left out"));
    }
    Ok(signals)
}

fn text(road: &Road, colour: bool) -> String {
    let mut out = road::summary(road).join("; ");
    out.push('\n');
    let rows = road::rows(road);
    if !rows.is_empty() {
        let headings: Vec<&'static str> =
            std::iter::once("PLAYBOOK").chain(Row::HEADINGS).chain(std::iter::once("READS")).collect();
        let mut table = Table::new(&headings);
        for row in rows {
            let tone = if row.is_bad { Tone::Bad } else { Tone::Plain };
            let figures = row.figures.into_iter().map(|figure| (figure, Tone::Plain));
            let name = std::iter::once((row.name, tone));
            table.row(name.chain(figures).chain(std::iter::once((row.reads, tone))));
        }
        out.push('\n');
        out.push_str(&table.render(colour));
    }
    if !road.without_playbook.is_empty() {
        out.push_str("\nSignals that no playbook is for:\n");
        let mut table = Table::new(&["SIGNAL", "TIMES", "OBJECTS", "ABOUT", "LAST"]);
        for it in &road.without_playbook {
            let kinds = if it.kinds.is_empty() { "no object".to_owned() } else { it.kinds.join(", ") };
            table.row([
                (it.signal.clone(), Tone::Plain),
                (it.times.to_string(), Tone::Plain),
                (it.objects.to_string(), Tone::Plain),
                (kinds, Tone::Plain),
                (format!("{} ago", output::age(it.last_at, road.until)), Tone::Plain),
            ]);
        }
        out.push_str(&table.render(colour));
    }
    if !road.never_matched.is_empty() {
        out.push_str(&format!("\nPlaybooks for which no signal came: {}\n", road.never_matched.join(", ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, remediation, signal};

    #[test]
    fn the_road_reads_as_a_table_and_what_is_missing() {
        let remediations: Vec<Remediation> = [Phase::WouldExecute, Phase::Succeeded, Phase::Regressed]
            .into_iter()
            .map(|phase| {
                let mut value = remediation(phase, "because");
                if phase == Phase::WouldExecute {
                    value["status"]["actedAt"] = serde_json::Value::Null;
                }
                serde_json::from_value(value).unwrap()
            })
            .collect();
        let mut ended = signal("CrashLoopBackOff", 400);
        ended.state = evenkeel_model::SignalState::Resolved;
        let mut odd = signal("QueueFilling", 500);
        odd.root = None;
        let signals = [signal("CrashLoopBackOff", 100), ended, odd];
        let (playbooks, _) = Playbooks::new(vec![]);
        let road = road::road(Sources {
            remediations: &remediations,
            signals: &signals,
            playbooks: &playbooks,
            changes: &[],
            since: at(0),
            now: at(1000),
        });
        insta::assert_snapshot!(text(&road, false));
    }
}
