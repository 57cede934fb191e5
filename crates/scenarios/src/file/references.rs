//! What a scenario names and its cluster will never have: objects, containers, images and processes, misspelt or left
//! out. What the controllers make during the run is known by what they make it of.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Kind, ObjectRef};
use evenkeel_playbook::yaml::Source;
use evenkeel_playbook::{Problem, nearest};
use serde_json::Value;

use super::{Event, Object, Plane, SimulationSpec};

/// All that is named and isn't there.
pub(super) fn wrong_with(spec: &SimulationSpec, source: &Source) -> Vec<Problem> {
    let mut check = Check { spec, source, known: Known::of(spec), problems: Vec::new() };
    check.images();
    for (index, traffic) in spec.cluster.traffic.iter().enumerate() {
        check.object(&format!("spec.cluster.traffic[{index}].to"), &traffic.to);
    }
    for (index, event) in spec.timeline.iter().enumerate() {
        check.event(&format!("spec.timeline[{index}]"), event);
        check.known.extend(event.apply.as_ref());
    }
    check.expectations();
    check.problems
}

/// What there is, so far.
#[derive(Default)]
struct Known {
    objects: BTreeSet<ObjectRef>,
    /// The containers of those whose template is known.
    containers: BTreeMap<ObjectRef, Vec<String>>,
}

impl Known {
    fn of(spec: &SimulationSpec) -> Self {
        let mut known = Self::default();
        let cluster = &spec.cluster;
        known.extend(&cluster.objects);
        for workload in &cluster.workloads {
            let object = workload.object.0.clone();
            known.containers.insert(object.clone(), vec![object.name.clone()]);
            if workload.port.is_some() {
                known.objects.insert(ObjectRef { kind: Kind::Service, ..object.clone() });
            }
            known.objects.insert(object);
        }
        known.objects.extend((1..=cluster.nodes).map(|number| node(&format!("node-{number}"))));
        let namespaces: BTreeSet<String> = known.objects.iter().filter_map(|object| object.namespace.clone()).collect();
        let built_in = ["default", "kube-system", "kube-public", "kube-node-lease", crate::engine::NAMESPACE];
        let namespaces = namespaces.into_iter().chain(built_in.map(str::to_owned));
        known.objects.extend(namespaces.map(|name| ObjectRef::cluster_scoped(Kind::Namespace, name)));
        known
    }

    fn extend<'v>(&mut self, manifests: impl IntoIterator<Item = &'v Value>) {
        for manifest in manifests {
            let text = |pointer| manifest.pointer(pointer).and_then(Value::as_str);
            let kind = text("/kind").and_then(|kind| kind.parse::<Kind>().ok());
            let Some((kind, name)) = kind.zip(text("/metadata/name")) else { continue };
            let namespace = text("/metadata/namespace").unwrap_or("default").to_owned();
            let namespace = kind.is_namespaced().then_some(namespace);
            let object = ObjectRef { kind, namespace, name: name.to_owned(), uid: None };
            let template = if kind == Kind::CronJob { "/spec/jobTemplate/spec/template" } else { "/spec/template" };
            let containers = manifest.pointer(&format!("{template}/spec/containers")).and_then(Value::as_array);
            let names = containers.into_iter().flatten().filter_map(|it| it.get("name")?.as_str().map(str::to_owned));
            self.containers.insert(object.clone(), names.collect());
            self.objects.insert(object);
        }
    }

    /// Whether an object is there, or will perhaps be made by the cluster itself.
    fn has(&self, wanted: &ObjectRef) -> bool {
        let begins = wanted.name.strip_suffix('*');
        let fits = |name: &str| begins.map_or(wanted.name == name, |begins| name.starts_with(begins));
        let here = |object: &&ObjectRef| object.namespace == wanted.namespace;
        let described = self.objects.iter().filter(here).any(|object| object.kind == wanted.kind && fits(&object.name));
        // A name that a controller makes begins with its maker's.
        let made_by = |makers: &[Kind]| {
            let begins = begins.unwrap_or(&wanted.name);
            let makers = self.objects.iter().filter(here).filter(|object| makers.contains(&object.kind));
            makers
                .map(|maker| format!("{}-", maker.name))
                .any(|made| begins.starts_with(&made) || made.starts_with(begins))
        };
        described
            || match wanted.kind {
                Kind::Pod => made_by(&[
                    Kind::Deployment,
                    Kind::StatefulSet,
                    Kind::DaemonSet,
                    Kind::ReplicaSet,
                    Kind::Job,
                    Kind::CronJob,
                ]),
                Kind::ReplicaSet => made_by(&[Kind::Deployment]),
                Kind::Job => made_by(&[Kind::CronJob]),
                // Of a StatefulSet's templates, and what is provisioned for it.
                Kind::PersistentVolumeClaim => {
                    self.objects.iter().filter(here).any(|object| object.kind == Kind::StatefulSet)
                }
                Kind::PersistentVolume => true,
                _ => false,
            }
    }

    /// `; did you mean "deployment/shop/cart"?`
    fn meant(&self, wanted: &ObjectRef) -> String {
        let near = |same_place: bool| {
            let same = |object: &&ObjectRef| {
                object.kind == wanted.kind && (!same_place || object.namespace == wanted.namespace)
            };
            let names: Vec<&str> = self.objects.iter().filter(same).map(|object| object.name.as_str()).collect();
            let name = nearest(&wanted.name, &names)?;
            self.objects.iter().filter(same).find(|object| object.name == name)
        };
        let elsewhere = || {
            let same_name = |object: &&ObjectRef| object.name == wanted.name && object.kind != Kind::Namespace;
            self.objects.iter().find(same_name)
        };
        let found = near(true).or_else(|| near(false)).or_else(elsewhere);
        found.map(|object| format!("; did you mean \"{object}\"?")).unwrap_or_default()
    }
}

