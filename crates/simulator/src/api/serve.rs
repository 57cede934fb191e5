//! One request, carried out at one instant.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::delete::Deleted;
use super::intercept::Fuse;
use super::list::{Chosen, Listed};
use super::uri::{Path, Place, Query};
use super::watch::Watch;
use super::write::without_nulls;
use super::{By, Deletion, Part, Patch, discovery, rules};
use crate::controllers::Asked;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::simulator::Simulator;
use crate::state::State;
use crate::store::Key;
use crate::value::{at, integer, items, name, text, uid};

/// A request as it came.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) user: String,
    pub(super) method: Method,
    pub(super) path: Path,
    pub(super) query: Query,
    pub(super) content_type: String,
    pub(super) form: Form,
    /// The field manager that the User-Agent names; for who says none.
    pub(super) agent: String,
    /// Null where there is none.
    pub(super) body: Arc<Value>,
    /// What can't be read of the body.
    pub(super) unreadable: Option<String>,
}

/// How objects are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Whole,
    /// As `PartialObjectMetadata`.
    Metadata,
}

impl Form {
    /// Writes an object as JSON.
    pub(super) fn write(self, object: &Value, into: &mut Vec<u8>) {
        // Values have string keys alone: they can always be written.
        let written = match self {
            Self::Whole => serde_json::to_writer(into, object),
            Self::Metadata => serde_json::to_writer(
                into,
                &json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": at(object, "/metadata")}),
            ),
        };
        if let Err(error) = written {
            tracing::error!(%error, "an object could not be written as JSON");
        }
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub(super) enum Reply {
    /// An object.
    Object(u16, Arc<Value>),
    /// A list of a kind.
    List(Arc<Kind>, Listed),
    /// Plain text.
    Text(u16, String),
    /// A stream of events.
    Watch(Box<Watch>),
}

impl Request {
    /// What it does, as audit logs name it, and to what.
    pub(super) fn verb(&self) -> &'static str {
        let Path::Objects(place) = &self.path else { return "get" };
        let one = !place.name.is_empty();
        match self.method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if one => "delete",
            Method::DELETE => "deletecollection",
            _ if self.query.is_true("watch") => "watch",
            _ if one => "get",
            _ => "list",
        }
    }

    pub(super) fn is_mutating(&self) -> bool {
        let Path::Objects(place) = &self.path else { return false };
        !matches!(self.verb(), "get" | "list" | "watch") && !super::reviews::is_review(place)
    }

    /// The object it is about; of a create, as its body names it.
    pub(super) fn key(&self) -> Key {
        let Path::Objects(place) = &self.path else { return Key::new("", "", "") };
        let resource = crate::kinds::Resource::new(&place.group, &place.plural);
        let named = if place.name.is_empty() { name(&self.body) } else { &place.name };
        Key::new(resource, &place.namespace, named)
    }

    pub(super) fn subresource(&self) -> &str {
        match &self.path {
            Path::Objects(place) => &place.subresource,
            _ => "",
        }
    }

    pub(super) fn is_dry_run(&self) -> bool {
        !self.query.text("dryRun").is_empty()
            || !items(&self.body, "/dryRun").is_empty()
            || !items(&self.body, "/deleteOptions/dryRun").is_empty()
    }

    /// `PATCH pods/shop/cart-1/status`, for people.
    pub(super) fn line(&self) -> String {
        let sub = self.subresource();
        match &self.path {
            Path::Objects(_) => {
                format!("{} {}{}{sub} by {}", self.verb(), self.key(), if sub.is_empty() { "" } else { "/" }, self.user)
            }
            other => format!("{} {other:?} by {}", self.method, self.user),
        }
    }

    fn manager(&self) -> &str {
        match self.query.text("fieldManager") {
            "" => &self.agent,
            manager => manager,
        }
    }

    /// The body as the object it must be.
    fn object(&self, kind: &Kind) -> Result<Value, Failure> {
        self.readable(&kind.kind)?;
        let mut object = (*self.body).clone();
        if !kind.is_custom() {
            without_nulls(&mut object);
        }
        Ok(object)
    }

