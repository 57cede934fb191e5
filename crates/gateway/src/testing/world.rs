//! An API server in memory, behind a real client: it applies what is sent, with optimistic locking,
//! preconditions, JSON Patch and dry runs, and it can be cut off at the points that matter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use evenkeel_model::Clock;
use evenkeel_policy::generate::{APPROVALS, PEOPLE};
use futures::channel::mpsc;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};

type React = Arc<dyn Fn(&World, &str) + Send + Sync>;
type Answer = UnsyncBoxBody<Bytes, std::io::Error>;
type Told = mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>;

/// Breaks requests by chance, the same way for the same seed.
struct Chaos {
    seed: u64,
    left: usize,
}

impl Chaos {
    /// A number below `n` (an LCG, Knuth's MMIX).
    fn below(&mut self, n: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % n
    }

    fn strike(&mut self) -> Option<Fault> {
        if self.left == 0 || self.below(8) != 0 {
            return None;
        }
        self.left -= 1;
        // The API server gives up on a request after a minute.
        Some(match self.below(6) {
            0 | 1 => Fault::Late(self.below(59)),
            2 => Fault::BeforeCommit,
            3 => Fault::AfterCommit,
            4 => Fault::Answer(500),
            _ => Fault::Answer(429),
        })
    }
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It never arrives: the connection breaks before it is applied.
    BeforeCommit,
    /// It is applied, and the answer is lost.
    AfterCommit,
    /// The connection breaks, and it is applied so many seconds later.
    Late(u64),
    /// The API server answers so, and does nothing.
    Answer(u16),
}

#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    /// By path: `/apis/apps/v1/namespaces/shop/deployments/cart`.
    objects: BTreeMap<String, Value>,
    version: u64,
    uids: u64,
    /// Requests that write, in order: `PATCH deployments/cart dry`.
    log: Vec<String>,
    reads: Vec<String>,
    /// The next request whose log line is this gets the fault.
    faults: Vec<(String, Fault)>,
    /// Seconds by which the server's clock is ahead.
    ahead: i64,
    /// What controllers do after a write.
    react: Option<React>,
    /// Requests that changed something, in order.
    applied: Vec<String>,
    chaos: Option<Chaos>,
    /// A right that the gateway has not: `create pods/eviction shop`.
    taken: Option<String>,
    /// Admission policies are installed, and not in effect.
    forgeries_pass: bool,
    /// Watches by path; of what happens they are told by tests alone.
    watches: Vec<(String, Told)>,
    /// Requests held up on their way, with when they arrive.
    late: Vec<(DateTime<Utc>, Method, String, Value, bool)>,
}

