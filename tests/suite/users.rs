//! People who use the command line, each as a user of the API server.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::foreign;
use crate::world::{World, path};

impl World {
    /// Gives a user rights in the whole cluster: RBAC rules as a ClusterRole has them.
    ///
    /// # Errors
    /// The API server does not take them.
    pub fn allow(&self, user: &str, rules: &Value) -> Result<()> {
        let metadata = json!({"name": format!("evenkeel-person-{user}")});
        let api = "rbac.authorization.k8s.io";
        let role = json!({
            "apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": metadata, "rules": rules,
        });
        let binding = json!({
            "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": metadata["name"]},
            "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
        });
        let both = json!({"apiVersion": "v1", "kind": "List", "items": [role, binding]});
        self.cluster.kubectl_with(&["apply", "-f", "-"], &foreign::labelled(&self.cluster, &both.to_string())?)?;
        Ok(())
    }

    /// Runs the command line as a user.
    ///
    /// # Errors
    /// It fails; the message is what it said.
    pub fn run_as(&self, user: &str, arguments: &[&str]) -> Result<String> {
        let config = self.configuration_of(user)?;
        let mut all = arguments.to_vec();
        all.extend(["--config", path(&config)?]);
        self.engine.command(&all)
    }

    /// Runs the command line as a user, who is refused; what it said.
    ///
    /// # Errors
    /// It does not fail.
    pub fn refused_as(&self, user: &str, arguments: &[&str]) -> Result<String> {
        let ran = self.run_as(user, arguments);
        ensure!(ran.is_err(), "{user} may {arguments:?}: {ran:?}");
        Ok(ran.map_or_else(|error| format!("{error:#}"), |_| String::new()))
    }

    /// The administrator's kubeconfig with the user's name on every request.
    fn configuration_of(&self, user: &str) -> Result<PathBuf> {
        let text = self.cluster.kubectl(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"])?;
        let mut kubeconfig: Value = serde_json::from_str(&text)?;
        kubeconfig["users"][0]["user"]["as"] = json!(user);
        let kubeconfig = self.write_kubeconfig(&format!("{user}.person.kubeconfig"), &kubeconfig)?;
        let mut configuration: Value = serde_json::from_slice(&std::fs::read(self.dir.path().join("admin.yaml"))?)?;
        configuration["kubernetes"] = json!({"kubeconfig": kubeconfig});
        let file = self.dir.path().join(format!("{user}.person.yaml"));
        std::fs::write(&file, serde_json::to_string_pretty(&configuration)?)?;
        Ok(file)
    }
}
