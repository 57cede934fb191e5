//! Which nodes a pod may go to: the default scheduler's filters, in their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::api::LabelSelector;
use crate::controllers::Cluster;
use crate::quantity;
use crate::value::{at, integer, is_true, items, name, namespace, text};

/// Why a node will not do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reason {
    pub(crate) text: String,
    /// Other pods' leaving would not change it.
    pub(crate) for_good: bool,
}

/// A node with what is taken of it.
#[derive(Debug)]
pub(crate) struct Seat {
    node: Arc<Value>,
    allocatable: BTreeMap<String, i128>,
    taken: BTreeMap<String, i128>,
    pods: Vec<Arc<Value>>,
}

/// All nodes.
#[derive(Debug)]
pub(crate) struct Seats(BTreeMap<String, Seat>);

/// What a pod asks for, in thousandths: the greater of its containers together and its greatest init container.
pub(crate) fn requests(pod: &Value) -> BTreeMap<String, i128> {
    let of = |container: &Value| -> BTreeMap<String, i128> {
        let all = at(container, "/resources/requests").as_object().into_iter().flatten();
        all.filter_map(|(name, value)| Some((name.clone(), amount(value)?))).collect()
    };
    let mut sum: BTreeMap<String, i128> = BTreeMap::new();
    let sidecars = items(pod, "/spec/initContainers").iter().filter(|it| text(it, "/restartPolicy") == "Always");
    for container in items(pod, "/spec/containers").iter().chain(sidecars) {
        for (name, value) in of(container) {
            *sum.entry(name).or_default() += value;
        }
    }
    for container in items(pod, "/spec/initContainers").iter().filter(|it| text(it, "/restartPolicy") != "Always") {
        for (name, value) in of(container) {
            let most = sum.entry(name).or_default();
            *most = (*most).max(value);
        }
    }
    for (name, value) in at(pod, "/spec/overhead").as_object().into_iter().flatten() {
        *sum.entry(name.clone()).or_default() += amount(value).unwrap_or_default();
    }
    sum
}

fn amount(value: &Value) -> Option<i128> {
    value.as_str().and_then(quantity::milli).or_else(|| value.as_i64().map(|whole| i128::from(whole) * 1000))
}

