//! `evenkeel get playbooks` and `evenkeel get policies`: what is in the cluster, and what is wrong with it, which the
//! API server's own tables can't say.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use evenkeel_model::{
    ActionPolicy, ActionPolicySpec, Clock as _, ConditionStatus, Playbook, PlaybookSpec, StatusCondition,
};
use evenkeel_runtime::{WallClock, terminal};
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::config;
use crate::args::{Format, GetArgs};
use crate::connect;
use crate::output::{self, Table, Tone};

pub(super) async fn playbooks(args: &GetArgs) -> Result<()> {
    list::<Playbook>(args, "playbooks", table_of_playbooks).await
}

pub(super) async fn policies(args: &GetArgs) -> Result<()> {
    list::<ActionPolicy>(args, "action policies", table_of_policies).await
}

async fn list<K>(args: &GetArgs, what: &str, table: fn(&[DynamicObject], DateTime<Utc>) -> Table) -> Result<()>
where
    K: Resource<DynamicType = ()>,
{
    let config = config(&args.client)?;
    let client = connect::reader(&config.kubernetes).await?;
    // Untyped: what is not of this version is shown as well, and why it can't be used.
    let api: Api<DynamicObject> = Api::all_with(client, &ApiResource::erase::<K>(&()));
    let listed = api.list(&ListParams::default()).await.map_err(connect::said);
    let mut objects = listed.with_context(|| format!("listing {what}; `evenkeel crds` has their definition"))?.items;
    for object in &mut objects {
        object.metadata.managed_fields = None;
    }
    objects.sort_by_key(kube::ResourceExt::name_any);
    if objects.is_empty() && args.output == Format::Table {
        output::warn(&format!("no {what}"));
        return Ok(());
    }
    let items = objects.iter().map(serde_json::to_value).collect::<Result<Vec<Value>, _>>()?;
    let shown = || table(&objects, WallClock.now()).render(terminal::is_coloured());
    output::print(&output::render(args.output, &items, shown)?)
}

fn table_of_playbooks(objects: &[DynamicObject], now: DateTime<Utc>) -> Table {
    let read: Vec<Result<Playbook, String>> = objects.iter().map(typed).collect();
    let usable = read.iter().flatten().filter_map(|playbook| evenkeel_playbook::from_resource(playbook).ok());
    // What two of them are to each other is told of both.
    let usable: Vec<_> = usable.collect();
    let mut together: BTreeMap<String, String> = BTreeMap::new();
    for problem in evenkeel_playbook::check(&usable) {
        together.entry(problem.file.clone()).or_insert(problem.message);
    }
    let mut table = Table::new(&["NAME", "PRIORITY", "SETTLE", "FOR", "STATE", "AGE"]);
    for (object, read) in objects.iter().zip(read) {
        let spec: Option<&PlaybookSpec> = read.as_ref().ok().map(|playbook| &playbook.spec);
        let wrong = match &read {
            Ok(playbook) => match evenkeel_playbook::from_resource(playbook) {
                Ok(loaded) => together.get(loaded.source.file()).cloned(),
                Err(problems) => problems.first().map(|problem| problem.message.clone()),
            },
            Err(reason) => Some(reason.clone()),
        };
        table.row([
            (object.name_any(), Tone::Plain),
            (spec.map(|spec| spec.priority.to_string()).unwrap_or_default(), Tone::Plain),
            (spec.map(|spec| spec.settle.to_string()).unwrap_or_default(), Tone::Plain),
            (spec.map(|spec| few(spec.matches.signals.iter().map(String::as_str), 3)).unwrap_or_default(), Tone::Plain),
            state(wrong, "not used"),
            (age(object, now), Tone::Plain),
        ]);
    }
    table
}

