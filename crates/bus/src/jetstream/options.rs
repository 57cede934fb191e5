use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::Cluster;

/// How to reach the servers. Secrets are read from files, again at every reconnect, and are
/// neither kept here nor logged.
#[derive(Clone)]
pub struct JetStreamOptions {
    /// `nats://host:port` or `tls://host:port`, any number of one NATS cluster.
    pub servers: Vec<String>,
    /// The Kubernetes cluster this bus is for.
    pub cluster: Cluster,
    /// What the server calls this connection.
    pub name: String,
    /// Who we are.
    pub authentication: Authentication,
    /// Encryption; the scheme `tls://` alone uses the system's roots.
    pub tls: Option<Tls>,
    /// Where replies arrive. Each plane has its own ([`crate::permissions::Plane::inbox_prefix`]), so that no user
    /// can read another's replies.
    pub inbox_prefix: String,
    /// How long the server may take for one answer.
    pub timeout: Duration,
}

impl JetStreamOptions {
    /// One server, no authentication, answers within two seconds.
    #[must_use]
    pub fn new(server: impl Into<String>, cluster: Cluster) -> Self {
        Self {
            servers: vec![server.into()],
            cluster,
            name: "evenkeel".to_owned(),
            authentication: Authentication::None,
            tls: None,
            inbox_prefix: "_INBOX".to_owned(),
            timeout: Duration::from_secs(2),
        }
    }
}

impl fmt::Debug for JetStreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(|server| without_user(server)).collect();
        f.debug_struct("JetStreamOptions")
            .field("servers", &servers)
            .field("cluster", &self.cluster)
            .field("name", &self.name)
            .field("authentication", &self.authentication)
            .field("tls", &self.tls)
            .field("inbox_prefix", &self.inbox_prefix)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// A server's address without what stands before the `@`.
pub(super) fn without_user(server: &str) -> String {
    match (server.split_once("://"), server.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => server.to_owned(),
    }
}

/// Who we are to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// Nobody.
    None,
    /// A user and the file with its password.
    Password {
        /// User name.
        user: String,
        /// File with the password; white space around it is ignored.
        password_file: PathBuf,
    },
    /// The file with a token.
    Token {
        /// File with the token; white space around it is ignored.
        token_file: PathBuf,
    },
    /// A credentials file (`.creds`) as `nsc` writes it.
    Credentials {
        /// The file.
        file: PathBuf,
    },
}

/// Encryption and, with a certificate, authentication by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the roots to trust; the system's otherwise.
    pub ca: Option<PathBuf>,
    /// PEM files with our certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_has_no_secret() {
        let cluster = Cluster::new("c").unwrap();
        let options = JetStreamOptions::new("nats://me:hunter2@nats:4222", cluster);
        let text = format!("{options:?}");
        assert!(text.contains("nats://nats:4222"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
