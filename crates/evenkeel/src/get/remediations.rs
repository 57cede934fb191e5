use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use evenkeel_model::{Clock as _, Phase, Remediation};
use evenkeel_runtime::{WallClock, terminal};
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use super::config;
use crate::args::{Format, GetArgs};
use crate::connect;
use crate::output::{self, Table, Tone};

pub(super) async fn run(args: &GetArgs) -> Result<()> {
    let config = config(&args.client)?;
    let client = connect::reader(&config.kubernetes).await?;
    let mut objects = list(client, &config.namespace).await?;
    objects.sort_by_key(|object| (object.creation_timestamp(), object.name_any()));
    let items = objects.iter().map(serde_json::to_value).collect::<Result<Vec<Value>, _>>()?;
    let shown = || table(&objects, WallClock.now()).render(terminal::is_coloured());
    if items.is_empty() && args.output == Format::Table {
        output::warn(&format!("no remediations in namespace {}", config.namespace));
        return Ok(());
    }
    output::print(&output::render(args.output, &items, shown)?)
}

/// All of them as they lie in the API server, also those of another version.
async fn list(client: Client, namespace: &str) -> Result<Vec<DynamicObject>> {
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &ApiResource::erase::<Remediation>(&()));
    let list = api.list(&ListParams::default()).await.map_err(connect::said).with_context(|| {
        format!("listing remediations in namespace {namespace}; `evenkeel crds` has their definition, -n names another namespace")
    })?;
    let mut objects = list.items;
    for object in &mut objects {
        object.metadata.managed_fields = None;
    }
    Ok(objects)
}

fn table(objects: &[DynamicObject], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["NAME", "WHAT", "PHASE", "WHY", "STEP", "AGE"]);
    for object in objects {
        let text = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let phase = text("/status/phase");
        let tone = serde_json::from_value::<Phase>(Value::String(phase.clone())).map_or(Tone::Plain, tone);
        let step = [text("/spec/proposal/playbook/name"), text("/spec/proposal/playbook/step")].join("/");
        let created = object.creation_timestamp().and_then(|at| DateTime::from_timestamp(at.0.as_second(), 0));
        table.row([
            (object.name_any(), Tone::Plain),
            (text("/spec/title"), Tone::Plain),
            (phase, tone),
            (text("/status/reason"), Tone::Plain),
            (step, Tone::Plain),
            (created.map(|at| output::age(at, now)).unwrap_or_default(), Tone::Plain),
        ]);
    }
    table
}

/// How a phase is shown.
pub(crate) fn tone(phase: Phase) -> Tone {
    match phase {
        Phase::Succeeded => Tone::Good,
        Phase::Obsolete | Phase::WouldExecute | Phase::Cancelled => Tone::Plain,
        phase if phase.is_final() => Tone::Bad,
        _ => Tone::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, remediation};

    #[test]
    fn remediations_read_as_a_list_of_what_was_done() {
        let done = remediation(Phase::Succeeded, "target.well held for 3m");
        let mut odd = remediation(Phase::Verifying, "watching");
        odd["metadata"]["name"] = "r-odd".into();
        odd["status"]["phase"] = "Levitating".into();
        let objects: Vec<DynamicObject> =
            [done, odd].into_iter().map(|value| serde_json::from_value(value).unwrap()).collect();
        insta::assert_snapshot!(table(&objects, at(1000)).render(false));
    }
}
