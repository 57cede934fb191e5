use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use evenkeel_bus::{Bus as _, Stored, Stream};
use evenkeel_model::{Clock as _, Signal, SignalState, Span};
use evenkeel_runtime::{WallClock, terminal};
use futures::TryStreamExt as _;
use serde_json::Value;

use super::config;
use crate::args::{Format, GetArgs};
use crate::connect;
use crate::output::{self, Table, Tone};

pub(super) async fn run(args: &GetArgs, since: Option<Span>) -> Result<()> {
    let config = config(&args.client)?;
    let bus = connect::bus_once(&config).await?;
    let now = WallClock.now();
    let since = since.map(|span| now - span.chrono());
    let mut stored = bus.replay(Stream::Signals, since).await?;
    let mut items = Vec::new();
    while let Some(message) = stored.try_next().await? {
        let item = item(&message)?;
        if args.output == Format::Jsonl {
            // A month of signals need not fit into memory.
            output::print(&format!("{item}\n"))?;
        } else {
            items.push(item);
        }
    }
    if args.output == Format::Jsonl {
        return Ok(());
    }
    if items.is_empty() && args.output == Format::Table {
        output::warn("no signals");
        return Ok(());
    }
    output::print(&output::render(args.output, &items, || table(&items, now).render(terminal::is_coloured()))?)
}

fn item(message: &Stored) -> Result<Value> {
    serde_json::from_slice(&message.payload)
        .with_context(|| format!("message {} of stream signals is not JSON", message.sequence))
}

fn table(items: &[Value], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["SEEN", "NAME", "STATE", "SEVERITY", "ABOUT", "ROOT", "SOURCE", "SUMMARY"]);
    for item in items {
        let Ok(signal) = serde_json::from_value::<Signal>(item.clone()) else {
            table.row([("another version's".to_owned(), Tone::Faint)]);
            continue;
        };
        let object = |object: Option<&evenkeel_model::ObjectRef>| object.map(ToString::to_string).unwrap_or_default();
        let (state, tone) = match (&signal.suppressed, signal.state) {
            (Some(_), SignalState::Firing) => ("Suppressed", Tone::Faint),
            (None, SignalState::Firing) => ("Firing", Tone::Bad),
            (_, SignalState::Resolved) => ("Resolved", Tone::Good),
        };
        table.row([
            (format!("{} ago", output::age(signal.observed_at, now)), Tone::Plain),
            (signal.name.clone(), Tone::Plain),
            (state.to_owned(), tone),
            (signal.severity.token().to_owned(), Tone::Plain),
            (object(signal.target.as_ref()), Tone::Plain),
            (object(signal.root.as_ref()), Tone::Plain),
            (signal.source.token().to_owned(), Tone::Plain),
            (signal.summary.clone(), Tone::Plain),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, signal};

    #[test]
    fn signals_read_as_a_list_of_what_was_seen() {
        let mut resolved = signal("CrashLoopBackOff", 500);
        resolved.state = SignalState::Resolved;
        let mut unknown = signal("Watchdog", 600);
        (unknown.target, unknown.root, unknown.suppressed) = (None, None, Some("silenced".to_owned()));
        let items: Vec<Value> = [signal("CrashLoopBackOff", 100), resolved, unknown]
            .iter()
            .map(|signal| serde_json::to_value(signal).unwrap())
            .chain([serde_json::json!({"of": "the future"})])
            .collect();
        insta::assert_snapshot!(table(&items, at(1000)).render(false));
    }
}
