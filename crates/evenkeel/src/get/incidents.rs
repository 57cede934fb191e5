use anyhow::Result;
use chrono::{DateTime, Utc};
use evenkeel_bus::{BucketName, Bus as _};
use evenkeel_model::{Clock as _, Incident};
use evenkeel_runtime::{WallClock, terminal};

use super::config;
use crate::args::{Format, GetArgs};
use crate::connect;
use crate::output::{self, Table, Tone};

pub(super) async fn run(args: &GetArgs, all: bool) -> Result<()> {
    let config = config(&args.client)?;
    let bus = connect::bus_once(&config).await?;
    let (mut incidents, unreadable) =
        evenkeel_reasoner::read_incidents(bus.bucket(BucketName::Incidents).await?).await?;
    if unreadable > 0 {
        output::warn(&format!("{unreadable} incidents are not of this version and are left out"));
    }
    incidents.retain(|incident| all || incident.closed_at.is_none());
    let items = incidents.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    if items.is_empty() && args.output == Format::Table {
        output::warn(if all { "no incidents" } else { "no open incidents; --all shows closed ones" });
        return Ok(());
    }
    let shown = || table(&incidents, WallClock.now()).render(terminal::is_coloured());
    output::print(&output::render(args.output, &items, shown)?)
}

fn table(incidents: &[Incident], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["NAME", "ABOUT", "SIGNALS", "STATE", "STEP", "WHY", "AGE"]);
    for incident in incidents {
        let about = incident.root.as_ref().map(ToString::to_string).unwrap_or_default();
        let (state, tone) = state(incident);
        let step = incident.attempts.last().map(|last| format!("{}/{}", last.playbook.name, last.playbook.step));
        table.row([
            (incident.id.clone(), Tone::Plain),
            (about, Tone::Plain),
            (signals(incident), Tone::Plain),
            (state, tone),
            (step.unwrap_or_default(), Tone::Plain),
            (why(incident), Tone::Plain),
            (output::age(incident.opened_at, now), Tone::Plain),
        ]);
    }
    table
}

/// Names of what is firing, else of what was.
fn signals(incident: &Incident) -> String {
    let mut names: Vec<&str> = incident.firing().map(|signal| signal.name.as_str()).collect();
    if names.is_empty() {
        names = incident.signals.values().map(|signal| signal.name.as_str()).collect();
    }
    names.sort_unstable();
    names.dedup();
    names.join(",")
}

fn state(incident: &Incident) -> (String, Tone) {
    if incident.closed_at.is_some() {
        return ("Closed".to_owned(), Tone::Good);
    }
    if incident.needs_human.is_some() {
        return ("NeedsHuman".to_owned(), Tone::Bad);
    }
    if let Some(parent) = &incident.parent {
        return (format!("PartOf {parent}"), Tone::Faint);
    }
    if incident.open_attempt().is_some() {
        return ("Acting".to_owned(), Tone::Busy);
    }
    let decided = incident.decided.as_ref().map_or("New", |decided| decided.what.as_str());
    (decided.to_owned(), Tone::Plain)
}

fn why(incident: &Incident) -> String {
    let last = incident.attempts.last();
    if incident.closed_at.is_some() {
        // What was decided last was decided before the end.
        return match last.and_then(|last| Some((last, last.phase?))) {
            Some((last, phase)) => format!("{} ended {phase}: {}", last.remediation, last.reason),
            None => "its signals ended by themselves".to_owned(),
        };
    }
    incident
        .needs_human
        .clone()
        .or_else(|| incident.decided.as_ref().map(|decided| decided.reason.clone()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, incident};

    #[test]
    fn incidents_read_as_a_list_of_what_is_wrong() {
        let mut waiting = incident("i-1", "cart");
        waiting.attempts.clear();
        let mut needs_human = incident("i-2", "checkout");
        needs_human.needs_human = Some("the ladder of bad-rollout has no further step".to_owned());
        let mut closed = incident("i-3", "search");
        closed.closed_at = Some(at(900));
        closed.attempts[0].phase = Some(evenkeel_model::Phase::Succeeded);
        closed.attempts[0].reason = "all conditions held".to_owned();
        let shown = table(&[waiting, incident("i-4", "pay"), needs_human, closed], at(1000)).render(false);
        insta::assert_snapshot!(shown);
    }
}