    fn readable(&self, kind: &str) -> Result<(), Failure> {
        let Some(error) = &self.unreadable else { return Ok(()) };
        Err(Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {error}"
        )))
    }

    fn patch(&self, kind: &Kind) -> Result<Patch, Failure> {
        if let Some(error) = &self.unreadable {
            return Err(Failure::bad_request(format!("error decoding patch: {error}")));
        }
        let body = (*self.body).clone();
        const STRATEGIC: &str = "application/strategic-merge-patch+json";
        match self.content_type.as_str() {
            "application/json-patch+json" => Ok(Patch::Json(body)),
            "application/merge-patch+json" => Ok(Patch::Merge(body)),
            STRATEGIC if !kind.is_custom() => Ok(Patch::Strategic(body)),
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => {
                Err(Failure::not_modelled(format!("server-side apply: {}", self.line())))
            }
            _ => Err(Failure::unsupported_media_type()),
        }
    }

    /// How to delete: from the body, or else from the query.
    fn deletion(&self) -> Result<(Deletion, bool), Failure> {
        self.readable("DeleteOptions")?;
        let body = &self.body;
        let words = |pointer: &str| Some(text(body, pointer).to_owned()).filter(|it| !it.is_empty());
        let from_query = |name: &str| Some(self.query.text(name).to_owned()).filter(|it| !it.is_empty());
        let orphan = at(body, "/orphanDependents").as_bool().or_else(|| match self.query.text("orphanDependents") {
            "" => None,
            text => Some(text == "true"),
        });
        let propagation = words("/propagationPolicy")
            .or_else(|| from_query("propagationPolicy"))
            .or_else(|| orphan.map(|orphan| if orphan { "Orphan".to_owned() } else { "Background".to_owned() }));
        if let Some(policy) = propagation.as_deref().filter(|it| !matches!(*it, "Background" | "Foreground" | "Orphan"))
        {
            let message = format!(
                "Unsupported value: \"{policy}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
            );
            let why = ("FieldValueNotSupported", "propagationPolicy", message.as_str());
            return Err(Failure::invalid("DeleteOptions", "meta.k8s.io", "", why));
        }
        let how = Deletion {
            uid: words("/preconditions/uid"),
            resource_version: words("/preconditions/resourceVersion"),
            grace: integer(body, "/gracePeriodSeconds").or_else(|| self.query.integer("gracePeriodSeconds")),
            propagation,
        };
        let dry_run = self.query.dry_run("DeleteOptions")? || !items(body, "/dryRun").is_empty();
        Ok((how, dry_run))
    }
}

impl State {
    /// Carries a request out.
    pub(super) fn serve(&mut self, simulator: &Simulator, request: &Request, fuse: &Fuse) -> Result<Reply, Failure> {
        let place = match &request.path {
            Path::Objects(place) => place,
            path if request.method == Method::GET => return discovery::answer(self, path),
            _ => return Err(Failure::method_not_allowed()),
        };
        if let Some(answer) = super::reviews::answer(request, place) {
            return answer;
        }
        let Some(kind) = self.kinds.served(&place.group, &place.version, &place.plural).cloned() else {
            if self.kinds.iter().any(|kind| kind.group == place.group && kind.version == place.version) {
                return Err(Failure::no_such_resource());
            }
            return Ok(Reply::Text(404, "404 page not found\n".to_owned()));
        };
        let in_wrong_scope = (!kind.namespaced && !place.namespace.is_empty())
            || (kind.namespaced && place.namespace.is_empty() && !place.name.is_empty());
        if in_wrong_scope {
            return Err(Failure::no_such_resource());
        }
        let dry_run = match request.method {
            Method::POST => request.query.dry_run("CreateOptions")?,
            Method::PUT => request.query.dry_run("UpdateOptions")?,
            Method::PATCH => request.query.dry_run("PatchOptions")?,
            _ => false,
        };
        let by = By { user: &request.user, manager: request.manager(), dry_run };
        let key = Key::new(kind.resource(), &place.namespace, &place.name);
        let served = place.subresource.is_empty()
            || rules::serves(&kind, &place.subresource)
            || (place.plural == "namespaces" && place.subresource == "finalize");
        if !served {
            return Err(match place.subresource.as_str() {
                "exec"
                | "attach"
                | "portforward"
                | "proxy"
                | "token"
                | "ephemeralcontainers"
                | "resize"
                | "approval" => Failure::not_modelled(request.line()),
                _ => Failure::no_such_resource(),
            });
        }
        let found = |object| Ok(Reply::Object(200, object));
        match (&request.method, place.name.is_empty(), place.subresource.as_str()) {
            (&Method::GET, one, "") if one || request.query.is_true("watch") => {
                let chosen = Chosen::parse(&kind, &place.namespace, &place.name, &request.query)?;
                if request.query.is_true("watch") {
                    return self.watch(simulator, chosen, &request.query, request.form, fuse);
                }
                Ok(Reply::List(kind, self.list(&chosen, &request.query)?))
            }
            (&Method::GET, false, "" | "status") => found(self.read(&key, &request.query)?),
            (&Method::GET, false, "scale") => found(self.scale_of(&key)?),
            (&Method::GET, false, "log") => Ok(Reply::Text(200, self.log_of(&key, &request.query)?)),
            (&Method::POST, true, "") if !kind.namespaced || !place.namespace.is_empty() => {
                let object = request.object(&kind)?;
                Ok(Reply::Object(201, self.create(by, &kind.resource(), &place.namespace, object)?))
            }
            (&Method::POST, false, "eviction") => {
                request.readable("Eviction")?;
                Ok(Reply::Object(201, self.evict(by, &key, &request.body)?))
            }
            (&Method::POST, false, "binding") => {
                request.readable("Binding")?;
                Ok(Reply::Object(201, self.bind(by, &key, text(&request.body, "/target/name"))?))
            }
            (&Method::PUT, false, "") => self.put(by, request, place, &kind, &key),
            (&Method::PUT, false, "finalize") => found(self.finalize(by, &key, &request.object(&kind)?)?),
            (&Method::PUT, false, "status") => found(self.replace(by, &key, Part::Status, request.object(&kind)?)?),
            (&Method::PUT, false, "scale") => {
                request.readable("Scale")?;
                found(self.set_scale(by, &key, &request.body)?)
            }
            (&Method::PATCH, false, "" | "status") => {
                let part = if place.subresource.is_empty() { Part::Main } else { Part::Status };
                let patch = request.patch(&kind)?;
                found(self.patch(by, &key, part, &patch)?)
            }
            (&Method::PATCH, false, "scale") => {
                let patch = request.patch(&kind)?;
                let mut scale = (*self.scale_of(&key)?).clone();
                patch.apply(&mut scale)?;
                found(self.set_scale(by, &key, &scale)?)
            }
            (&Method::DELETE, false, "") => {
                let (how, dry_run) = request.deletion()?;
                self.delete_one(By { dry_run, ..by }, &kind, &key, &how)
            }
            (&Method::DELETE, true, "") if !kind.namespaced || !place.namespace.is_empty() => {
                let (how, dry_run) = request.deletion()?;
                let chosen = Chosen::parse(&kind, &place.namespace, "", &request.query)?;
                let keys: Vec<Key> = self.chosen(&chosen).into_iter().map(|(key, _)| key).collect();
                let items = self.delete_all(By { dry_run, ..by }, &keys, &how)?;
                let metadata = json!({"resourceVersion": self.store.revision().to_string()});
                Ok(Reply::List(kind, Listed { metadata, items }))
            }
            _ => Err(Failure::method_not_allowed()),
        }
    }

