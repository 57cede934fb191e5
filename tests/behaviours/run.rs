//! Plays a story: sends each step's request, and keeps what counts of the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::{Map, Value, json};

use super::case::{Behaviour, Step};
use super::normal::Normal;

/// How long to wait for what must come: no claim about speed, only the end of patience with a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Plural, API root, kind, whether namespaced.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("namespaces", "api/v1", "Namespace", false),
    ("nodes", "api/v1", "Node", false),
    ("persistentvolumes", "api/v1", "PersistentVolume", false),
    ("pods", "api/v1", "Pod", true),
    ("services", "api/v1", "Service", true),
    ("endpoints", "api/v1", "Endpoints", true),
    ("configmaps", "api/v1", "ConfigMap", true),
    ("secrets", "api/v1", "Secret", true),
    ("serviceaccounts", "api/v1", "ServiceAccount", true),
    ("events", "api/v1", "Event", true),
    ("persistentvolumeclaims", "api/v1", "PersistentVolumeClaim", true),
    ("resourcequotas", "api/v1", "ResourceQuota", true),
    ("limitranges", "api/v1", "LimitRange", true),
    ("deployments", "apis/apps/v1", "Deployment", true),
    ("replicasets", "apis/apps/v1", "ReplicaSet", true),
    ("statefulsets", "apis/apps/v1", "StatefulSet", true),
    ("daemonsets", "apis/apps/v1", "DaemonSet", true),
    ("controllerrevisions", "apis/apps/v1", "ControllerRevision", true),
    ("jobs", "apis/batch/v1", "Job", true),
    ("cronjobs", "apis/batch/v1", "CronJob", true),
    ("horizontalpodautoscalers", "apis/autoscaling/v2", "HorizontalPodAutoscaler", true),
    ("poddisruptionbudgets", "apis/policy/v1", "PodDisruptionBudget", true),
    ("endpointslices", "apis/discovery.k8s.io/v1", "EndpointSlice", true),
    ("leases", "apis/coordination.k8s.io/v1", "Lease", true),
    ("priorityclasses", "apis/scheduling.k8s.io/v1", "PriorityClass", false),
    ("networkpolicies", "apis/networking.k8s.io/v1", "NetworkPolicy", true),
    ("ingresses", "apis/networking.k8s.io/v1", "Ingress", true),
    ("playbooks", "apis/evenkeel.dev/v1alpha1", "Playbook", false),
    ("actionpolicies", "apis/evenkeel.dev/v1alpha1", "ActionPolicy", false),
    ("freezes", "apis/evenkeel.dev/v1alpha1", "Freeze", false),
    ("remediations", "apis/evenkeel.dev/v1alpha1", "Remediation", true),
    ("approvals", "apis/evenkeel.dev/v1alpha1", "Approval", true),
    ("ledgers", "apis/evenkeel.dev/v1alpha1", "Ledger", true),
];

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
pub(super) struct Request {
    method: String,
    path: String,
    content: &'static str,
    body: Option<Value>,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: Value,
}

impl Request {
    pub(super) fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), content: "application/json", body: None }
    }

    pub(super) fn with(mut self, body: &Value) -> Self {
        self.body = Some(body.clone());
        self
    }

    fn content(mut self, content: &'static str) -> Self {
        self.content = content;
        self
    }

    fn http(&self) -> Result<http::Request<kube::client::Body>> {
        let body = match &self.body {
            Some(body) => kube::client::Body::from(serde_json::to_vec(body)?),
            None => kube::client::Body::empty(),
        };
        let request = http::Request::builder().method(self.method.as_str()).uri(&self.path);
        Ok(request.header("content-type", self.content).header("user-agent", "behaviours/1").body(body)?)
    }
}

pub(super) async fn send(client: &Client, request: &Request) -> Result<Answer> {
    let response = client.send(request.http()?).await.with_context(|| format!("{request:?}"))?;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await?.to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    Ok(Answer { code, body })
}

struct Story<'a> {
    client: &'a Client,
    objects: &'a BTreeMap<String, Value>,
    variables: BTreeMap<String, String>,
    normal: Normal,
    lines: Vec<Value>,
}

