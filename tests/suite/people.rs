//! People at the cluster: each with a client certificate of their own, and what RBAC gives them.

use std::path::PathBuf;

use anyhow::Result;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::engine::Plane;
use crate::world::{ENGINE, World, path};

/// Everybody who is known may create Approvals and read what they are for; whoever is in the group `sre` may approve
/// tier Medium in the namespace `shop`.
pub const APPROVERS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: evenkeel-approvals, namespace: evenkeel}
rules:
  - {apiGroups: [evenkeel.dev], resources: [remediations], verbs: [get, list, watch]}
  - {apiGroups: [evenkeel.dev], resources: [approvals], verbs: [get, list, watch, create, update, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: evenkeel-approvals, namespace: evenkeel}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: evenkeel-approvals}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:authenticated"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: evenkeel-approve-medium, namespace: shop}
rules:
  - {apiGroups: [evenkeel.dev], resources: [tiers], resourceNames: [medium], verbs: [approve]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: evenkeel-approve-medium, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: evenkeel-approve-medium}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: sre}]
"#;

/// Somebody at the cluster.
pub struct Person {
    /// Their user name.
    pub name: String,
    /// Their kubeconfig.
    pub kubeconfig: PathBuf,
    /// Their own client. It sends each request once.
    pub client: Client,
}

impl Person {
    async fn with(name: &str, kubeconfig: PathBuf) -> Result<Self> {
        let read = Kubeconfig::read_from(&kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        Ok(Self { name: name.to_owned(), kubeconfig, client: Client::try_from(config)? })
    }
}

impl World {
    /// Somebody with a client certificate.
    ///
    /// # Errors
    /// The cluster is somebody else's, whose authority we don't have.
    pub async fn person(&self, name: &str, group: Option<&str>) -> Result<Person> {
        Person::with(name, self.cluster.kubeconfig_for(name, group)?).await
    }

    /// Whoever holds the token of a plane's ServiceAccount.
    ///
    /// # Errors
    /// The API server gives no token.
    pub async fn account(&self, plane: Plane) -> Result<Person> {
        Person::with(&crate::audit::user_of(plane), self.kubeconfig_of(plane)?).await
    }

    /// Runs kubectl as somebody.
    ///
    /// # Errors
    /// It fails; the message is what it says.
    pub fn kubectl_as(&self, person: &Person, arguments: &[&str], input: &str) -> Result<String> {
        let mut all = vec!["--kubeconfig", path(&person.kubeconfig)?];
        all.extend(arguments);
        self.cluster.kubectl_with(&all, input)
    }

    /// Runs a command of ours as somebody.
    ///
    /// # Errors
    /// It fails; the message is what it says.
    pub fn evenkeel_as(&self, person: &Person, arguments: &[&str]) -> Result<String> {
        let file = self.dir.path().join(format!("{}.person.yaml", person.name.replace(':', "-")));
        let configuration: Value = json!({"namespace": ENGINE, "kubernetes": {"kubeconfig": person.kubeconfig}});
        std::fs::write(&file, configuration.to_string())?;
        let mut all = arguments.to_vec();
        all.extend(["--config", path(&file)?]);
        self.engine.command(&all)
    }

    /// Installs the admission policy over Approvals, as `evenkeel policy admission` prints it.
    ///
    /// # Errors
    /// The API server refuses it.
    pub fn guard_approvals(&self) -> Result<()> {
        self.apply(&self.approvals_admission()?)
    }

    /// The admission policy over Approvals and its binding.
    ///
    /// # Errors
    /// The command fails.
    pub fn approvals_admission(&self) -> Result<String> {
        let policies = self.dir.path().join("no-policies");
        std::fs::create_dir_all(&policies)?;
        let file = policies.join("none.yaml");
        std::fs::write(&file, crate::manifests::policy("Audit"))?;
        let printed =
            self.engine.command(&["policy", "admission", "--policies", path(&file)?, "--namespace", ENGINE])?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&printed)?;
        let ours = documents.into_iter().filter(|it| it["metadata"]["name"] == "evenkeel-approvals");
        let ours: Vec<String> = ours.map(|it| it.to_string()).collect();
        Ok(ours.join("\n---\n"))
    }
}