fn table_of_policies(objects: &[DynamicObject], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["NAME", "MODE", "NAMESPACES", "ACTIONS", "STATE", "AGE"]);
    for object in objects {
        let read = typed::<ActionPolicy>(object);
        let spec: Option<&ActionPolicySpec> = read.as_ref().ok().map(|policy| &policy.spec);
        let finding = |spec| evenkeel_policy::check(spec).into_iter().next();
        let wrong = match (&read, spec.and_then(finding)) {
            (Err(reason), _) => Some(reason.clone()),
            (Ok(_), finding) => finding.map(|finding| format!("{}: {}", finding.path, finding.message)),
        };
        let actions = spec.into_iter().flat_map(|spec| &spec.actions).map(|rule| rule.action.as_str());
        let actions: BTreeSet<&str> = actions.collect();
        table.row([
            (object.name_any(), Tone::Plain),
            (spec.map(|spec| format!("{:?}", spec.mode)).unwrap_or_default(), Tone::Plain),
            (
                spec.map(|spec| few(spec.matches.namespaces.iter().map(String::as_str), 3)).unwrap_or_default(),
                Tone::Plain,
            ),
            (few(actions.into_iter(), 6), Tone::Plain),
            match (wrong, read.as_ref().ok().and_then(unenforceable)) {
                (None, Some(state)) => state,
                // What can't be read denies what it might be about.
                (wrong, _) => state(wrong, "denies"),
            },
            (age(object, now), Tone::Plain),
        ]);
    }
    table
}

/// What a gateway found amiss of a policy as it is now.
fn unenforceable(policy: &ActionPolicy) -> Option<(String, Tone)> {
    let conditions = &policy.status.as_ref()?.conditions;
    let found = conditions
        .iter()
        .find(|it| it.about == StatusCondition::ENFORCEABLE && it.observed_generation == policy.metadata.generation)?;
    match found.status {
        ConditionStatus::True => None,
        ConditionStatus::False => Some((format!("not enforceable: {}", found.message), Tone::Bad)),
        ConditionStatus::Unknown => Some((format!("in use; {}", found.message), Tone::Busy)),
    }
}

fn typed<K: DeserializeOwned>(object: &DynamicObject) -> Result<K, String> {
    let value = serde_json::to_value(object).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// The first ones, and how many more.
fn few<'a>(words: impl ExactSizeIterator<Item = &'a str>, most: usize) -> String {
    let more = words.len().saturating_sub(most);
    let shown: Vec<&str> = words.take(most).collect();
    if more == 0 { shown.join(" ") } else { format!("{} +{more}", shown.join(" ")) }
}

fn state(wrong: Option<String>, instead: &str) -> (String, Tone) {
    match wrong {
        None => ("in use".to_owned(), Tone::Good),
        Some(reason) => (format!("{instead}: {reason}"), Tone::Bad),
    }
}

fn age(object: &DynamicObject, now: DateTime<Utc>) -> String {
    let created = object.creation_timestamp().and_then(|at| DateTime::from_timestamp(at.0.as_second(), 0));
    created.map(|at| output::age(at, now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    fn shipped(path: &str) -> DynamicObject {
        let text = std::fs::read_to_string(format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let mut object: Value = serde_saphyr::from_str(&text).unwrap();
        object["metadata"]["creationTimestamp"] = "2026-01-05T08:00:00Z".into();
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_faulty_playbook_does_not_list_like_a_good_one() {
        let good = shipped("playbooks/bad-rollout.yaml");
        let mut faulty = good.clone();
        faulty.metadata.name = Some("faulty".to_owned());
        faulty.data["spec"]["when"][0]["fact"] = "recent.podTemplateChange".into();
        let mut other = good.clone();
        other.metadata.name = Some("of-another-version".to_owned());
        other.data["spec"]["steps"][0]["do"] = serde_json::json!({"levitate": {}});
        let mut table = table_of_playbooks(&[good, faulty, other], at(10_000)).render(false);
        table.truncate(table.trim_end().len());
        insta::assert_snapshot!(table);
    }

    #[test]
    fn a_policy_lists_its_actions_and_a_faulty_one_what_is_wrong() {
        let good = shipped("policies/audit-only.yaml");
        let mut faulty = good.clone();
        faulty.metadata.name = Some("faulty".to_owned());
        faulty.data["spec"]["windows"]["allow"] = serde_json::json!([]);
        let mut alone = good.clone();
        alone.metadata.name = Some("without-rbac".to_owned());
        alone.metadata.generation = Some(2);
        alone.data["status"]["conditions"] = serde_json::json!([{
            "type": "Enforceable", "status": "False", "observedGeneration": 2, "reason": "RuleMissing",
            "lastTransitionTime": "2026-01-05T08:00:00Z",
            "message": "RBAC lacks create pods/eviction in namespace shop; `evenkeel policy rbac` prints what has to be",
        }]);
        let mut since_changed = alone.clone();
        since_changed.metadata.name = Some("since-changed".to_owned());
        since_changed.metadata.generation = Some(3);
        let all = [good, faulty, alone, since_changed];
        insta::assert_snapshot!(table_of_policies(&all, at(10_000)).render(false).trim_end());
    }
}
