//! Whoever else works on the cluster: sends one request at a time as a user.

use evenkeel_simulator::Simulator;
use http::{Method, Request};
use kube::core::Status;
use serde_json::Value;

use super::manifest::{NotAnObject, paths};

/// A user's way to the cluster.
#[derive(Clone)]
pub(crate) struct Person {
    client: kube::Client,
    name: String,
}

/// A request of the scenario's that was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{what}: {source}")]
    Api {
        what: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("{what}: {reason}")]
    Malformed { what: String, reason: String },
    #[error(transparent)]
    NotAnObject(#[from] NotAnObject),
}

impl Refused {
    pub(crate) fn malformed(what: &str, reason: impl Into<String>) -> Self {
        Self::Malformed { what: what.to_owned(), reason: reason.into() }
    }

    fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// What the API server said, where it was the API server that refused.
    pub(crate) fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Person {
    pub(crate) fn new(simulator: &Simulator, name: &str) -> Self {
        Self { client: simulator.client(name), name: name.to_owned() }
    }

    async fn send(&self, method: Method, path: &str, content: &str, body: Option<&Value>) -> Result<Value, Refused> {
        let what = format!("{method} {path} as {}", self.name);
        let malformed = |reason: String| Refused::Malformed { what: what.clone(), reason };
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| malformed(error.to_string()))?,
            None => Vec::new(),
        };
        let manager = if method == Method::GET || method == Method::DELETE {
            String::new()
        } else {
            format!("?fieldManager={}", self.name.rsplit(':').next().unwrap_or_default())
        };
        let request = Request::builder().method(method).uri(format!("{path}{manager}")).header("content-type", content);
        let request = request.body(bytes).map_err(|error| malformed(error.to_string()))?;
        let answer = self.client.request::<Value>(request).await;
        answer.map_err(|source| Refused::Api { what, source: Box::new(source) })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>, Refused> {
        match self.send(Method::GET, path, "application/json", None).await {
            Ok(found) => Ok(Some(found)),
            Err(refused) if refused.code() == Some(404) => Ok(None),
            Err(refused) => Err(refused),
        }
    }

    pub(crate) async fn create(&self, manifest: &Value) -> Result<Value, Refused> {
        let (collection, _) = paths(manifest)?;
        self.send(Method::POST, &collection, "application/json", Some(manifest)).await
    }

    pub(crate) async fn apply(&self, manifest: &Value) -> Result<Value, Refused> {
        let (_, object) = paths(manifest)?;
        if self.get(&object).await?.is_some() {
            self.merge(&object, manifest).await
        } else {
            self.create(manifest).await
        }
    }

    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Result<Value, Refused> {
        self.send(Method::PATCH, path, "application/merge-patch+json", Some(patch)).await
    }

    pub(crate) async fn json_patch(&self, path: &str, patch: &Value) -> Result<Value, Refused> {
        self.send(Method::PATCH, path, "application/json-patch+json", Some(patch)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        self.send(Method::POST, path, "application/json", Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<(), Refused> {
        self.send(Method::DELETE, path, "application/json", None).await.map(drop)
    }
}