    fn put(&mut self, by: By<'_>, request: &Request, _place: &Place, kind: &Kind, key: &Key) -> Result<Reply, Failure> {
        let created = self.store.get(key).is_none();
        let object = self.replace(by, key, Part::Main, request.object(kind)?)?;
        Ok(Reply::Object(if created { 201 } else { 200 }, object))
    }

    /// What a container said.
    fn log_of(&self, key: &Key, query: &Query) -> Result<String, Failure> {
        for parameter in ["follow", "timestamps", "sinceSeconds", "sinceTime"] {
            if !matches!(query.text(parameter), "" | "false") {
                return Err(Failure::not_modelled(format!("{parameter} of the log of {key}")));
            }
        }
        let number = |name| query.integer(name).and_then(|it| usize::try_from(it).ok());
        let asked = Asked {
            container: Some(query.text("container")).filter(|it| !it.is_empty()),
            previous: query.is_true("previous"),
            tail_lines: number("tailLines"),
            limit_bytes: number("limitBytes"),
        };
        self.pod_log(&key.namespace, &key.name, asked)
    }

    /// Applies a patch to an object as it is now.
    pub(crate) fn patch(&mut self, by: By<'_>, key: &Key, part: Part, patch: &Patch) -> super::Written {
        let kind = self.kind_of(&key.resource)?;
        self.change(by, key, part, |object| {
            let version = object.pointer("/metadata/resourceVersion").cloned();
            patch.apply(object)?;
            if !kind.is_custom() {
                without_nulls(object);
            }
            // A patch that takes the version away asks for none.
            if text(object, "/metadata/resourceVersion").is_empty()
                && let Some(version) = version
            {
                crate::value::set(object, "/metadata/resourceVersion", version);
            }
            Ok(())
        })
    }

    fn delete_one(&mut self, by: By<'_>, kind: &Kind, key: &Key, how: &Deletion) -> Result<Reply, Failure> {
        match self.delete_at_last(by, key, how)? {
            Deleted::Waits(object) => Ok(Reply::Object(200, object)),
            Deleted::Gone(object) if rules::returns_deleted(&key.resource) => Ok(Reply::Object(200, object)),
            Deleted::Gone(object) => {
                let mut details = json!({"name": key.name, "kind": kind.plural, "uid": uid(&object)});
                if !kind.group.is_empty() {
                    crate::value::set(&mut details, "/group", json!(kind.group));
                }
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
                Ok(Reply::Object(200, Arc::new(status)))
            }
        }
    }
}
