//! Reading: single objects and lists, at the version that is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::selector::{FieldSelector, LabelSelector};
use super::uri::Query;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::state::State;
use crate::store::Key;
use crate::value::{at, set};

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a \
    new list without the continue parameter, or use the continue token in this response to retrieve the remainder of \
    the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
    modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// Which objects of a resource are asked for.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) kind: Arc<Kind>,
    /// Empty for all.
    pub(super) namespace: String,
    /// A collection's path with a name, as watches of one object have it; empty for all.
    pub(super) name: String,
    pub(super) labels: LabelSelector,
    pub(super) fields: FieldSelector,
}

impl Chosen {
    pub(super) fn parse(kind: &Arc<Kind>, namespace: &str, name: &str, query: &Query) -> Result<Self, Failure> {
        Ok(Self {
            kind: Arc::clone(kind),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: LabelSelector::parse(query.text("labelSelector"))?,
            fields: FieldSelector::parse(query.text("fieldSelector"), kind)?,
        })
    }

    /// Whether an object of the resource is among them.
    pub(super) fn has(&self, key: &Key, object: &Value) -> bool {
        (self.namespace.is_empty() || self.namespace == key.namespace)
            && (self.name.is_empty() || self.name == key.name)
            && (self.labels.is_empty() || self.labels.selects(at(object, "/metadata/labels")))
            && (self.fields.is_empty() || self.fields.selects(object))
    }

    fn is_selective(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }
}

/// What a list is answered with.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) metadata: Value,
    pub(super) items: Vec<Arc<Value>>,
}

/// A resourceVersion of a query; 0 is any.
///
/// # Errors
/// 500, as the API server has it of a get or a watch, for what is no number.
pub(super) fn revision(query: &Query) -> Result<Option<u64>, Failure> {
    let text = query.text("resourceVersion");
    if text.is_empty() {
        return Ok(None);
    }
    let why =
        format!("resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax");
    text.parse().map(Some).map_err(|_| Failure::new(500, "", why, Value::Null))
}

impl State {
    /// An object, not older than the query asks.
    pub(super) fn read(&self, key: &Key, query: &Query) -> Result<Arc<Value>, Failure> {
        self.not_before(revision(query)?)?;
        self.store.get(key).cloned().ok_or_else(|| Failure::not_found(key))
    }

    pub(super) fn not_before(&self, revision: Option<u64>) -> Result<(), Failure> {
        match revision {
            Some(asked) if asked > self.store.revision() => {
                Err(Failure::too_large_resource_version(asked, self.store.revision()))
            }
            _ => Ok(()),
        }
    }

    /// All objects that are chosen now.
    pub(super) fn chosen(&self, chosen: &Chosen) -> Vec<(Key, Arc<Value>)> {
        let resource = chosen.kind.resource();
        let pick =
            |(key, object): (&Key, &Arc<Value>)| chosen.has(key, object).then(|| (key.clone(), Arc::clone(object)));
        if chosen.namespace.is_empty() {
            self.store.of(&resource).filter_map(pick).collect()
        } else {
            self.store.within(&resource, &chosen.namespace).filter_map(pick).collect()
        }
    }

    /// A list, or a page of it.
    pub(super) fn list(&self, chosen: &Chosen, query: &Query) -> Result<Listed, Failure> {
        let unreadable =
            |failure: Failure| Failure::bad_request(format!("invalid resource version: {}", failure.message()));
        let asked = revision(query).map_err(unreadable)?;
        let resource = chosen.kind.resource();
        let matching = query.text("resourceVersionMatch");
        options(query, matching, asked)?;
        let token = query.text("continue");
        let mut revision = self.store.revision();
        let mut after = None;
        let mut past: Option<BTreeMap<Key, Arc<Value>>> = None;
        if token.is_empty() {
            self.not_before(asked)?;
            if let (Some(exact), "Exact") = (asked, matching) {
                let old = self.store.at(&resource, exact);
                let gone = |_| Failure::gone("The resourceVersion for the provided list is too old.");
                past = Some(old.map_err(gone)?);
                revision = exact;
            }
        } else {
            let (began, last) = parse_token(token)
                .ok_or_else(|| Failure::bad_request("invalid continue token: continue key is not valid"))?;
            after = Some(last);
            // 0 goes on from whatever there is now.
            if began != 0 {
                let old = self.store.at(&resource, began);
                past = Some(old.map_err(|_| expired(after.as_ref()))?);
                revision = began;
            }
        }
        let mut found: Vec<(Key, Arc<Value>)> = match past {
            Some(past) => past.into_iter().filter(|(key, object)| chosen.has(key, object)).collect(),
            None => self.chosen(chosen),
        };
        if let Some((namespace, name)) = &after {
            found.retain(|(key, _)| (&key.namespace, &key.name) > (namespace, name));
        }
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        let limit = query.integer("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0);
        // A list from the watch cache comes whole.
        // Whether what follows is selected, the API server looks at only when it is asked for it.
        let full = found.last().filter(|_| found.len() == limit && chosen.is_selective());
        let follows = full.is_some_and(|(last, _)| {
            let mut others = self.store.of(&resource);
            others.any(|(key, _)| key > last && (chosen.namespace.is_empty() || key.namespace == chosen.namespace))
        });
        if limit > 0 && (found.len() > limit || follows) && asked != Some(0) {
            let left = found.len() - limit;
            found.truncate(limit);
            if let Some((last, _)) = found.last() {
                set(&mut metadata, "/continue", json!(write_token(revision, &last.namespace, &last.name)));
            }
            if !chosen.is_selective() {
                set(&mut metadata, "/remainingItemCount", json!(left));
            }
        }
        Ok(Listed { metadata, items: found.into_iter().map(|(_, object)| object).collect() })
    }
}

fn options(query: &Query, matching: &str, asked: Option<u64>) -> Result<(), Failure> {
    let refused = |message: &str| {
        let why = ("FieldValueForbidden", "resourceVersionMatch", message);
        Err(Failure::invalid("ListOptions", "meta.k8s.io", "", why))
    };
    if matching.is_empty() {
        return Ok(());
    }
    if !query.text("continue").is_empty() {
        return refused("Forbidden: resourceVersionMatch is forbidden when continue is provided");
    }
    if asked.is_none() {
        return refused("Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    match matching {
        "Exact" if asked == Some(0) => {
            refused("Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        "Exact" | "NotOlderThan" => Ok(()),
        other => {
            let message =
                format!("Unsupported value: \"{other}\": supported values: \"Exact\", \"NotOlderThan\", \"\"");
            let why = ("FieldValueNotSupported", "resourceVersionMatch", message.as_str());
            Err(Failure::invalid("ListOptions", "meta.k8s.io", "", why))
        }
    }
}

fn expired(after: Option<&(String, String)>) -> Failure {
    let mut failure = Failure::gone(TOO_OLD);
    if let Some((namespace, name)) = after {
        set(&mut failure.status, "/metadata/continue", json!(write_token(0, namespace, name)));
    }
    failure
}

fn write_token(revision: u64, namespace: &str, name: &str) -> String {
    format!("{revision}/{namespace}/{name}").bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_token(token: &str) -> Option<(u64, (String, String))> {
    let digits: Vec<char> = token.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok();
    let bytes: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>()?;
    let text = String::from_utf8(bytes).ok()?;
    let mut parts = text.splitn(3, '/');
    let revision = parts.next()?.parse().ok()?;
    Some((revision, (parts.next()?.to_owned(), parts.next()?.to_owned())))
}
