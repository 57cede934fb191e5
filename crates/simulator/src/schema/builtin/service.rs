//! Services: defaults, checks, and the addresses they are given (pkg/apis/core, pkg/registry/core/service).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::container::objects;
use super::or;
use crate::kinds::Kind;
use crate::schema::names;
use crate::schema::problem::{Problem, Problems};
use crate::state::State;
use crate::value::{at, items, set, text, unset};

/// Fills in defaults.
pub(super) fn default(object: &mut Value) {
    let Some(Value::Object(spec)) = object.get_mut("spec") else { return };
    or(spec, "sessionAffinity", "None");
    or(spec, "type", "ClusterIP");
    for port in objects(spec.get_mut("ports")) {
        or(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or(json!(0));
        if port.get("targetPort").is_none_or(|target| target.is_null() || *target == json!(0) || *target == json!("")) {
            port.insert("targetPort".to_owned(), number);
        }
        if port.get("nodePort") == Some(&json!(0)) {
            port.remove("nodePort");
        }
    }
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind == "NodePort" || kind == "LoadBalancer" {
        or(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        or(spec, "allocateLoadBalancerNodePorts", true);
    }
    if kind != "ExternalName" {
        or(spec, "internalTrafficPolicy", "Cluster");
    }
}

/// What a client leaves out of an update stays; `clusterIP` and `clusterIPs` say the same.
pub(super) fn prepare(kind: &Kind, object: &mut Value, old: Option<&Value>) {
    if kind.kind != "Service" || !kind.group.is_empty() {
        return;
    }
    let external = text(object, "/spec/type") == "ExternalName";
    if let Some(old) = old
        && !external
        && text(old, "/spec/type") != "ExternalName"
    {
        for field in ["/spec/clusterIP", "/spec/clusterIPs", "/spec/ipFamilies", "/spec/ipFamilyPolicy"] {
            if at(object, field).is_null() && !at(old, field).is_null() {
                set(object, field, at(old, field).clone());
            }
        }
        if at(object, "/spec/clusterIP") != at(old, "/spec/clusterIP")
            && at(object, "/spec/clusterIPs") == at(old, "/spec/clusterIPs")
        {
            let address = at(object, "/spec/clusterIP").clone();
            set(object, "/spec/clusterIPs", json!([address]));
        }
        for (index, port) in items(old, "/spec/ports").iter().enumerate() {
            let place = format!("/spec/ports/{index}/nodePort");
            let same = at(object, &format!("/spec/ports/{index}/port")) == at(port, "/port");
            if same
                && at(object, &place).is_null()
                && text(object, "/spec/type") != "ClusterIP"
                && !at(port, "/nodePort").is_null()
            {
                set(object, &place, at(port, "/nodePort").clone());
            }
        }
    }
    if external {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            unset(object, &format!("/spec/{field}"));
        }
        return;
    }
    if at(object, "/spec/clusterIPs").is_null() && !text(object, "/spec/clusterIP").is_empty() {
        let address = at(object, "/spec/clusterIP").clone();
        set(object, "/spec/clusterIPs", json!([address]));
    }
    for (field, value) in [("/spec/ipFamilies", json!(["IPv4"])), ("/spec/ipFamilyPolicy", json!("SingleStack"))] {
        if at(object, field).is_null() {
            set(object, field, value);
        }
    }
}

/// What is wrong with a Service.
pub(super) fn validate(object: &Value, old: Option<&Value>, problems: &mut Problems) {
    let (before, now) = (at(old.unwrap_or(&Value::Null), "/spec/clusterIPs/0"), at(object, "/spec/clusterIPs/0"));
    if !before.is_null() && before != now && text(object, "/spec/type") != "ExternalName" {
        let why = "may not change once set";
        problems.push(Problem::invalid("spec.clusterIPs[0]", at(object, "/spec/clusterIPs"), why));
    }
    let ports = items(object, "/spec/ports");
    let kind = text(object, "/spec/type");
    if ports.is_empty() && kind != "ExternalName" && text(object, "/spec/clusterIP") != "None" {
        problems.push(Problem::required("spec.ports", ""));
    }
    if kind == "ExternalName" {
        let name = text(object, "/spec/externalName");
        if name.is_empty() {
            problems.push(Problem::required("spec.externalName", ""));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{index}].{name}");
        let name = text(port, "/name");
        if name.is_empty() && ports.len() > 1 {
            problems.push(Problem::required(field("name"), ""));
        } else if !name.is_empty() {
            problems
                .extend(names::label(name).iter().map(|wrong| Problem::invalid(field("name"), &json!(name), wrong)));
            if !seen.insert(name) {
                problems.push(Problem::duplicate(field("name"), &json!(name)));
            }
        }
        port_number(at(port, "/port"), field("port"), problems);
        protocol(port, field("protocol"), problems);
        if at(port, "/targetPort").is_number() {
            port_number(at(port, "/targetPort"), field("targetPort"), problems);
        }
    }
    super::super::metadata::labels(at(object, "/spec/selector"), "spec.selector", problems);
    if !["None", "ClientIP"].contains(&text(object, "/spec/sessionAffinity")) {
        let (value, supported) = (at(object, "/spec/sessionAffinity"), ["ClientIP", "None"]);
        problems.push(Problem::not_supported("spec.sessionAffinity", value, &supported));
    }
    if !["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"].contains(&kind) {
        let supported = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        problems.push(Problem::not_supported("spec.type", &json!(kind), &supported));
    }
}

/// A port that is none.
pub(super) fn port_number(port: &Value, field: String, problems: &mut Problems) {
    if !port.as_i64().is_some_and(|number| (1..=65535).contains(&number)) {
        let port = if port.is_null() { &json!(0) } else { port };
        problems.push(Problem::invalid(field, port, "must be between 1 and 65535, inclusive"));
    }
}

/// A protocol that is none.
pub(super) fn protocol(port: &Value, field: String, problems: &mut Problems) {
    if !["TCP", "UDP", "SCTP"].contains(&text(port, "/protocol")) {
        problems.push(Problem::not_supported(field, at(port, "/protocol"), &["SCTP", "TCP", "UDP"]));
    }
}

/// The addresses of Services that there are.
fn addresses(state: &State) -> BTreeSet<String> {
    let services = state.store.of(&"services".into());
    let addresses = services.map(|(_, service)| text(service, "/spec/clusterIP").to_owned());
    addresses.filter(|address| !address.is_empty() && address != "None").collect()
}

/// Gives a Service its address, and its node ports: the lowest that are free, in 10.96.0.0/16 and from 30000.
pub(crate) fn allocate(state: &State, object: &mut Value) -> Problems {
    let mut problems = Problems::new();
    if text(object, "/spec/type") != "ExternalName" {
        let taken = addresses(state);
        let asked = text(object, "/spec/clusterIP").to_owned();
        if asked.is_empty() {
            // The first 256 are kept for who asks for one, as the API server keeps the lower part of its range.
            let free = (256_u32..65_535).map(|number| format!("10.96.{}.{}", number / 256, number % 256));
            match free.into_iter().find(|address| !taken.contains(address)) {
                Some(address) => {
                    set(object, "/spec/clusterIP", json!(address));
                    set(object, "/spec/clusterIPs", json!([address]));
                }
                None => problems.push(Problem::forbidden("spec.clusterIPs", "no address is free")),
            }
        } else if taken.contains(&asked) {
            let why = format!("failed to allocate IP {asked}: provided IP is already allocated");
            problems.push(Problem::invalid("spec.clusterIPs", at(object, "/spec/clusterIPs"), &why));
        }
    }
    if ["NodePort", "LoadBalancer"].contains(&text(object, "/spec/type")) {
        node_ports(state, object, &mut problems);
    }
    problems
}

fn node_ports(state: &State, object: &mut Value, problems: &mut Problems) {
    let services = state.store.of(&"services".into());
    let mut taken: BTreeSet<i64> = services
        .flat_map(|(_, service)| items(service, "/spec/ports").iter().filter_map(|port| at(port, "/nodePort").as_i64()))
        .collect();
    for index in 0..items(object, "/spec/ports").len() {
        let place = format!("/spec/ports/{index}/nodePort");
        match at(object, &place).as_i64() {
            Some(asked) => {
                if !taken.insert(asked) {
                    let field = format!("spec.ports[{index}].nodePort");
                    problems.push(Problem::invalid(field, &json!(asked), "provided port is already allocated"));
                }
            }
            None => {
                if let Some(free) = (30_000..32_768).find(|port| !taken.contains(port)) {
                    taken.insert(free);
                    set(object, &place, json!(free));
                }
            }
        }
    }
}