impl World {
    pub(crate) fn new(list: &str, clock: Arc<dyn Clock>) -> Self {
        let list: Value = serde_json::from_str(list).unwrap();
        let world = Self { state: Arc::default(), clock };
        for object in list["items"].as_array().unwrap() {
            world.put(object.clone());
        }
        world
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds or replaces an object.
    pub(crate) fn put(&self, mut object: Value) {
        let path = path_of(&object);
        let mut state = self.lock();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        if object["metadata"]["uid"].is_null() {
            state.uids += 1;
            object["metadata"]["uid"] = json!(format!("uid-{}", state.uids));
        }
        state.objects.insert(path, object);
    }

    /// Changes an object as somebody else would.
    pub(crate) fn edit(&self, ends: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(ends).unwrap();
        change(&mut object);
        self.put(object);
    }

    pub(crate) fn remove(&self, ends: &str) {
        self.lock().objects.retain(|path, _| !path.ends_with(ends));
    }

    pub(crate) fn get(&self, ends: &str) -> Option<Value> {
        self.lock().objects.iter().find(|(path, _)| path.ends_with(ends)).map(|(_, object)| object.clone())
    }

    /// All of a kind, by its plural.
    pub(crate) fn objects(&self, kind: &str) -> Vec<Value> {
        let of_kind = |path: &&String| path.rsplit('/').nth(1) == Some(kind);
        let state = self.lock();
        state.objects.iter().filter(|(path, _)| of_kind(path)).map(|(_, object)| object.clone()).collect()
    }

    /// The next request logged so gets the fault.
    pub(crate) fn fault(&self, line: &str, fault: Fault) {
        self.lock().faults.push((line.to_owned(), fault));
    }

    /// Requests are answered as they should be from now on.
    pub(crate) fn forget_faults(&self) {
        self.lock().faults.clear();
    }

    /// Has controllers do something after each request, whose line they get: `PATCH deployments/cart dry`.
    pub(crate) fn react(&self, react: impl Fn(&Self, &str) + Send + Sync + 'static) {
        self.lock().react = Some(Arc::new(react));
    }

    /// Breaks `many` requests by chance.
    pub(crate) fn chaos(&self, seed: u64, many: usize) {
        self.lock().chaos = Some(Chaos { seed, left: many });
    }

    /// Requests that changed something, in order: `PATCH /apis/…`.
    pub(crate) fn applied(&self) -> Vec<String> {
        self.lock().applied.clone()
    }

    /// Takes a right from the gateway (`create pods/eviction shop`), or gives all back.
    pub(crate) fn take_right(&self, right: Option<&str>) {
        self.lock().taken = right.map(str::to_owned);
    }

    /// Installs the admission policy over people's requests; where it is there already, another one of its name.
    pub(crate) fn hold_people(&self) {
        for object in evenkeel_policy::generate::people() {
            self.put(object);
        }
    }

    /// Has what admission policies should refuse pass, or not.
    pub(crate) fn let_forgeries_pass(&self, pass: bool) {
        self.lock().forgeries_pass = pass;
    }

    /// Tells watches of an object: `ADDED`, `DELETED`.
    pub(crate) fn tell(&self, what: &str, object: &Value) {
        let path = path_of(object);
        let line = format!("{}\n", json!({"type": what, "object": object}));
        for (of, told) in &self.lock().watches {
            if path.rsplit_once('/').is_some_and(|(parent, _)| parent == of) {
                told.unbounded_send(Ok(Frame::data(Bytes::from(line.clone())))).ok();
            }
        }
    }

    /// Breaks the watches of a kind, by its plural.
    pub(crate) fn break_watches(&self, kind: &str) {
        self.lock().watches.retain(|(of, told)| {
            let is_of_kind = of.rsplit('/').next() == Some(kind);
            if is_of_kind {
                told.unbounded_send(Err(lost())).ok();
            }
            !is_of_kind
        });
    }

    pub(crate) fn clock_ahead(&self, seconds: i64) {
        self.lock().ahead = seconds;
    }

    /// Requests that write, since the last call.
    pub(crate) fn written(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().log)
    }

    /// How many reads there were of what ends so.
    pub(crate) fn reads_of(&self, ends: &str) -> usize {
        self.lock().reads.iter().filter(|path| path.ends_with(ends)).count()
    }

    pub(crate) fn client(&self) -> kube::Client {
        let world = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let world = world.clone();
            async move { world.answer(request).await }
        });
        kube::Client::new(service, "default")
    }

    fn watched(&self, path: &str) -> Result<Response<Answer>, std::io::Error> {
        let mut state = self.lock();
        let line = format!("WATCH {}", path.rsplit('/').next().unwrap_or_default());
        let fault = state.faults.iter().position(|(wanted, _)| *wanted == line).map(|at| state.faults.remove(at).1);
        match fault {
            Some(Fault::Answer(code)) => return Ok(answered(code, &status(code))),
            Some(_) => return Err(lost()),
            None => {}
        }
        let (told, tells) = mpsc::unbounded();
        state.watches.push((path.to_owned(), told));
        Ok(Response::new(StreamBody::new(tells).boxed_unsync()))
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Answer>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        if query.contains("watch=true") {
            return self.watched(parts.uri.path());
        }
        let dry = query.contains("dryRun=All") || body.pointer("/deleteOptions/dryRun").is_some() || {
            parts.method == Method::DELETE && body.get("dryRun").is_some()
        };
        let (result, fault, date, react, line) = {
            let mut state = self.lock();
            state.let_arrive(self.clock.now());
            let fault = state.note(&parts.method, parts.uri.path(), dry);
            let result = match fault {
                Some(Fault::BeforeCommit) => return Err(lost()),
                Some(Fault::Late(seconds)) => {
                    let at = self.clock.now() + Duration::from_secs(seconds);
                    state.late.push((at, parts.method.clone(), parts.uri.path().to_owned(), body, dry));
                    return Err(lost());
                }
                Some(Fault::Answer(code)) => Err(code),
                Some(Fault::AfterCommit) | None => state.apply(&parts.method, parts.uri.path(), body, dry),
            };
            let date = self.clock.now() + chrono::Duration::seconds(state.ahead);
            let line = match parts.method {
                Method::GET => state.reads.last().map(|path| format!("GET {path}")),
                _ => state.log.last().cloned(),
            };
            (result, fault, date, state.react.clone(), line)
        };
        if let (Some(react), Some(line), Ok(_)) = (react, line, &result) {
            react(self, &line);
        }
        if fault == Some(Fault::AfterCommit) {
            return Err(lost());
        }
        let (code, answer) = match result {
            Ok(answer) => (200, answer),
            Err(code @ 403) if parts.uri.path().ends_with("/approvals") => (code, refused_by(APPROVALS, code)),
            Err(code @ 422) if parts.uri.path().ends_with("/requests") => (code, refused_by(PEOPLE, code)),
            // A fault that says 409 is a conflict, as of a quota.
            Err(409) if parts.method == Method::POST && fault.is_none() => {
                let mut there = status(409);
                there["reason"] = json!("AlreadyExists");
                (409, there)
            }
            Err(code) => (code, status(code)),
        };
        let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let mut answer = answered(code, &answer);
        answer.headers_mut().insert("date", date.parse().unwrap());
        Ok(answer)
    }
}

