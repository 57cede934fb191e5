//! What the suites break, and the playbooks and policies under which it is repaired.

use serde_json::{Value, json};

/// A Deployment of the test application.
#[derive(Debug, Clone)]
pub struct App<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Name; also its label `app`.
    pub name: &'a str,
    /// `registry.example/…` image.
    pub image: &'a str,
    /// Replicas.
    pub replicas: i32,
    /// `RollingUpdate` or `Recreate`.
    pub strategy: &'a str,
    /// Run on the real node rather than on fake ones.
    pub real: bool,
    /// Environment taken from this ConfigMap.
    pub env_from: Option<&'a str>,
}

impl<'a> App<'a> {
    /// Two replicas of an image on the real node.
    pub fn new(namespace: &'a str, name: &'a str, image: &'a str) -> Self {
        Self { namespace, name, image, replicas: 2, strategy: "RollingUpdate", real: true, env_from: None }
    }

    /// The manifest.
    pub fn deployment(&self) -> Value {
        let labels = json!({"app": self.name});
        let mut container = json!({
            "name": "app",
            "image": self.image,
            "ports": [{"containerPort": 8080}],
            "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        });
        let mut pod = json!({"terminationGracePeriodSeconds": 1});
        if self.real {
            container["readinessProbe"] =
                json!({"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1});
            pod["nodeSelector"] = json!({"type": "real"});
        }
        if let Some(map) = self.env_from {
            container["envFrom"] = json!([{"configMapRef": {"name": map}}]);
        }
        pod["containers"] = json!([container]);
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": labels},
            "spec": {
                "replicas": self.replicas,
                "progressDeadlineSeconds": 600,
                "strategy": {"type": self.strategy},
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {
                        "labels": labels,
                        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
                    },
                    "spec": pod,
                },
            },
        })
    }
}

/// The shipped bad-rollout playbook's ladder with times that a test can wait for.
pub const BAD_ROLLOUT: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: bad-rollout}
spec:
  summary: A new revision does not come up; go back to the last one that was available.
  priority: 100
  match:
    signals: [KubeDeploymentRolloutStuck, KubePodCrashLooping, KubeContainerWaiting, CrashLoopBackOff, ImagePullBackOff, ErrImagePull]
    kinds: [Deployment]
  settle: 3s
  diagnose:
    - name: recent
      changes: {of: target, within: 1h}
  when:
    - {fact: recent.podTemplateChanged, op: Equals, value: true}
    - {fact: target.lastAvailableRevision, op: Exists}
    - {fact: target.unavailableReplicas, op: AtLeast, value: 1}
  steps:
    - name: roll-back
      do: {rollbackWorkload: {to: LastAvailable}}
      verify:
        within: 60s
        hold: 3s
        that:
          - {fact: target.well, op: Equals, value: true}
      undo: Never
      recurWithin: 1h
    - name: hand-over
      do: {escalate: {severity: Page}}
"#;

/// Everything else is told to people.
pub const TELL: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: tell}
spec:
  summary: Tell people about what no other playbook is for.
  priority: -1000
  match: {signals: ["*"]}
  settle: 3s
  steps:
    - name: tell
      do: {notify: {message: "{{incident.signals}}"}}
"#;

/// Rollbacks of Deployments in namespace `shop`, automatically.
pub fn policy(mode: &str) -> String {
    format!(
        r#"
apiVersion: evenkeel.dev/v1alpha1
kind: ActionPolicy
metadata: {{name: shop}}
spec:
  mode: {mode}
  match: {{namespaces: [shop], kinds: [Deployment], selector: {{}}}}
  actions:
    - do: rollbackWorkload
      tier: Low
      origins: [Playbook]
      rate: {{target: 100/1h, namespace: 1000/1h, cluster: 1000/1h}}
  windows: {{timeZone: UTC, allow: [{{days: ["*"], from: "00:00", to: "24:00"}}], freeze: []}}
  limits: {{concurrent: 10, unavailable: {{count: 100, percent: 100}}}}
  gitOps: UnownedFields
"#
    )
}