impl Seats {
    pub(crate) fn of(cluster: &Cluster<'_>) -> Self {
        let nodes = cluster.list("nodes").into_iter().map(|node| {
            let allocatable = at(&node, "/status/allocatable").as_object().into_iter().flatten();
            let allocatable = allocatable.filter_map(|(name, value)| Some((name.clone(), amount(value)?))).collect();
            (name(&node).to_owned(), Seat { node, allocatable, taken: BTreeMap::new(), pods: Vec::new() })
        });
        let mut seats = Self(nodes.collect());
        for pod in cluster.list("pods") {
            let node = text(&pod, "/spec/nodeName").to_owned();
            if !node.is_empty() && !matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed") {
                seats.take(&node, &pod);
            }
        }
        seats
    }

    pub(crate) fn take(&mut self, node: &str, pod: &Arc<Value>) {
        if let Some(seat) = self.0.get_mut(node) {
            for (name, value) in requests(pod) {
                *seat.taken.entry(name).or_default() += value;
            }
            seat.pods.push(Arc::clone(pod));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Seat> {
        self.0.values()
    }

    /// On how many nodes nothing would be won by other pods' leaving.
    pub(crate) fn unhelpful(&self, cluster: &Cluster<'_>, pod: &Value) -> usize {
        self.iter().filter(|seat| self.refuse(cluster, pod, seat).iter().any(|reason| reason.for_good)).count()
    }

    /// Why a node will not do; the first filter that refuses speaks.
    pub(crate) fn refuse(&self, cluster: &Cluster<'_>, pod: &Value, seat: &Seat) -> Vec<Reason> {
        let one = |text: &str, for_good: bool| vec![Reason { text: text.to_owned(), for_good }];
        let node = &seat.node;
        if is_true(node, "/spec/unschedulable") && !tolerates(pod, "node.kubernetes.io/unschedulable", "", "NoSchedule")
        {
            return one("node(s) were unschedulable", true);
        }
        let taints = items(node, "/spec/taints").iter().filter(|taint| text(taint, "/effect") != "PreferNoSchedule");
        let untolerated =
            |taint: &&Value| !tolerates(pod, text(taint, "/key"), text(taint, "/value"), text(taint, "/effect"));
        if taints.into_iter().any(|taint| untolerated(&taint)) {
            return one("node(s) had untolerated taint(s)", true);
        }
        if !affinity_matches_node(pod, node) {
            return one("node(s) didn't match Pod's node affinity/selector", true);
        }
        if !seat.has_ports(pod) {
            return one("node(s) didn't have free ports for the requested pod ports", false);
        }
        let lacks = seat.lacks(pod);
        if !lacks.is_empty() {
            return lacks;
        }
        if let Some(why) = crate::controllers::volumes::conflict(cluster, pod, node) {
            return one(why, true);
        }
        if !self.spreads(pod, seat) {
            return one("node(s) didn't match pod topology spread constraints", false);
        }
        self.neighbours(pod, seat)
    }

    fn topology<'s>(&'s self, seat: &Seat, key: &str) -> Vec<&'s Seat> {
        let label = |seat: &Seat| seat.label(key).map(str::to_owned);
        let Some(here) = label(seat) else { return Vec::new() };
        self.iter().filter(|other| label(other).is_some_and(|there| there == here)).collect()
    }

    fn neighbours(&self, pod: &Value, seat: &Seat) -> Vec<Reason> {
        let one = |text: &str, for_good: bool| vec![Reason { text: text.to_owned(), for_good }];
        let terms = |pod: &Value, kind: &str| {
            items(pod, &format!("/spec/affinity/{kind}/requiredDuringSchedulingIgnoredDuringExecution")).to_vec()
        };
        for term in terms(pod, "podAffinity") {
            let near = self.topology(seat, text(&term, "/topologyKey"));
            let found = near.iter().any(|other| other.pods.iter().any(|there| selects(&term, pod, there)));
            // The first of a group that wants to be together may go anywhere.
            let first = selects(&term, pod, pod)
                && !self.iter().any(|it| it.pods.iter().any(|there| selects(&term, pod, there)));
            if !found && (!first || near.is_empty()) {
                return one("node(s) didn't match pod affinity rules", true);
            }
        }
        for term in terms(pod, "podAntiAffinity") {
            let near = self.topology(seat, text(&term, "/topologyKey"));
            if near.iter().any(|other| other.pods.iter().any(|there| selects(&term, pod, there))) {
                return one("node(s) didn't match pod anti-affinity rules", false);
            }
        }
        for other in self.iter() {
            for there in &other.pods {
                for term in terms(there, "podAntiAffinity") {
                    let key = text(&term, "/topologyKey");
                    let near = seat.label(key).is_some() && seat.label(key) == other.label(key);
                    if near && selects(&term, there, pod) {
                        return one("node(s) didn't satisfy existing pods anti-affinity rules", false);
                    }
                }
            }
        }
        Vec::new()
    }

    fn spreads(&self, pod: &Value, seat: &Seat) -> bool {
        let hard = items(pod, "/spec/topologySpreadConstraints")
            .iter()
            .filter(|it| text(it, "/whenUnsatisfiable") != "ScheduleAnyway");
        for constraint in hard {
            let key = text(constraint, "/topologyKey");
            let Some(here) = seat.label(key) else { return false };
            let selector = LabelSelector::of(at(constraint, "/labelSelector"));
            let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
            for other in self.iter().filter(|other| affinity_matches_node(pod, &other.node)) {
                let Some(domain) = other.label(key) else { continue };
                let there = other
                    .pods
                    .iter()
                    .filter(|it| namespace(it) == namespace(pod) && selector.selects(at(it, "/metadata/labels")));
                *counts.entry(domain).or_default() += i64::try_from(there.count()).unwrap_or(i64::MAX);
            }
            let least = counts.values().min().copied().unwrap_or_default();
            let own = i64::from(selector.selects(at(pod, "/metadata/labels")));
            let count = counts.get(here).copied().unwrap_or_default();
            if count + own - least > integer(constraint, "/maxSkew").unwrap_or(1) {
                return false;
            }
        }
        true
    }
}

/// Whether a pod affinity term of `of` selects `other`.
fn selects(term: &Value, of: &Value, other: &Value) -> bool {
    let namespaces = items(term, "/namespaces");
    let here = match (namespaces.is_empty(), at(term, "/namespaceSelector").is_null()) {
        (true, true) => namespace(other) == namespace(of),
        (true, false) => true,
        (false, _) => namespaces.iter().any(|ns| ns.as_str() == Some(namespace(other))),
    };
    here && !at(term, "/labelSelector").is_null()
        && LabelSelector::of(at(term, "/labelSelector")).selects(at(other, "/metadata/labels"))
}

impl Seat {
    pub(crate) fn name(&self) -> &str {
        name(&self.node)
    }

    fn label(&self, key: &str) -> Option<&str> {
        at(&self.node, "/metadata/labels").get(key).and_then(Value::as_str)
    }

