//! What is decided before there is a cluster: ports, passwords, and what the cluster needs for them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Plane, evenkeel};
use crate::cluster::{Addon, ClusterOptions, webhook_receiver};
use crate::ports;

/// The installation's ceiling on what policies may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Say what would be done.
    Audit,
    /// Let policies decide.
    Enforce,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Audit => "Audit",
            Self::Enforce => "Enforce",
        }
    }
}

/// What an installation is to be. Start from [`Settings::new`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `evenkeel` binary.
    pub program: PathBuf,
    /// The cluster's name on the bus.
    pub cluster: String,
    /// The engine's namespace.
    pub namespace: String,
    /// The installation's mode.
    pub mode: Mode,
    /// Laid over every plane's configuration, key by key.
    pub overrides: Value,
    /// The bearer token that Alertmanagers send.
    pub token: String,
    pub(super) passwords: BTreeMap<&'static str, String>,
    webhook: u16,
    admin: BTreeMap<Plane, u16>,
}

impl Settings {
    /// Everything an installation needs, on free ports, with secrets of its own; the engine may act.
    ///
    /// # Errors
    /// There are no free ports or no randomness.
    pub fn new(program: &Path) -> Result<Self> {
        let found = ports::free(4)?;
        let [webhook, observer, reasoner, gateway] = found.as_slice() else { bail!("no free ports") };
        let mut passwords = BTreeMap::new();
        for user in USERS {
            passwords.insert(user, secret()?);
        }
        Ok(Self {
            program: program.to_path_buf(),
            cluster: "try".to_owned(),
            namespace: "evenkeel".to_owned(),
            mode: Mode::Enforce,
            overrides: json!({}),
            token: secret()?,
            passwords,
            webhook: *webhook,
            admin: BTreeMap::from([
                (Plane::Observer, *observer),
                (Plane::Reasoner, *reasoner),
                (Plane::Gateway, *gateway),
            ]),
        })
    }

    /// The same cluster with what the engine needs of it: NATS with a user a plane, and Alertmanagers that post to
    /// the observer, unless the caller has configured them.
    ///
    /// # Errors
    /// The binary does not say which users it needs.
    pub fn prepare(&self, options: ClusterOptions) -> Result<ClusterOptions> {
        let mut options = options.with(Addon::Nats);
        options.nats_config = Some(self.nats_config(&options.nats_config.unwrap_or_default())?);
        if options.has(Addon::Alertmanager) && options.alertmanager_config.is_none() {
            options.alertmanager_config = Some(webhook_receiver(&self.webhook(), &self.token));
        }
        Ok(options)
    }

    /// The binary writes users whose passwords are variables; nats-server takes those from the file as well.
    fn nats_config(&self, more: &str) -> Result<String> {
        let users =
            evenkeel(&self.program, &["bus", "permissions"], |command| command.env("EVENKEEL_CLUSTER", &self.cluster))?;
        let mut text = more.to_owned();
        for (user, password) in &self.passwords {
            text.push_str(&format!("EVENKEEL_{}_PASSWORD: \"{password}\"\n", user.to_uppercase()));
        }
        Ok(text + &users)
    }

    /// Where Alertmanagers post.
    #[must_use]
    pub fn webhook(&self) -> String {
        format!("http://{}/webhooks/alertmanager", self.listen())
    }

    pub(super) fn listen(&self) -> String {
        format!("127.0.0.1:{}", self.webhook)
    }

    pub(super) fn admin_port(&self, plane: Plane) -> u16 {
        self.admin.get(&plane).copied().unwrap_or_default()
    }
}

/// Users of the bus.
const USERS: [&str; 4] = ["observer", "reasoner", "gateway", super::install::ADMIN];

/// 128 random bits in hexadecimal.
fn secret() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).context("reading /dev/urandom")?;
    // A letter first: nats-server reads a variable's value once more, and would take digits for a number.
    Ok(format!("s{}", hex::encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_installations_share_a_port_or_a_secret() {
        let all = [Settings::new(Path::new("evenkeel")).unwrap(), Settings::new(Path::new("evenkeel")).unwrap()];
        let ports: Vec<u16> = all.iter().flat_map(|one| one.admin.values().chain([&one.webhook]).copied()).collect();
        let secrets: Vec<&String> = all.iter().flat_map(|one| one.passwords.values().chain([&one.token])).collect();
        assert_eq!(ports.iter().collect::<std::collections::BTreeSet<_>>().len(), 8);
        assert_eq!(secrets.iter().collect::<std::collections::BTreeSet<_>>().len(), 10);
    }
}
