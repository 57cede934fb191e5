//! An API server that answers from fixtures, behind a real client: no cluster, no socket.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

/// A Deployment, a StatefulSet and a DaemonSet in the middle of a rollout to an image that can't be
/// pulled, as a real API server (1.36) held them.
pub const SHOP: &str = include_str!("../fixtures/shop.json");

/// Objects, and the requests that were made for them.
#[derive(Debug, Clone, Default)]
pub struct FakeApi(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    objects: Vec<Value>,
    texts: Vec<(String, String)>,
    failures: Vec<(String, Value)>,
    requests: Vec<Sent>,
}

/// One mutating request, as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// `PATCH /apis/apps/v1/…?fieldManager=evenkeel`
    pub line: String,
    /// Its body.
    pub body: Value,
}

impl FakeApi {
    /// The objects of a `List`.
    pub fn new(list: &str) -> Self {
        let list: Value = serde_json::from_str(list).unwrap_or_default();
        let objects = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        Self(Arc::new(Mutex::new(State { objects, ..State::default() })))
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds an object or replaces the one of its kind, namespace and name.
    pub fn put(&self, object: Value) {
        self.with(|state| {
            let id = |it: &Value| (it.get("kind").cloned(), place(it), name(it));
            state.objects.retain(|it| id(it) != id(&object));
            state.objects.push(object);
        });
    }

    /// Changes an object.
    pub fn edit(&self, kind: &str, named: &str, change: impl FnOnce(&mut Value)) {
        self.with(|state| {
            let found = state.objects.iter_mut().find(|it| it.get("kind") == Some(&json!(kind)) && name(it) == named);
            if let Some(object) = found {
                change(object);
            }
        });
    }

    /// Removes an object.
    pub fn remove(&self, kind: &str, named: &str) {
        self.with(|state| state.objects.retain(|it| it.get("kind") != Some(&json!(kind)) || name(it) != named));
    }

    /// Answers GETs whose path ends so with a text (logs).
    pub fn text(&self, path_ends: &str, text: &str) {
        self.with(|state| state.texts.push((path_ends.to_owned(), text.to_owned())));
    }

    /// Answers requests whose `METHOD path` contains this with a Status.
    pub fn fail(&self, containing: &str, code: u16, message: &str) {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": ""});
        self.with(|state| state.failures.push((containing.to_owned(), status)));
    }

    /// Mutating requests so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.with(|state| state.requests.clone())
    }

    /// A client of it.
    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { api.answer(request).await }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, http::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|it| it.to_bytes()).unwrap_or_default();
        let line = format!("{} {}", parts.method, parts.uri);
        let path = parts.uri.path();
        let (code, text) = self.with(|state| {
            if parts.method != Method::GET {
                let body = serde_json::from_slice(&body).unwrap_or_default();
                state.requests.push(Sent { line: line.clone(), body });
            }
            if let Some((_, status)) = state.failures.iter().find(|(containing, _)| line.contains(containing)) {
                let code = status.get("code").and_then(Value::as_u64).and_then(|it| u16::try_from(it).ok());
                return (code.unwrap_or(500), status.to_string());
            }
            if parts.method != Method::GET {
                return (200, json!({"kind": "Status", "status": "Success"}).to_string());
            }
            if let Some((_, text)) = state.texts.iter().find(|(ends, _)| path.ends_with(ends)) {
                return (200, text.clone());
            }
            match state.get(path, parts.uri.query().unwrap_or_default()) {
                Some(found) => (200, found.to_string()),
                None => {
                    let message = format!("{path} not found");
                    (404, json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": message}).to_string())
                }
            }
        });
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Response::builder().status(code).body(Body::from(text.into_bytes()))
    }
}

impl State {
    /// `…/namespaces/NS/PLURAL[/NAME]` or `…/PLURAL[/NAME]`.
    fn get(&self, path: &str, query: &str) -> Option<Value> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let rest = parts.get(if path.starts_with("/api/") { 2 } else { 3 }..)?;
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            rest => (None, rest),
        };
        let plural = rest.first()?;
        let of_kind = |it: &&Value| {
            let kind = it.get("kind").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
            format!("{kind}s") == *plural && (namespace.is_none() || place(it).as_deref() == namespace)
        };
        if rest.len() > 2 {
            return None;
        }
        let found = self.objects.iter().filter(of_kind);
        match rest.get(1) {
            Some(wanted) => found.into_iter().find(|it| name(it) == *wanted).cloned(),
            None => {
                let node = query.split("spec.nodeName%3D").nth(1).and_then(|it| it.split('&').next());
                let on_node =
                    |it: &&Value| node.is_none() || it.pointer("/spec/nodeName").and_then(Value::as_str) == node;
                let items: Vec<Value> = found.filter(on_node).cloned().collect();
                Some(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
            }
        }
    }
}

fn name(object: &Value) -> String {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn place(object: &Value) -> Option<String> {
    object.pointer("/metadata/namespace").and_then(Value::as_str).map(str::to_owned)
}