fn lost() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset")
}

fn answered(code: u16, body: &Value) -> Response<Answer> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

/// What an API server says of what the gateway forges.
fn refused_by(policy: &str, code: u16) -> Value {
    let mut status = status(code);
    let words = crate::guard::words(policy);
    status["message"] = json!(format!("\"self-test\" is forbidden: {words}: evenkeel: it is not its author's"));
    status
}

fn status(code: u16) -> Value {
    let message = if code == 422 { "the server rejected our request due to an error in our request" } else { "no" };
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        _ => "InternalError",
    };
    json!({"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": reason})
}

/// What the admission policy lets a gateway say.
fn is_of_slack(approval: &Value) -> bool {
    approval["spec"]["approver"].as_str().is_some_and(|approver| approver.starts_with(evenkeel_model::SLACK_APPROVER))
}

impl State {
    fn note(&mut self, method: &Method, path: &str, dry: bool) -> Option<Fault> {
        let tail: Vec<&str> = path.rsplitn(4, '/').take(3).collect();
        let short = match tail.as_slice() {
            [sub @ ("status" | "eviction"), name, kind] => format!("{kind}/{name}/{sub}"),
            [name, kind, _] if method != Method::POST => format!("{kind}/{name}"),
            [kind, ..] => (*kind).to_owned(),
            [] => String::new(),
        };
        if method == Method::GET {
            self.reads.push(short.clone());
        }
        let line = format!("{method} {short}{}", if dry { " dry" } else { "" });
        if method != Method::GET {
            self.log.push(line.clone());
        }
        match self.faults.iter().position(|(wanted, _)| *wanted == line) {
            Some(at) => Some(self.faults.remove(at).1),
            None => self.chaos.as_mut()?.strike(),
        }
    }

    fn let_arrive(&mut self, now: DateTime<Utc>) {
        while let Some(at) = self.late.iter().position(|(due, ..)| *due <= now) {
            let (_, method, path, body, dry) = self.late.remove(at);
            self.apply(&method, &path, body, dry).ok();
        }
    }

    fn apply(&mut self, method: &Method, path: &str, body: Value, dry: bool) -> Result<Value, u16> {
        let result = self.carry_out(method, path, body, dry);
        if result.is_ok() && !dry && method != Method::GET {
            self.applied.push(format!("{method} {path}"));
        }
        result
    }