/// Plays a story in a namespace of its own and gives what was observed.
///
/// # Errors
/// A step could not be carried out, or what it waits for never came.
pub async fn transcript(client: &Client, behaviour: &Behaviour) -> Result<Value> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "behaviour-"}});
    let made = send(client, &Request::new("POST", "/api/v1/namespaces").with(&namespace)).await?;
    let namespace = made.body["metadata"]["name"].as_str().context("a namespace has a name")?.to_owned();
    let mut story = Story {
        client,
        objects: &behaviour.objects,
        variables: BTreeMap::from([("ns".to_owned(), namespace.clone())]),
        normal: Normal::new(&namespace)?,
        lines: Vec::new(),
    };
    let account = Step { until: Some("serviceaccounts/default".to_owned()), quiet: true, ..Step::default() };
    let mut result = story.step(&account).await;
    for (number, step) in behaviour.steps.iter().enumerate() {
        if result.is_ok() {
            result = story.step(step).await.with_context(|| format!("step {}", number + 1));
        }
    }
    let _ = send(client, &Request::new("DELETE", &format!("/api/v1/namespaces/{namespace}"))).await;
    result?;
    Ok(Value::Array(story.lines))
}

impl Story<'_> {
    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (variable, value) in self.variables.iter().rev() {
            text = text.replace(&format!("${variable}"), value);
        }
        text
    }

    fn filled(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => json!(self.fill(text)),
            Value::Array(list) => list.iter().map(|it| self.filled(it)).collect(),
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(field, it)| (self.fill(field), self.filled(it))).collect())
            }
            other => other.clone(),
        }
    }

    /// `pods/web/status?dryRun=All` as a path; one that begins with a slash is one already.
    fn path(&self, target: &str, query: Option<&String>) -> Result<String> {
        let target = self.fill(target);
        let mut path = if target.starts_with('/') {
            target
        } else {
            let plural = target.split(['/', '?']).next().unwrap_or_default();
            let row = KINDS.iter().find(|(found, ..)| *found == plural);
            let (_, root, _, namespaced) = row.with_context(|| format!("an unknown resource: {plural}"))?;
            let namespace = self.variables.get("ns").context("a namespace")?;
            let inside = if *namespaced { format!("/namespaces/{namespace}") } else { String::new() };
            format!("/{root}{inside}/{target}")
        };
        if let Some(query) = query {
            path = format!("{path}{}{}", if path.contains('?') { '&' } else { '?' }, self.fill(query));
        }
        Ok(path)
    }

    fn object(&self, written: &Value) -> Result<Value> {
        match written.as_str() {
            Some(name) => self.objects.get(name).cloned().with_context(|| format!("no object {name}")),
            None => Ok(written.clone()),
        }
    }

    async fn get(&self, target: &str) -> Result<Answer> {
        send(self.client, &Request::new("GET", &self.path(target, None)?)).await
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        if let Some(seconds) = step.wait {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            return Ok(());
        }
        if let Some(of) = &step.events {
            return self.events(of, step).await;
        }
        if let Some(target) = &step.watch {
            return self.watch(target, step).await;
        }
        if let Some(target) = step.until.as_ref().or(step.gone.as_ref()) {
            return self.until(target, step).await;
        }
        let (said, request) = self.request(step).await?;
        let mut answer = send(self.client, &request).await?;
        let end = tokio::time::Instant::now() + PATIENCE;
        while step.again && !self.holds(&answer, step) {
            ensure!(tokio::time::Instant::now() < end, "never: {said} -> {}", answer.body);
            tokio::time::sleep(Duration::from_millis(200)).await;
            answer = send(self.client, &request).await?;
        }
        self.saw(&said, &answer, step)
    }

    async fn request(&mut self, step: &Step) -> Result<(String, Request)> {
        let query = step.query.as_ref();
        let asked = query.map(|query| format!("?{query}")).unwrap_or_default();
        let with = step.with.as_ref().map(|with| self.filled(with));
        if let Some(written) = &step.create {
            let mut object = self.object(written)?;
            change(&mut object, step)?;
            let object = self.filled(&object);
            let kind = object["kind"].as_str().unwrap_or_default();
            let row = KINDS.iter().find(|(_, _, found, _)| *found == kind).context("an unknown kind")?;
            return Ok((
                format!("create {}{asked}", row.0),
                Request::new("POST", &self.path(row.0, query)?).with(&object),
            ));
        }
        if let Some(target) = &step.put {
            let mut object = match &with {
                Some(object) => object.clone(),
                None => self.get(target).await?.body,
            };
            change(&mut object, step)?;
            let object = self.filled(&object);
            return Ok((format!("put {target}{asked}"), Request::new("PUT", &self.path(target, query)?).with(&object)));
        }
        if let Some(target) = &step.evict {
            let name = self.fill(target.trim_start_matches("pods/"));
            let mut eviction = json!({
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "$ns"},
            });
            if let Some(options) = with {
                eviction["deleteOptions"] = options;
            }
            let eviction = self.filled(&eviction);
            let path = self.path(&format!("pods/{name}/eviction"), query)?;
            return Ok((format!("evict {target}{asked}"), Request::new("POST", &path).with(&eviction)));
        }
        let patches = [
            (&step.merge, "merge", "application/merge-patch+json"),
            (&step.json, "json", "application/json-patch+json"),
        ];
        for (target, said, content) in patches {
            if let Some(target) = target {
                let request = Request::new("PATCH", &self.path(target, query)?);
                let body = with.context("a patch")?;
                return Ok((format!("{said} {target}{asked}"), request.with(&body).content(content)));
            }
        }
        let Some((method, target)) = step.send.as_ref().and_then(|it| it.split_once(' ')) else {
            bail!("a step without anything to do: {step:?}");
        };
        let mut request = Request::new(method, &self.path(target, query)?);
        request.body = with;
        Ok((format!("{} {target}{asked}", method.to_lowercase()), request))
    }

    fn holds(&self, answer: &Answer, step: &Step) -> bool {
        step.holds.iter().all(|(pointer, expected)| {
            if pointer == "code" {
                return json!(answer.code) == *expected;
            }
            let expected = self.filled(expected);
            let found = look(&answer.body, pointer);
            match expected.as_str() {
                Some("*") => !found.is_null() && found != json!([]),
                _ => found == expected,
            }
        })
    }

    async fn until(&mut self, target: &str, step: &Step) -> Result<()> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.get(target).await?;
            let over = match step.gone {
                Some(_) => answer.code == 404,
                None => answer.code == 200 && self.holds(&answer, step),
            };
            if over {
                let said = if step.gone.is_some() { "gone" } else { "until" };
                return self.saw(&format!("{said} {target}"), &answer, step);
            }
            if tokio::time::Instant::now() >= end {
                bail!("waited in vain for {:?} of {target}: {} {}", step.holds, answer.code, answer.body);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn events(&mut self, of: &str, step: &Step) -> Result<()> {
        let name = self.fill(of);
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let list = self.get("events?limit=500").await?;
            let items = list.body["items"].as_array().cloned().unwrap_or_default();
            let mut told = BTreeSet::new();
            let mut reasons = BTreeSet::new();
            for event in &items {
                let reason = event["reason"].as_str().unwrap_or_default();
                let about = event["involvedObject"]["name"].as_str().unwrap_or_default();
                let about = about == name || name.strip_suffix('*').is_some_and(|start| about.starts_with(start));
                if !about || !step.reasons.iter().any(|it| it == reason) {
                    continue;
                }
                reasons.insert(reason.to_owned());
                let by = event["source"]["component"].as_str().unwrap_or_default();
                let by = if by.is_empty() { event["reportingComponent"].as_str().unwrap_or_default() } else { by };
                let part = event["involvedObject"]["fieldPath"].as_str().unwrap_or_default();
                let text = [&event["type"], &event["reason"], &event["involvedObject"]["kind"]];
                let text: Vec<&str> = text.iter().map(|it| it.as_str().unwrap_or_default()).collect();
                let message = event["message"].as_str().unwrap_or_default();
                told.insert(self.normal.text(&format!("{} by {by} {part}: {message}", text.join(" "))));
            }
            if step.reasons.iter().all(|reason| reasons.contains(reason)) {
                self.lines.push(json!({"do": format!("events {of}"), "told": told}));
                return Ok(());
            }
            if tokio::time::Instant::now() >= end {
                bail!("waited in vain for the events {:?} of {name}, found {reasons:?}", step.reasons);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn watch(&mut self, target: &str, step: &Step) -> Result<()> {
        let path = self.path(target, Some(&"watch=true&timeoutSeconds=20".to_owned()))?;
        let response = self.client.send(Request::new("GET", &path).http()?).await?;
        let code = response.status().as_u16();
        let mut seen = Vec::new();
        let mut kept = Vec::new();
        let mut frames = response.into_body().into_data_stream().map_err(|error| anyhow::anyhow!("{error}")).boxed();
        while seen.len() < step.count {
            let Some(bytes) = frames.try_next().await? else { break };
            kept.extend_from_slice(&bytes);
            while let Some(end) = kept.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = kept.drain(..=end).collect();
                seen.push(serde_json::from_slice::<Value>(&line)?);
            }
        }
        let said = format!("watch {target}").replace(|c: char| c.is_ascii_digit(), "");
        let told: Vec<Value> = seen.iter().map(|event| self.shown(event, &step.see)).collect();
        self.lines.push(json!({"do": said, "code": code, "seen": told}));
        Ok(())
    }

    fn shown(&mut self, body: &Value, see: &[String]) -> Value {
        let mut shown = Map::new();
        for pointer in see {
            let found = look(body, pointer);
            let field = pointer.rsplit('/').next().unwrap_or_default();
            let wrapped = json!({field: found});
            let mut normal = self.normal.value(&wrapped);
            shown.insert(pointer.clone(), normal[field].take());
        }
        if shown.len() == 1 && see.first().is_some_and(String::is_empty) {
            return shown.remove("").unwrap_or_default();
        }
        Value::Object(shown)
    }

    fn saw(&mut self, said: &str, answer: &Answer, step: &Step) -> Result<()> {
        for (variable, pointer) in &step.save {
            let value = look(&answer.body, pointer);
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            self.variables.insert(variable.clone(), value);
        }
        if step.quiet {
            ensure!(answer.code < 300, "{said} was answered with {} {}", answer.code, answer.body);
            return Ok(());
        }
        let mut line = json!({"do": said, "code": answer.code});
        if answer.code >= 400 {
            line["status"] = self.normal.value(&answer.body);
        } else if !step.see.is_empty() {
            line["saw"] = self.shown(&answer.body, &step.see);
        }
        self.lines.push(line);
        Ok(())
    }
}

fn change(object: &mut Value, step: &Step) -> Result<()> {
    for pointer in &step.unset {
        let (parent, field) = pointer.rsplit_once('/').context("a pointer")?;
        if let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            fields.remove(&unescape(field));
        }
    }
    for (pointer, value) in &step.set {
        put(object, pointer, value.clone()).with_context(|| format!("setting {pointer}"))?;
    }
    Ok(())
}