fn node(name: &str) -> ObjectRef {
    ObjectRef::cluster_scoped(Kind::Node, name)
}

struct Check<'a> {
    spec: &'a SimulationSpec,
    source: &'a Source,
    known: Known,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn wrong(&mut self, path: &str, message: impl std::fmt::Display) {
        self.problems.push(self.source.problem(path, message));
    }

    fn reference(&mut self, path: &str, object: &ObjectRef) {
        if !self.known.has(object) {
            let meant = self.known.meant(object);
            self.wrong(path, format!("expected an object of the cluster, found no {object} in it{meant}"));
        }
    }

    fn object(&mut self, path: &str, object: &Object) {
        self.reference(path, &object.0);
    }

    fn event(&mut self, path: &str, event: &Event) {
        let objects = [
            ("setImage.object", event.set_image.as_ref().map(|it| &it.object)),
            ("scale.object", event.scale.as_ref().map(|it| &it.object)),
            ("delete", event.delete.as_ref()),
            ("patch.object", event.patch.as_ref().map(|it| &it.object)),
            ("annotate.object", event.annotate.as_ref().map(|it| &it.object)),
            ("approve", event.approve.as_ref()),
            ("deny", event.deny.as_ref()),
            ("forge.of", event.forge.as_ref().map(|it| &it.of)),
            ("pause", event.pause.as_ref()),
            ("resume", event.resume.as_ref()),
            ("killPod.of", event.kill_pod.as_ref().map(|it| &it.of)),
            ("traffic.to", event.traffic.as_ref().map(|it| &it.to)),
            ("api.object", event.api.as_ref().and_then(|it| it.object.as_ref())),
        ];
        for (field, object) in objects {
            if let Some(object) = object {
                self.object(&format!("{path}.{field}"), object);
            }
        }
        let nodes = [
            ("killNode", &event.kill_node),
            ("restoreNode", &event.restore_node),
            ("cordon", &event.cordon),
            ("drain", &event.drain),
            ("uncordon", &event.uncordon),
        ];
        for (field, name) in nodes {
            if let Some(name) = name {
                self.reference(&format!("{path}.{field}"), &node(name));
            }
        }
        if let Some(set) = &event.set_image {
            let named = set.container.as_ref().unwrap_or(&set.object.0.name);
            if let Some(containers) = self.known.containers.get(&set.object.0).filter(|all| !all.contains(named)) {
                let meant = evenkeel_playbook::or_meant(named, containers);
                let field = if set.container.is_some() { "setImage.container" } else { "setImage" };
                let message = format!("expected a container of {}, found {named:?}{meant}", set.object);
                self.wrong(&format!("{path}.{field}"), message);
            }
        }
        if let Some(kill) = &event.kill {
            let there = match kill.plane {
                Plane::Observer => 1,
                Plane::Reasoner => self.spec.engine.reasoner,
                Plane::Gateway => self.spec.engine.gateway,
            };
            if kill.number.is_some_and(|number| number == 0 || number > there) || there == 0 {
                let message = format!("expected one that runs, found {there} of them in spec.engine");
                self.wrong(&format!("{path}.kill"), message);
            }
        }
    }

    /// Images without a life: whatever the kubelet did with one that is misspelt, nobody meant.
    fn images(&mut self) {
        let spec = self.spec;
        let mut used = Vec::new();
        for (index, workload) in spec.cluster.workloads.iter().enumerate() {
            used.push((format!("spec.cluster.workloads[{index}].image"), workload.image.clone()));
        }
        for (index, object) in spec.cluster.objects.iter().enumerate() {
            images_in(object, &format!("spec.cluster.objects[{index}]"), &mut used);
        }
        let mut described: Vec<&str> = spec.cluster.images.keys().map(String::as_str).collect();
        let mut changed = Vec::new();
        for (index, event) in spec.timeline.iter().enumerate() {
            let path = format!("spec.timeline[{index}]");
            if let Some(set) = &event.set_image {
                used.push((format!("{path}.setImage.image"), set.image.clone()));
            }
            if let Some(set) = &event.set_image_life {
                changed.push((format!("{path}.setImageLife.image"), set.image.as_str()));
            }
            if let Some(manifest) = &event.apply {
                images_in(manifest, &format!("{path}.apply"), &mut used);
            }
            if let Some(patch) = &event.patch {
                for (field, value) in [("merge", &patch.merge), ("json", &patch.json)] {
                    value.iter().for_each(|value| images_in(value, &format!("{path}.patch.{field}"), &mut used));
                }
            }
        }
        for (path, image) in &changed {
            if !described.contains(image) && !used.iter().any(|(_, used)| used == image) {
                let names: Vec<&str> = used.iter().map(|(_, image)| image.as_str()).chain(described.clone()).collect();
                let meant = nearest(image, &names).map(|it| format!("; did you mean {it:?}?")).unwrap_or_default();
                self.wrong(path, format!("expected an image that something runs, found {image:?}{meant}"));
            }
        }
        described.extend(changed.iter().map(|(_, image)| *image));
        for (path, image) in used {
            if !described.contains(&image.as_str()) {
                let meant = evenkeel_playbook::or_meant(&image, &described);
                self.wrong(&path, format!("expected an image of spec.cluster.images, found {image:?}{meant}"));
            }
        }
    }

    /// Objects that are nowhere, and what can't come true.
    fn expectations(&mut self) {
        let spec = self.spec;
        for (index, written) in spec.expect.writes.iter().enumerate() {
            let path = format!("spec.expect.writes[{index}]");
            self.object(&format!("{path}.object"), &written.object);
            self.bounds(&path, written.after, written.before);
            let kinds = written.action.kinds();
            if !written.action.is_mutating() {
                let message = format!("expected an action that changes the cluster, found {}", written.action);
                self.wrong(&format!("{path}.do"), message);
            } else if !kinds.contains(&written.object.0.kind) {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
                let message =
                    format!("{} is done to a {}, found {}", written.action, kinds.join(" or "), written.object.0.kind);
                self.wrong(&format!("{path}.object"), message);
            }
        }
        for (index, finally) in spec.expect.finally.iter().enumerate() {
            self.object(&format!("spec.expect.finally[{index}].object"), &finally.object);
        }
        for (index, failed) in spec.expect.requests.iter().enumerate() {
            let path = format!("spec.expect.requests[{index}]");
            self.object(&format!("{path}.to"), &failed.to);
            for (field, bound) in [("atLeast", failed.at_least), ("atMost", failed.at_most)] {
                if let Some(bound) = bound.filter(|bound| !(0.0..=1.0).contains(bound)) {
                    self.wrong(&format!("{path}.{field}"), format!("expected a share from 0 to 1, found {bound}"));
                }
            }
            if failed.at_least.zip(failed.at_most).is_some_and(|(least, most)| least > most) {
                self.wrong(&path, "can't be met: atLeast is more than atMost");
            }
        }
        for (index, remediated) in spec.expect.remediations.iter().enumerate() {
            if let Some(object) = &remediated.object {
                self.object(&format!("spec.expect.remediations[{index}].object"), object);
            }
        }
        for (index, escalated) in spec.expect.escalations.iter().enumerate() {
            let path = format!("spec.expect.escalations[{index}]");
            self.object(&format!("{path}.object"), &escalated.object);
            self.bounds(&path, escalated.after, escalated.before);
        }
    }

    fn bounds(&mut self, path: &str, after: Option<evenkeel_model::Span>, before: Option<evenkeel_model::Span>) {
        if let Some((after, before)) = after.zip(before).filter(|(after, before)| after >= before) {
            self.wrong(&format!("{path}.before"), format!("can't be met: {before} is not later than after, {after}"));
        }
        if let Some(after) = after.filter(|after| *after >= self.spec.until) {
            let until = self.spec.until;
            self.wrong(&format!("{path}.after"), format!("can't be met: {after} is not before the end ({until})"));
        }
    }
}

/// The images that containers in a manifest or a patch name, with their paths.
fn images_in(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            let replaced = fields.get("path").and_then(Value::as_str).is_some_and(|path| path.ends_with("/image"));
            if let Some(image) = fields.get("value").and_then(Value::as_str).filter(|_| replaced) {
                found.push((format!("{path}.value"), image.to_owned()));
            }
            for (name, field) in fields {
                let path = format!("{path}.{name}");
                if matches!(name.as_str(), "containers" | "initContainers") {
                    for (index, container) in field.as_array().into_iter().flatten().enumerate() {
                        if let Some(image) = container.get("image").and_then(Value::as_str) {
                            found.push((format!("{path}[{index}].image"), image.to_owned()));
                        }
                    }
                } else {
                    images_in(field, &path, found);
                }
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| images_in(item, &format!("{path}[{index}]"), found));
        }
        _ => {}
    }
}
