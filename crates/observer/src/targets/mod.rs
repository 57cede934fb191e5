//! What an alert is about. Exporters' labels lie: `KubeDeploymentReplicasMismatch{deployment="cart",
//! pod="kube-state-metrics-…"}` is about the Deployment. Known alerts are resolved by a table, by
//! the label of their own kind; others by an annotation, else by labels in order of trust.

mod custom;
mod table;

pub use table::BadTable;
pub(crate) use table::{Rule, Table};

use evenkeel_model::{Kind, ObjectRef};

use crate::alert::{Alert, Labels};
use crate::world::World;

/// Annotations in which a rule's author names the target: `deployment/shop/cart`. The second is
/// for Prometheus servers and rule checkers that take only legacy names.
pub(crate) const TARGET_ANNOTATIONS: [&str; 2] = ["evenkeel.dev/target", "evenkeel_dev_target"];

/// What an alert turned out to be about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The object, absent where none could be told.
    pub(crate) target: Option<ObjectRef>,
    /// What a person would act on, where the owners are known.
    pub(crate) root: Option<ObjectRef>,
    /// What it may be an effect of.
    pub(crate) causes: Vec<ObjectRef>,
}

/// Finds targets.
#[derive(Debug)]
pub(crate) struct Resolver {
    table: Table,
    exporters: Vec<String>,
    #[cfg(feature = "mutation")]
    believes_pod_labels: bool,
}

impl Resolver {
    /// With the shipped table. Pods whose names begin with one of `exporters` are never targets of
    /// alerts that the table does not know.
    ///
    /// # Errors
    /// [`BadTable`] when the shipped table is not what it should be.
    pub(crate) fn new(exporters: Vec<String>) -> Result<Self, BadTable> {
        Ok(Self {
            table: Table::shipped()?,
            exporters,
            #[cfg(feature = "mutation")]
            believes_pod_labels: false,
        })
    }

    #[cfg(feature = "mutation")]
    pub(crate) fn believing_pod_labels(self, believes_pod_labels: bool) -> Self {
        Self { believes_pod_labels, ..self }
    }

    /// Names of the alerts that the shipped table knows.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.table.names()
    }

    /// What the alert is about.
    pub(crate) fn resolve(&self, alert: &Alert<'_>, world: &World) -> Subject {
        #[cfg(feature = "mutation")]
        if let Some(pod) = alert.labels.get("pod").filter(|_| self.believes_pod_labels) {
            return object(Kind::Pod, pod, &alert.labels).map(|pod| place(pod, world)).unwrap_or_default();
        }
        let annotated = TARGET_ANNOTATIONS.iter().find_map(|name| alert.annotations.get(name));
        let target = match (annotated, self.table.get(alert.name())) {
            (Some(text), _) => match text.parse::<ObjectRef>() {
                Ok(target) => Some(target),
                Err(error) => {
                    // The author meant another object than the labels say: guessing would be worse than none.
                    tracing::debug!(alert = alert.name(), %error, "target annotation can't be read");
                    None
                }
            },
            (None, Some(rule)) => by_rule(rule, &alert.labels, world),
            (None, None) => custom::by_labels(&alert.labels, world, &self.exporters),
        };
        target.map(|target| place(target, world)).unwrap_or_default()
    }
}

/// Adds what the world knows of a target: uid, root, causes.
pub(crate) fn place(target: ObjectRef, world: &World) -> Subject {
    let target = world.identified(target);
    let root = world.root(&target);
    let causes = world.causes(&target);
    Subject { target: Some(target), root, causes }
}

fn by_rule(rule: &Rule, labels: &Labels<'_>, world: &World) -> Option<ObjectRef> {
    let Rule::Object { kind, labels: names } = rule else { return None };
    names.iter().find_map(|name| match *name {
        // The scrape address of a kubelet is its node's; no other kind is told by an address.
        "instance" => {
            let node = world.node_at(host(labels.get("instance")?))?;
            Some(ObjectRef::cluster_scoped(Kind::Node, node))
        }
        name => object(*kind, told(labels, name)?, labels),
    })
}

/// What the exporter said. Without `honorLabels`, Prometheus moves it to the `exported_` label and
/// puts the exporter's own pod, node and namespace in its place.
fn told<'l>(labels: &'l Labels<'_>, name: &str) -> Option<&'l str> {
    let exported = match name {
        "pod" => labels.get("exported_pod"),
        "node" => labels.get("exported_node"),
        "namespace" => labels.get("exported_namespace"),
        "service" => labels.get("exported_service"),
        _ => None,
    };
    exported.or_else(|| labels.get(name))
}

/// An object named by a label, in the namespace the labels give. A pod's uid label goes with it.
fn object(kind: Kind, name: &str, labels: &Labels<'_>) -> Option<ObjectRef> {
    if !is_name(name) {
        return None;
    }
    let mut object = if kind.is_namespaced() {
        ObjectRef::namespaced(kind, told(labels, "namespace").filter(|it| is_name(it))?, name)
    } else {
        ObjectRef::cluster_scoped(kind, name)
    };
    if kind == Kind::Pod {
        object.uid = labels.get("uid").filter(|uid| is_name(uid)).map(str::to_owned);
    }
    Some(object)
}

/// Whether the text can be a Kubernetes object's name (RBAC's colons do not occur in these kinds).
fn is_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

/// The host of a scrape address: `10.0.0.5:10250`, `[fd00::5]:10250`, `node-1`.
fn host(instance: &str) -> &str {
    if let Some(rest) = instance.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match instance.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.contains(':') => host,
        _ => instance,
    }
}

#[cfg(test)]
mod tests;
