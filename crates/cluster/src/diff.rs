//! What changes between two values, in lines that people read.

use std::collections::BTreeSet;

use serde_json::Value;

/// Lines at most; what is more is counted in a last line.
const MAX_LINES: usize = 40;
/// Bytes of a value that are shown.
const MAX_SHOWN: usize = 120;

/// One line a changed field: `spec.template.spec.containers[web].image: web:2 → web:1`. Items of
/// lists go by their name. Values of environment variables are not shown: they may be secrets.
pub fn changed_lines(path: &str, before: Option<&Value>, after: Option<&Value>) -> Vec<String> {
    let mut lines = Vec::new();
    compare(path, before, after, &mut lines);
    if lines.len() > MAX_LINES {
        let more = lines.len() - MAX_LINES;
        lines.truncate(MAX_LINES);
        lines.push(format!("… and {more} more"));
    }
    lines
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, lines: &mut Vec<String>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for name in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                compare(&format!("{path}{}", field(path, name)), a.get(name), b.get(name), lines);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => match (names(a), names(b)) {
            (Some(in_a), Some(in_b)) => {
                for name in in_a.iter().chain(&in_b).collect::<BTreeSet<_>>() {
                    let find = |names: &[&str], items: &'_ [Value]| {
                        names.iter().position(|it| it == name).and_then(|at| items.get(at).cloned())
                    };
                    let (a, b) = (find(&in_a, a), find(&in_b, b));
                    compare(&format!("{path}[{name}]"), a.as_ref(), b.as_ref(), lines);
                }
            }
            _ => lines.push(line(path, before, after)),
        },
        _ => lines.push(line(path, before, after)),
    }
}

/// Kubernetes' own keys contain dots and slashes; those go in brackets.
fn field(path: &str, name: &str) -> String {
    match name {
        name if name.contains(['.', '/']) => format!("[{name}]"),
        name if path.is_empty() => name.to_owned(),
        name => format!(".{name}"),
    }
}

/// The names of all items, when each has one and no two are the same.
fn names(items: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = items.iter().map(|item| item.get("name")?.as_str()).collect::<Option<_>>()?;
    (names.iter().collect::<BTreeSet<_>>().len() == names.len()).then_some(names)
}

fn line(path: &str, before: Option<&Value>, after: Option<&Value>) -> String {
    if path.contains(".env[") || path.ends_with(".env") {
        return match (before, after) {
            (None, _) => format!("{path}: set"),
            (_, None) => format!("{path}: removed"),
            _ => format!("{path}: changed"),
        };
    }
    format!("{path}: {} → {}", shown(before), shown(after))
}

fn shown(value: Option<&Value>) -> String {
    let mut text = match value {
        None => return "(none)".to_owned(),
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(value) => value.to_string(),
    };
    if text.contains("\"env\"") {
        return "(not shown: holds environment variables)".to_owned();
    }
    if text.len() > MAX_SHOWN {
        let end = (0..=MAX_SHOWN).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_new_image_is_one_line() {
        let template =
            |image: &str| json!({"spec": {"containers": [{"name": "side"}, {"name": "web", "image": image}]}});
        assert_eq!(
            changed_lines("spec.template", Some(&template("web:2")), Some(&template("web:1"))),
            ["spec.template.spec.containers[web].image: web:2 → web:1"]
        );
    }

    #[test]
    fn values_of_environment_variables_are_not_shown() {
        let pod = |value: &str| json!({"containers": [{"name": "c", "env": [{"name": "PASSWORD", "value": value}]}]});
        let lines = changed_lines("spec", Some(&pod("hunter2")), Some(&pod("hunter3")));
        assert_eq!(lines, ["spec.containers[c].env[PASSWORD].value: changed"]);
        let lines = changed_lines("spec", Some(&json!({"containers": []})), Some(&pod("hunter2")));
        assert!(!lines.concat().contains("hunter2"), "{lines:?}");
    }

    #[test]
    fn what_came_and_went_is_told() {
        let lines = changed_lines("a", Some(&json!({"x": 1, "k8s.io/y": "b"})), Some(&json!({"z": {"deep": true}})));
        assert_eq!(lines, ["a[k8s.io/y]: b → (none)", "a.x: 1 → (none)", "a.z: (none) → {\"deep\":true}"]);
    }

    #[test]
    fn no_change_is_no_line_and_many_are_bounded() {
        assert!(changed_lines("a", Some(&json!([1])), Some(&json!([1]))).is_empty());
        let many: serde_json::Map<String, Value> = (0..100).map(|n| (format!("f{n:03}"), json!(n))).collect();
        let lines = changed_lines("", Some(&json!({})), Some(&Value::Object(many)));
        assert_eq!(lines.last().map(String::as_str), Some("… and 60 more"));
    }
}
