//! Label selectors and field selectors.

use serde_json::Value;

use crate::failure::Failure;
use crate::kinds::{Kind, Resource};
use crate::value::{at, is_true, items, text};

/// A label selector: all requirements must hold. Without any it selects everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl LabelSelector {
    /// As it stands in a query: `app=cart,tier in (web, api),!canary`.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let unable =
            || Failure::bad_request(format!("unable to parse requirement: found '{text}', expected: a label selector"));
        let mut requirements = Vec::new();
        for part in outside_parentheses(text).into_iter().map(str::trim).filter(|part| !part.is_empty()) {
            requirements.push(requirement(part).ok_or_else(unable)?);
        }
        Ok(Self(requirements))
    }

    /// A `LabelSelector` object: `matchLabels` and `matchExpressions`.
    pub(crate) fn of(selector: &Value) -> Self {
        let mut requirements = Vec::new();
        for (key, value) in at(selector, "/matchLabels").as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement { key: key.clone(), test: Test::In(vec![value]) });
        }
        for expression in items(selector, "/matchExpressions") {
            let values = items(expression, "/values").iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let test = match text(expression, "/operator") {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                _ => Test::DoesNotExist,
            };
            requirements.push(Requirement { key: text(expression, "/key").to_owned(), test });
        }
        Self(requirements)
    }

    /// A plain map of labels, as Services have it.
    pub(crate) fn of_map(labels: &Value) -> Self {
        let requirement = |(key, value): (&String, &Value)| Requirement {
            key: key.clone(),
            test: Test::In(vec![value.as_str().unwrap_or_default().to_owned()]),
        };
        Self(labels.as_object().into_iter().flatten().map(requirement).collect())
    }

    /// Whether it selects everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object with these labels (a map, or null) is selected.
    pub(crate) fn selects(&self, labels: &Value) -> bool {
        self.0.iter().all(|requirement| {
            let found = labels.get(&requirement.key).and_then(Value::as_str);
            match &requirement.test {
                Test::In(values) => found.is_some_and(|found| values.iter().any(|value| value == found)),
                Test::NotIn(values) => !found.is_some_and(|found| values.iter().any(|value| value == found)),
                Test::Exists => found.is_some(),
                Test::DoesNotExist => found.is_none(),
            }
        })
    }
}

fn outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    for (place, char) in text.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.extend(text.get(from..place));
                from = place + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(from..));
    parts
}

fn requirement(part: &str) -> Option<Requirement> {
    let new = |key: &str, test| {
        let key = key.trim();
        let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        is_key.then(|| Requirement { key: key.to_owned(), test })
    };
    if let Some(key) = part.strip_prefix('!') {
        return new(key, Test::DoesNotExist);
    }
    if let Some((head, values)) = part.split_once('(') {
        let values = values.trim_end().strip_suffix(')')?.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, word) = head.trim_end().rsplit_once(char::is_whitespace)?;
        return match word {
            "in" => new(key, Test::In(values)),
            "notin" => new(key, Test::NotIn(values)),
            _ => None,
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return new(key, Test::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return new(key, Test::In(vec![value.trim().to_owned()]));
    }
    new(part, Test::Exists)
}

/// A field selector: all must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FieldSelector(Vec<(String, String, bool)>);

impl FieldSelector {
    /// As it stands in a query: `involvedObject.name=cart,type!=Normal`. Only fields that the resource
    /// serves for it.
    ///
    /// # Errors
    /// 400.
    pub(super) fn parse(text: &str, kind: &Kind) -> Result<Self, Failure> {
        let mut wanted = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (field, value, true)
            } else {
                let message = format!("invalid selector: '{text}'; can't understand '{part}'");
                return Err(Failure::bad_request(message));
            };
            let resource = kind.resource();
            if !serves(&resource, field) && !kind.selectable.iter().any(|it| it == field) {
                let message = match own_fields(&resource) {
                    Some(_) => format!("field label not supported: {field}"),
                    None => format!(
                        "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    ),
                };
                return Err(Failure::bad_request(message));
            }
            wanted.push((field.to_owned(), value.to_owned(), equal));
        }
        Ok(Self(wanted))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn selects(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, value, equal)| (value_of(object, field) == *value) == *equal)
    }
}

fn serves(resource: &Resource, field: &str) -> bool {
    matches!(field, "metadata.name" | "metadata.namespace")
        || own_fields(resource).is_some_and(|fields| fields.contains(&field))
}

/// What resources serve besides name and namespace.
fn own_fields(resource: &Resource) -> Option<&'static [&'static str]> {
    Some(match resource.as_str() {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "nodes" => &["spec.unschedulable"],
        "namespaces" => &["status.phase"],
        "secrets" => &["type"],
        "replicasets.apps" => &["status.replicas"],
        "jobs.batch" => &["status.successful"],
        "services" => &["spec.clusterIP", "spec.type"],
        _ => return None,
    })
}

/// A field as selectors compare it: as text; what is not there is empty, a boolean false.
fn value_of(object: &Value, field: &str) -> String {
    match field {
        "spec.unschedulable" => return is_true(object, "/spec/unschedulable").to_string(),
        "spec.hostNetwork" => return is_true(object, "/spec/hostNetwork").to_string(),
        "status.successful" => return at(object, "/status/succeeded").as_i64().unwrap_or(0).to_string(),
        "reportingComponent" => return text(object, "/reportingComponent").to_owned(),
        "source" => {
            let source = text(object, "/source/component");
            return if source.is_empty() { text(object, "/reportingComponent") } else { source }.to_owned();
        }
        _ => {}
    }
    let found = field.split('.').try_fold(object, |value, name| value.get(name));
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_selected_as_the_query_says() {
        let labels = json!({"app": "cart", "tier": "web"});
        for (selector, selects) in [
            ("", true),
            ("app=cart", true),
            ("app==cart,tier!=db", true),
            ("app in (cart, web),tier notin (db)", true),
            ("app notin (cart)", false),
            ("!app", false),
            ("!canary,app", true),
            ("canary!=yes", true),
            ("canary=yes", false),
        ] {
            assert_eq!(LabelSelector::parse(selector).unwrap().selects(&labels), selects, "{selector}");
        }
        assert_eq!(LabelSelector::parse("app in cart)").unwrap_err().code, 400);
    }

    #[test]
    fn selectors_of_objects_select_like_the_ones_of_queries() {
        let selector = json!({"matchLabels": {"app": "cart"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["web"]}, {"key": "canary", "operator": "DoesNotExist"}]});
        let selector = LabelSelector::of(&selector);
        assert!(selector.selects(&json!({"app": "cart", "tier": "web"})));
        assert!(!selector.selects(&json!({"app": "cart", "tier": "web", "canary": "1"})));
        assert!(!selector.selects(&Value::Null));
    }
}