fn unescape(field: &str) -> String {
    field.replace("~1", "/").replace("~0", "~")
}

/// Sets what a JSON pointer names; objects on the way come to be, `-` appends to a list.
fn put(object: &mut Value, pointer: &str, value: Value) -> Option<()> {
    let mut at = object;
    for field in pointer.strip_prefix('/')?.split('/') {
        if at.is_null() {
            *at = json!({});
        }
        at = match at {
            Value::Object(fields) => fields.entry(unescape(field)).or_insert(Value::Null),
            Value::Array(list) => {
                if field == "-" {
                    list.push(Value::Null);
                    list.last_mut()?
                } else {
                    list.get_mut(field.parse::<usize>().ok()?)?
                }
            }
            _ => return None,
        };
    }
    *at = value;
    Some(())
}

/// What a JSON pointer names, null if nothing; `*` is each of a list, sorted, `#` how many there are.
fn look(value: &Value, pointer: &str) -> Value {
    let Some((before, after)) = pointer.split_once("/*") else {
        if let Some(before) = pointer.strip_suffix("/#") {
            return json!(value.pointer(before).and_then(Value::as_array).map_or(0, Vec::len));
        }
        return value.pointer(pointer).cloned().unwrap_or(Value::Null);
    };
    let list = value.pointer(before).and_then(Value::as_array);
    let mut each: Vec<Value> = list.into_iter().flatten().map(|item| look(item, after)).collect();
    each.sort_by_key(Value::to_string);
    Value::Array(each)
}