    /// What the node lacks of what the pod asks for.
    fn lacks(&self, pod: &Value) -> Vec<Reason> {
        let mut lacks = Vec::new();
        let most = self.allocatable.get("pods").copied().unwrap_or_default() / 1000;
        if i128::try_from(self.pods.len()).unwrap_or_default() + 1 > most {
            lacks.push(Reason { text: "Too many pods".to_owned(), for_good: most == 0 });
        }
        for (resource, wanted) in requests(pod) {
            let has = self.allocatable.get(&resource).copied().unwrap_or_default();
            let taken = self.taken.get(&resource).copied().unwrap_or_default();
            if wanted > 0 && wanted > has - taken {
                lacks.push(Reason { text: format!("Insufficient {resource}"), for_good: wanted > has });
            }
        }
        lacks
    }

    fn has_ports(&self, pod: &Value) -> bool {
        fn ports(pod: &Value) -> Vec<(i64, String)> {
            let containers = items(pod, "/spec/containers").iter();
            let ports = containers.flat_map(|container| items(container, "/ports"));
            let with = |port: &Value| integer(port, "/hostPort").map(|it| (it, text(port, "/protocol").to_owned()));
            ports.filter_map(with).collect()
        }
        let wanted = ports(pod);
        wanted.is_empty() || !self.pods.iter().any(|other| ports(other).iter().any(|port| wanted.contains(port)))
    }

    /// How full it would be with the pod, in thousandths: the fuller of CPU and memory, then the number of pods.
    pub(crate) fn load_with(&self, pod: &Value) -> (i128, usize) {
        let requests = requests(pod);
        let share = |resource: &str| {
            let has = self.allocatable.get(resource).copied().unwrap_or_default().max(1);
            let wanted = requests.get(resource).copied().unwrap_or_default();
            (self.taken.get(resource).copied().unwrap_or_default() + wanted) * 1000 / has
        };
        (share("cpu") + share("memory"), self.pods.len())
    }

    /// How many PreferNoSchedule taints the pod doesn't tolerate.
    pub(crate) fn prefers_not(&self, pod: &Value) -> usize {
        let taints =
            items(&self.node, "/spec/taints").iter().filter(|taint| text(taint, "/effect") == "PreferNoSchedule");
        taints.filter(|taint| !tolerates(pod, text(taint, "/key"), text(taint, "/value"), "PreferNoSchedule")).count()
    }
}

/// Whether the pod tolerates a taint.
pub(crate) fn tolerates(pod: &Value, key: &str, value: &str, effect: &str) -> bool {
    items(pod, "/spec/tolerations").iter().any(|toleration| tolerated_by(toleration, key, value, effect))
}

/// Whether one toleration tolerates a taint.
pub(crate) fn tolerated_by(toleration: &Value, key: &str, value: &str, effect: &str) -> bool {
    let wanted = text(toleration, "/effect");
    if !wanted.is_empty() && wanted != effect {
        return false;
    }
    let wanted = text(toleration, "/key");
    if !wanted.is_empty() && wanted != key {
        return false;
    }
    text(toleration, "/operator") == "Exists" || (!wanted.is_empty() && text(toleration, "/value") == value)
}

/// Whether the pod's node selector and required node affinity match a node.
pub(crate) fn affinity_matches_node(pod: &Value, node: &Value) -> bool {
    let labels = at(node, "/metadata/labels");
    let selector = at(pod, "/spec/nodeSelector").as_object().into_iter().flatten();
    if !selector.into_iter().all(|(key, value)| labels.get(key) == Some(value)) {
        return false;
    }
    let terms = at(pod, "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms");
    terms.as_array().is_none_or(|terms| terms.iter().any(|term| node_term(term, node)))
}

/// Whether one node selector term matches a node.
pub(crate) fn node_term(term: &Value, node: &Value) -> bool {
    let labels = at(node, "/metadata/labels");
    let (expressions, fields) = (items(term, "/matchExpressions"), items(term, "/matchFields"));
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|it| requirement(it, labels.get(text(it, "/key")).and_then(Value::as_str)))
        && fields.iter().all(|it| requirement(it, (text(it, "/key") == "metadata.name").then(|| name(node))))
}

fn requirement(requirement: &Value, found: Option<&str>) -> bool {
    let mut values = items(requirement, "/values").iter().filter_map(Value::as_str);
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    match text(requirement, "/operator") {
        "In" => found.is_some_and(|found| values.any(|value| value == found)),
        "NotIn" => found.is_none_or(|found| values.all(|value| value != found)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => number(found).zip(number(values.next())).is_some_and(|(found, wanted)| found > wanted),
        "Lt" => number(found).zip(number(values.next())).is_some_and(|(found, wanted)| found < wanted),
        _ => false,
    }
}
