//! `evenkeel bus init|status|permissions`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, bail};
use evenkeel_bus::admin::{self, Action, InitReport};
use evenkeel_bus::permissions::{Password, Plane, User, render};
use evenkeel_bus::{Bus as _, Cluster, Status};
use evenkeel_runtime::terminal;

use crate::args;
use crate::config::{Bus, Config, Jetstream};
use crate::connect;
use crate::output::{self, Table, Tone};

pub(crate) async fn run(command: &args::Bus) -> Result<()> {
    match command {
        args::Bus::Init { client } => init(client.config.as_deref()).await,
        args::Bus::Status { client, output } => status(client.config.as_deref(), *output).await,
        args::Bus::Permissions { client } => permissions(client.config.as_deref()),
    }
}

async fn init(config: Option<&Path>) -> Result<()> {
    let config = Config::load_or_default(config)?;
    let report =
        admin::init(&connect::jetstream_options(&config, Plane::Admin)?, &jetstream(&config)?.storage.options())
            .await?;
    for warning in &report.warnings {
        output::warn(&format!("warning: {warning}"));
    }
    output::print(&told(&report, terminal::is_coloured()))
}

fn jetstream(config: &Config) -> Result<&Jetstream> {
    match &config.bus {
        Bus::Jetstream(jetstream) => Ok(jetstream),
        Bus::Memory => bail!("bus: memory has nothing to prepare or look at; configure bus.jetstream"),
    }
}

fn told(report: &InitReport, colour: bool) -> String {
    let mut table = Table::new(&["KIND", "NAME", "DONE"]);
    for item in &report.items {
        let (done, tone) = match item.action {
            Action::Created => ("created", Tone::Good),
            Action::Updated => ("updated", Tone::Busy),
            Action::Unchanged => ("unchanged", Tone::Faint),
        };
        table.row([(item.kind.to_owned(), Tone::Plain), (item.name.clone(), Tone::Plain), (done.to_owned(), tone)]);
    }
    format!("nats-server {}\n{}", report.server, table.render(colour))
}

async fn status(config: Option<&Path>, format: args::Format) -> Result<()> {
    let config = Config::load_or_default(config)?;
    let bus = connect::bus_once(&config).await?;
    let status = bus.status().await?;
    let items = [serde_json::to_value(&status)?];
    output::print(&output::render(format, &items, || shown(&status, terminal::is_coloured()))?)
}

fn shown(status: &Status, colour: bool) -> String {
    let mut streams = Table::new(&["STREAM", "MESSAGES", "BYTES"]);
    for stream in &status.streams {
        let cells = [stream.name.clone(), stream.messages.to_string(), bytes(stream.bytes)];
        streams.row(cells.map(|cell| (cell, Tone::Plain)));
    }
    let mut consumers = Table::new(&["CONSUMER", "PENDING", "UNACKNOWLEDGED"]);
    for consumer in &status.consumers {
        let cells = [consumer.name.clone(), consumer.pending.to_string(), consumer.unacknowledged.to_string()];
        consumers.row(cells.map(|cell| (cell, Tone::Plain)));
    }
    format!("nats-server {}\n\n{}\n{}", status.server, streams.render(colour), consumers.render(colour))
}

fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, size) in UNITS {
        if bytes >= size {
            return format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size);
        }
    }
    format!("{bytes} B")
}

fn permissions(config: Option<&Path>) -> Result<()> {
    let cluster = Config::load_or_default(config)?.cluster()?;
    output::print(&server_configuration(&cluster)?)
}

/// For nats-server's configuration: one user a plane, each with a password from the server's environment.
fn server_configuration(cluster: &Cluster) -> Result<String> {
    let users = Plane::ALL.map(|plane| User {
        plane,
        name: format!("evenkeel-{}", plane.name()),
        password: Password::Variable(format!("EVENKEEL_{}_PASSWORD", plane.name().to_uppercase())),
    });
    let mut out = String::new();
    writeln!(out, "# Include this in nats-server's configuration. It reads the passwords from its environment:")?;
    for plane in Plane::ALL {
        writeln!(out, "# EVENKEEL_{}_PASSWORD", plane.name().to_uppercase())?;
    }
    Ok(out + &render(cluster, &users))
}

#[cfg(test)]
mod tests {
    use evenkeel_bus::admin::Item;
    use evenkeel_bus::{ConsumerStatus, StreamStatus};

    use super::*;

    #[test]
    fn init_says_what_it_did() {
        let item = |kind, name: &str, action| Item { kind, name: name.to_owned(), action };
        let report = InitReport {
            server: "2.12.6".to_owned(),
            items: vec![
                item("stream", "EVENKEEL_PROD_SIGNALS", Action::Created),
                item("bucket", "evenkeel_prod_incidents", Action::Updated),
                item("consumer", "gateway-proposals", Action::Unchanged),
            ],
            warnings: Vec::new(),
        };
        insta::assert_snapshot!(told(&report, false));
    }

    #[test]
    fn status_is_a_table() {
        let status = Status {
            server: "2.12.6".to_owned(),
            streams: vec![StreamStatus {
                name: "EVENKEEL_PROD_SIGNALS".into(),
                messages: 1204,
                bytes: 3_500_000,
                last: 1300,
            }],
            consumers: vec![ConsumerStatus {
                name: "reasoner-signals".into(),
                pending: 0,
                unacknowledged: 17,
                settled: 1283,
            }],
        };
        insta::assert_snapshot!(shown(&status, false));
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!([0, 1023, 1024, 1_600_000, 5 << 30].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "5.0 GiB"]);
    }

    #[test]
    fn the_servers_configuration_has_a_user_a_plane() {
        let text = server_configuration(&Cluster::new("prod").unwrap()).unwrap();
        for plane in Plane::ALL {
            assert!(text.contains(&format!("user: \"evenkeel-{}\"", plane.name())));
        }
    }
}
