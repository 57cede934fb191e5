//! On which nodes a DaemonSet's pods run.

use serde_json::{Value, json};

use crate::value::{at, items, name, set, text};

/// What becomes of a daemon's pod on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One must be there.
    Run,
    /// One that is there stays, none comes.
    Stay,
    /// None must be there.
    Leave,
}

/// What every daemon's pod tolerates.
const TOLERATED: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// Pins a pod to a node by affinity, for the scheduler to bind, and gives it what daemons tolerate.
pub(super) fn pin(pod: &mut Value, node: &str) {
    const REQUIRED: &str =
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let field = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
    let mut terms: Vec<Value> = items(pod, REQUIRED).to_vec();
    for term in &mut terms {
        set(term, "/matchFields", field.clone());
    }
    if terms.is_empty() {
        terms.push(json!({"matchFields": field}));
    }
    set(pod, REQUIRED, Value::Array(terms));
    let tolerations = tolerations(pod);
    set(pod, "/spec/tolerations", Value::Array(tolerations));
}

fn tolerations(pod: &Value) -> Vec<Value> {
    let mut all = items(pod, "/spec/tolerations").to_vec();
    let host = at(pod, "/spec/hostNetwork").as_bool().unwrap_or(false);
    let network = host.then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    for (key, effect) in TOLERATED.iter().copied().chain(network) {
        let toleration = json!({"key": key, "operator": "Exists", "effect": effect});
        if !all.contains(&toleration) {
            all.push(toleration);
        }
    }
    all
}

/// The node that a daemon's pod is on, or is pinned to.
pub(super) fn target(pod: &Value) -> &str {
    let node = text(pod, "/spec/nodeName");
    if !node.is_empty() {
        return node;
    }
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let fields = items(pod, terms).iter().flat_map(|term| items(term, "/matchFields"));
    let mut names = fields.filter(|field| text(field, "/key") == "metadata.name");
    names.next().and_then(|field| items(field, "/values").first()).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a daemon's pod runs on a node.
pub(super) fn verdict(daemon: &Value, node: &Value) -> Verdict {
    let template = at(daemon, "/spec/template");
    let pinned = text(template, "/spec/nodeName");
    if (!pinned.is_empty() && pinned != name(node)) || !is_selected(template, node) {
        return Verdict::Leave;
    }
    let tolerations = tolerations(template);
    let untolerated = |effect: &str| {
        let mut taints = items(node, "/spec/taints").iter().filter(|taint| text(taint, "/effect") == effect);
        taints.any(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
    };
    match (untolerated("NoExecute"), untolerated("NoSchedule")) {
        (true, _) => Verdict::Leave,
        (false, true) => Verdict::Stay,
        (false, false) => Verdict::Run,
    }
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let same = |field: &str| {
        let wanted = text(toleration, field);
        wanted.is_empty() || wanted == text(taint, field)
    };
    same("/effect")
        && same("/key")
        && (text(toleration, "/operator") == "Exists" || text(toleration, "/value") == text(taint, "/value"))
}

fn is_selected(template: &Value, node: &Value) -> bool {
    let labels = at(node, "/metadata/labels");
    let selected = at(template, "/spec/nodeSelector")
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)));
    let required = at(template, "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
    let terms = items(required, "/nodeSelectorTerms");
    selected && (required.is_null() || terms.iter().any(|term| matches(term, node)))
}

fn matches(term: &Value, node: &Value) -> bool {
    let (expressions, fields) = (items(term, "/matchExpressions"), items(term, "/matchFields"));
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |key: &str| at(node, "/metadata/labels").get(key).and_then(Value::as_str);
    let field = |key: &str| (key == "metadata.name").then(|| name(node));
    expressions.iter().all(|expression| holds(expression, label(text(expression, "/key"))))
        && fields.iter().all(|expression| holds(expression, field(text(expression, "/key"))))
}

fn holds(expression: &Value, found: Option<&str>) -> bool {
    let values = items(expression, "/values");
    let among = values.iter().any(|value| value.as_str() == found);
    let number = || found?.parse::<i64>().ok();
    let bound = || values.first()?.as_str()?.parse::<i64>().ok();
    match text(expression, "/operator") {
        "In" => found.is_some() && among,
        "NotIn" => found.is_none() || !among,
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => number().zip(bound()).is_some_and(|(number, bound)| number > bound),
        "Lt" => number().zip(bound()).is_some_and(|(number, bound)| number < bound),
        _ => false,
    }
}
