//! The simulator, by the recordings.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Golden, Group, differences, simulated};

fn recorded(groups: &[Group]) -> Golden {
    Golden::load(groups.iter().map(|group| group.name.as_str())).unwrap()
}

#[test]
fn the_simulator_does_what_a_real_cluster_did() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let groups = Group::all().unwrap();
    let mut found = Golden::default();
    for group in &groups {
        for behaviour in &group.behaviours {
            let transcript = simulated(behaviour).unwrap_or_else(|error| json!({"broken": format!("{error:#}")}));
            found.0.entry(group.name.clone()).or_default().insert(behaviour.name.clone(), transcript);
        }
    }
    let told = differences(&recorded(&groups), &found);
    assert!(told.is_empty(), "{} behaviours differ:\n{}", told.len(), told.join("\n"));
}

#[test]
fn there_are_at_least_150_behaviours_and_each_was_recorded_whole() {
    let groups = Group::all().unwrap();
    let golden = recorded(&groups);
    assert!(groups.iter().map(|group| group.behaviours.len()).sum::<usize>() >= 150);
    for group in &groups {
        for behaviour in &group.behaviours {
            let transcript = &golden.0[&group.name][&behaviour.name];
            assert!(transcript.as_array().is_some_and(|lines| !lines.is_empty()), "{}: {}", group.name, behaviour.name);
        }
    }
}

/// Each value in a recording, changed by itself.
fn changed(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(list) => {
            let one = |number: usize, other: Value| {
                let mut list = list.clone();
                list[number] = other;
                Value::Array(list)
            };
            (0..list.len())
                .flat_map(|number| changed(&list[number]).into_iter().map(move |it| one(number, it)))
                .collect()
        }
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(field, value)| changed(value).into_iter().map(move |it| (field.clone(), it)))
            .map(|(field, it)| {
                let mut fields = fields.clone();
                fields.insert(field, it);
                Value::Object(fields)
            })
            .collect(),
        Value::String(text) => vec![json!(format!("{text}.")), Value::Null],
        Value::Number(number) => vec![json!(number.as_i64().unwrap_or_default() + 1)],
        _ => vec![json!("something else")],
    }
}

#[test]
fn a_recording_that_is_changed_anywhere_fails() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let groups = Group::all().unwrap();
    let group = groups.first().unwrap();
    let golden = recorded(&groups);
    for behaviour in group.behaviours.iter().take(3) {
        let transcript = simulated(behaviour).unwrap();
        let of = |transcript: Value| {
            Golden(BTreeMap::from([(group.name.clone(), BTreeMap::from([(behaviour.name.clone(), transcript)]))]))
        };
        let found = of(transcript);
        let real = golden.0[&group.name][&behaviour.name].clone();
        assert_eq!(differences(&of(real.clone()), &found), [] as [String; 0]);
        for other in changed(&real) {
            let told = differences(&of(other.clone()), &found);
            assert_eq!(told.len(), 1, "{other}");
            assert!(told[0].contains(&behaviour.name), "{told:?}");
        }
    }
}
