use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use evenkeel_model::{Clock as _, Remediation, Request};
use evenkeel_policy::breakers::Breakers;
use evenkeel_runtime::{WallClock, terminal};
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::config;
use crate::args::{Format, GetArgs};
use crate::connect;
use crate::output::{self, Table, Tone};

pub(super) async fn run(args: &GetArgs) -> Result<()> {
    let config = config(&args.client)?;
    let client = connect::reader(&config.kubernetes).await?;
    let remediations: Vec<Remediation> =
        list(client.clone(), &config.namespace, ApiResource::erase::<Remediation>(&())).await?;
    let requests: Vec<Request> = list(client, &config.namespace, ApiResource::erase::<Request>(&())).await?;
    let limits = config.gateway.breakers.limits();
    let breakers = evenkeel_gateway::breakers(remediations.iter(), requests.iter(), &limits, WallClock.now());
    if breakers.are_closed() && args.output == Format::Table {
        output::warn("no breaker is open");
        return Ok(());
    }
    let items = items(&breakers);
    output::print(&output::render(args.output, &items, || table(&items).render(terminal::is_coloured()))?)?;
    if args.output == Format::Table {
        output::warn(
            "`evenkeel rearm PLAYBOOK --reason TEXT` closes one, `--all` all of them; -o yaml tells all of why",
        );
    }
    Ok(())
}

/// Those that are understood, as the gateway counts.
async fn list<T: DeserializeOwned + kube::core::Resource<DynamicType = ()>>(
    client: Client,
    namespace: &str,
    resource: ApiResource,
) -> Result<Vec<T>> {
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    let all = api.list(&ListParams::default()).await.map_err(connect::said);
    let all = all.with_context(|| format!("listing {} in namespace {namespace}", resource.plural))?;
    Ok(all.items.into_iter().filter_map(|object| object.try_parse().ok()).collect())
}

fn items(breakers: &Breakers) -> Vec<Value> {
    let until = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let automatic = breakers.automatic.iter().map(|stopped| {
        let effect = if stopped.cause.is_some() { "asks people" } else { "stops automatic action" };
        json!({"breaker": "*", "effect": effect, "until": until(stopped.until), "why": stopped.to_string()})
    });
    let playbooks = breakers.playbooks.iter().map(|(name, suspended)| {
        let why = suspended.said(name);
        json!({"breaker": name, "effect": "suspends the playbook", "until": until(suspended.until), "why": why})
    });
    automatic.chain(playbooks).collect()
}

fn table(items: &[Value]) -> Table {
    let mut table = Table::new(&["BREAKER", "EFFECT", "UNTIL", "WHY"]);
    for item in items {
        let text = |field: &str| item.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        table.row([
            (text("breaker"), Tone::Bad),
            (text("effect"), Tone::Plain),
            (text("until"), Tone::Plain),
            (text("why"), Tone::Plain),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Span;
    use evenkeel_policy::breakers::{BreakerLimits, Came, Tried};

    use super::*;
    use crate::testing::at;

    #[test]
    fn open_breakers_read_as_a_list_of_what_is_not_done_any_more() {
        let failed = |n: i64| Tried {
            cause: format!("i-{n}"),
            root: format!("deployment/shop/w-{n}"),
            playbook: if n < 4 { "useless".to_owned() } else { format!("p-{n}") },
            begun_at: at(n * 60),
            came: Came::Failed(at(n * 60 + 30)),
        };
        let tried: Vec<Tried> = (1..=6).map(failed).collect();
        let limits = BreakerLimits { window: Span::hours(24), causes: 3, roots: 5, percent: 20 };
        let breakers = Breakers::of(&tried, &[], &limits, at(1000));
        let shown = table(&items(&breakers)).render(false);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(lines[0].starts_with("BREAKER"), "{shown}");
        assert!(lines[1].starts_with('*') && lines[1].contains("stops automatic action"), "{shown}");
        assert!(lines[2].starts_with("useless") && lines[2].contains("suspends the playbook"), "{shown}");
    }
}