    fn carry_out(&mut self, method: &Method, path: &str, body: Value, dry: bool) -> Result<Value, u16> {
        match method.as_str() {
            "GET" => self.read(path),
            "POST" if path.ends_with("/eviction") => {
                self.delete(path.trim_end_matches("/eviction"), &body["deleteOptions"], dry)
            }
            "POST" if path.ends_with("/selfsubjectaccessreviews") => {
                let asked = &body["spec"]["resourceAttributes"];
                let text = |field: &str| asked[field].as_str().unwrap_or_default();
                let slash = if text("subresource").is_empty() { "" } else { "/" };
                let (verb, resource, sub) = (text("verb"), text("resource"), text("subresource"));
                let right = format!("{verb} {resource}{slash}{sub} {}", text("namespace"));
                let may = self.taken.as_deref() != Some(&right);
                let mut review = body;
                review["status"] = json!({"allowed": may});
                Ok(review)
            }
            // Everybody may, but for strangers.
            "POST" if path.ends_with("/subjectaccessreviews") => {
                let may = !body["spec"]["user"].as_str().unwrap_or_default().starts_with("stranger");
                let mut review = body;
                review["status"] = json!({"allowed": may});
                Ok(review)
            }
            "POST" if path.ends_with("/approvals") && self.guards(APPROVALS) && !is_of_slack(&body) => Err(403),
            // A gateway asks for nothing.
            "POST" if path.ends_with("/requests") && self.guards(PEOPLE) => Err(422),
            "POST" => {
                let name = body["metadata"]["name"].as_str().ok_or(422_u16)?.to_owned();
                let path = format!("{path}/{name}");
                if self.objects.contains_key(&path) {
                    return Err(409);
                }
                let mut object = body;
                self.uids += 1;
                object["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
                object["metadata"]["creationTimestamp"] = json!("2026-01-05T12:00:00Z");
                if path.contains("/remediations/") {
                    object.as_object_mut().unwrap().remove("status");
                }
                Ok(self.store(path, object, dry))
            }
            "PUT" => {
                let (path, of_status) = path.strip_suffix("/status").map_or((path, false), |path| (path, true));
                let mut current = self.objects.get(path).cloned().ok_or(404_u16)?;
                if current["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return Err(409);
                }
                let part = if of_status { "status" } else { "spec" };
                current[part] = body[part].clone();
                Ok(self.store(path.to_owned(), current, dry))
            }
            "PATCH" => {
                let mut object = self.objects.get(path).cloned().ok_or(404_u16)?;
                let patch = absent_is_null(&object, body);
                let patch: json_patch::Patch = serde_json::from_value(patch).map_err(|_| 400_u16)?;
                json_patch::patch(&mut object, &patch).map_err(|_| 422_u16)?;
                Ok(self.store(path.to_owned(), object, dry))
            }
            "DELETE" => self.delete(path, &body, dry),
            _ => Err(405),
        }
    }

    /// Whether admission refuses what a policy is to refuse: policy and binding are there, and in effect.
    fn guards(&self, policy: &str) -> bool {
        let is_there = |kind: &str| self.objects.keys().any(|path| path.ends_with(&format!("/{kind}/{policy}")));
        !self.forgeries_pass && is_there("validatingadmissionpolicies") && is_there("validatingadmissionpolicybindings")
    }

    fn read(&self, path: &str) -> Result<Value, u16> {
        if let Some(object) = self.objects.get(path) {
            return Ok(object.clone());
        }
        // A name, or a collection?
        let collection = path.rsplit('/').next().is_some_and(|last| last.ends_with('s') && !last.contains('-'));
        let within = format!("{path}/");
        let items: Vec<Value> = self
            .objects
            .iter()
            .filter(|(it, _)| it.strip_prefix(&within).is_some_and(|rest| !rest.contains('/')))
            .map(|(_, object)| object.clone())
            .collect();
        if items.is_empty() && !collection {
            return Err(404);
        }
        Ok(json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
    }

    fn delete(&mut self, path: &str, options: &Value, dry: bool) -> Result<Value, u16> {
        let current = self.objects.get(path).ok_or(404_u16)?;
        let wanted = &options["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != current["metadata"]["uid"] {
            return Err(409);
        }
        if !dry {
            self.objects.remove(path);
        }
        Ok(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }

    fn store(&mut self, path: String, mut object: Value, dry: bool) -> Value {
        if !dry {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.objects.insert(path, object.clone());
        }
        object
    }
}

/// Kubernetes' JSON Patch takes an absent field for null in a test.
fn absent_is_null(object: &Value, mut patch: Value) -> Value {
    if let Some(operations) = patch.as_array_mut() {
        operations.retain(|it| {
            let absent = object.pointer(it["path"].as_str().unwrap_or_default()).is_none();
            !(it["op"] == "test" && it["value"].is_null() && absent)
        });
    }
    patch
}

fn path_of(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let kind = object["kind"].as_str().unwrap().to_ascii_lowercase();
    let plural = kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"));
    let name = object["metadata"]["name"].as_str().unwrap();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}/{name}"),
        None => format!("{root}/{plural}/{name}"),
    }
}
