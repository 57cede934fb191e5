use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use evenkeel_model::{Happened, Kind, ObjectRef};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;

use super::Evidence;
use crate::detect::{count_and_last, reference};
use crate::world;

/// Of so many pods, worst first, Events are asked for.
const PODS: usize = 8;
/// So many Events of one object are read.
const EACH: u32 = 50;

impl Evidence {
    /// Events about the object, its root, its ReplicaSets and its worst pods, newest first.
    pub(super) async fn events(&self, object: &ObjectRef, since: DateTime<Utc>) -> Result<Vec<Happened>, String> {
        let about = self.about(object);
        let lists = futures::stream::iter(about.into_iter().map(|object| self.events_of(object))).buffer_unordered(4);
        let lists: Vec<Result<Vec<Happened>, String>> = lists.collect().await;
        let mut all = Vec::new();
        for list in lists {
            all.extend(list?.into_iter().filter(|happened| happened.at >= since));
        }
        all.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.object.cmp(&b.object)).then_with(|| a.reason.cmp(&b.reason)));
        all.truncate(self.config.max_rows);
        Ok(all)
    }

    fn about(&self, object: &ObjectRef) -> BTreeSet<ObjectRef> {
        let mut about = BTreeSet::from([ObjectRef { uid: None, ..object.clone() }]);
        for (namespace, name) in self.pods_of(object, PODS) {
            about.insert(ObjectRef::namespaced(Kind::Pod, namespace, name));
        }
        let world = world::read(&self.sight.world);
        about.extend(world.root(object).map(|root| ObjectRef { uid: None, ..root }));
        if object.kind == Kind::Deployment
            && let Some(namespace) = object.namespace.as_deref()
        {
            let owned = world.replica_sets.within(namespace).filter(|(_, replica_set)| {
                replica_set.desired > 0
                    && replica_set.meta.owner.as_ref().is_some_and(|owner| *owner.name == *object.name)
            });
            about.extend(owned.map(|(name, _)| ObjectRef::namespaced(Kind::ReplicaSet, namespace, name)));
        }
        about
    }

    async fn events_of(&self, object: ObjectRef) -> Result<Vec<Happened>, String> {
        let api: Api<Event> = match &object.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let fields = format!("involvedObject.kind={},involvedObject.name={}", object.kind, object.name);
        let list = api.list(&ListParams::default().fields(&fields).limit(EACH)).await;
        let list = list.map_err(|error| format!("Events of {object} could not be read: {error}"))?;
        let of_it = |happened: &Happened| happened.object.kind == object.kind && happened.object.name == object.name;
        Ok(list.items.iter().filter_map(happened).filter(of_it).collect())
    }
}

fn happened(event: &Event) -> Option<Happened> {
    let (count, at) = count_and_last(event)?;
    let involved = &event.involved_object;
    let kind: Kind = involved.kind.as_deref()?.parse().ok()?;
    let object = reference(kind, involved.namespace.as_deref().unwrap_or_default(), involved.name.as_deref()?);
    let message = evenkeel_runtime::redact::text(event.message.as_deref().unwrap_or_default());
    Some(Happened {
        object: ObjectRef { uid: involved.uid.clone(), ..object },
        severity: event.type_.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        message: crate::alert::bounded(&message, 512).into_owned(),
        count,
        at,
    })
}
