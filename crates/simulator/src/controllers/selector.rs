//! Label selectors.

use serde_json::Value;

use crate::value::{at, items, text};

/// Whether a `LabelSelector` selects these labels. None selects nothing, an empty one everything.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    if selector.is_null() {
        return false;
    }
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let all_equal = at(selector, "/matchLabels")
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| label(key) == value.as_str()));
    all_equal && items(selector, "/matchExpressions").iter().all(|expression| holds(expression, &label))
}

fn holds<'a>(expression: &Value, label: &impl Fn(&str) -> Option<&'a str>) -> bool {
    let found = label(text(expression, "/key"));
    let among = || items(expression, "/values").iter().any(|value| value.as_str() == found);
    match text(expression, "/operator") {
        "In" => found.is_some() && among(),
        "NotIn" => found.is_none() || !among(),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        _ => false,
    }
}

/// Whether a selector selects an object by its labels.
pub(crate) fn selects_object(selector: &Value, object: &Value) -> bool {
    selects(selector, at(object, "/metadata/labels"))
}

/// A selector as Kubernetes' own messages print one of labels alone: `&LabelSelector{MatchLabels:map[…` is
/// Go's printing of the type.
pub(super) fn printed(selector: &Value) -> String {
    let labels = at(selector, "/matchLabels").as_object().map(|labels| {
        let mut labels: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or_default())).collect();
        labels.sort();
        labels.concat()
    });
    let expressions = items(selector, "/matchExpressions").iter().map(|expression| {
        let values: Vec<_> = items(expression, "/values").iter().filter_map(Value::as_str).collect();
        let (key, operator) = (text(expression, "/key"), text(expression, "/operator"));
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{}],}},", values.join(" "))
    });
    let expressions: String = expressions.collect();
    let labels = labels.unwrap_or_default();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::selects;

    #[test]
    fn expressions_and_labels_must_all_hold() {
        let selector = json!({
            "matchLabels": {"app": "cart"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["web", "api"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "zone", "operator": "NotIn", "values": ["z"]},
            ],
        });
        assert!(selects(&selector, &json!({"app": "cart", "tier": "api"})));
        assert!(!selects(&selector, &json!({"app": "cart", "tier": "api", "old": ""})));
        assert!(!selects(&selector, &json!({"app": "cart", "tier": "db"})));
        assert!(!selects(&selector, &json!({"tier": "api"})));
        assert!(!selects(&selector, &json!({"app": "cart", "tier": "api", "zone": "z"})));
    }

    #[test]
    fn an_empty_selector_selects_all_and_none_nothing() {
        assert!(selects(&json!({}), &json!({"a": "b"})));
        assert!(!selects(&json!(null), &json!({"a": "b"})));
    }
}
