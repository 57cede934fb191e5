//! Certificates and kubeconfigs, made on the fly.

use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use super::plan::{Plan, write};

/// A certificate authority in memory; its key is on file too, for kube-controller-manager to sign with.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// Whom a certificate is for.
struct Subject<'a> {
    name: &'a str,
    group: Option<&'a str>,
    /// Names and addresses it may serve as; empty for clients.
    serves: &'a [&'a str],
}

const fn client<'a>(name: &'a str, group: Option<&'a str>) -> Subject<'a> {
    Subject { name, group, serves: &[] }
}

const fn server<'a>(name: &'a str, serves: &'a [&'a str]) -> Subject<'a> {
    Subject { name, group: None, serves }
}

impl Authority {
    fn new(name: &str, dir: &Path, file: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        write(&dir.join(format!("{file}.crt")), issuer.pem())?;
        private(&dir.join(format!("{file}.key")), &issuer.key().serialize_pem())?;
        Ok(Self { issuer })
    }

    fn issue(&self, dir: &Path, file: &str, subject: &Subject<'_>) -> Result<()> {
        let names: Vec<String> = subject.serves.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        if let Some(group) = subject.group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.distinguished_name.push(DnType::CommonName, subject.name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !subject.serves.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(&dir.join(format!("{file}.crt")), certificate.pem())?;
        private(&dir.join(format!("{file}.key")), &key.serialize_pem())
    }

    /// A client certificate and a kubeconfig for `user`.
    pub(crate) fn admit(&self, plan: &Plan, user: &str, group: Option<&str>) -> Result<()> {
        self.issue(&plan.path("pki"), user, &client(user, group))?;
        kubeconfig(plan, user)
    }
}

fn private(file: &Path, pem: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    write(file, pem)?;
    Ok(std::fs::set_permissions(file, PermissionsExt::from_mode(0o600))?)
}

/// Makes everything a cluster needs below `pki/` and `kube/`; gives the authority that clients are signed by.
pub(crate) fn create(plan: &Plan) -> Result<Authority> {
    let dir = plan.path("pki");
    let ca = Authority::new("kubernetes", &dir, "ca")?;
    let front = Authority::new("front-proxy", &dir, "front")?;
    let etcd = Authority::new("etcd", &dir, "etcd-ca")?;
    etcd.issue(&dir, "etcd", &server("etcd", &["127.0.0.1", "localhost"]))?;
    etcd.issue(&dir, "etcd-client", &client("kube-apiserver", None))?;
    front.issue(&dir, "front-client", &client("front-proxy-client", None))?;
    let own_names = [
        "127.0.0.1",
        "10.96.0.1",
        "172.31.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    ca.issue(&dir, "apiserver", &server("kube-apiserver", &own_names))?;
    ca.issue(&dir, "kubelet-client", &client("kube-apiserver-kubelet-client", Some("system:masters")))?;
    ca.issue(&dir, "kwok-server", &server("kwok", &["127.0.0.1", "localhost"]))?;
    let kubelet =
        Subject { name: "system:node:real-node", group: Some("system:nodes"), serves: &["172.31.0.1", "real-node"] };
    ca.issue(&dir, "kubelet", &kubelet)?;
    ca.issue(&dir, "admin", &client("test-admin", Some("system:masters")))?;
    ca.issue(&dir, "controller-manager", &client("system:kube-controller-manager", None))?;
    ca.issue(&dir, "scheduler", &client("system:kube-scheduler", None))?;
    ca.issue(&dir, "kwok", &client("kwok-controller", None))?;
    ca.issue(&dir, "exporter", &client("exporter", None))?;
    for user in ["admin", "controller-manager", "scheduler", "kwok", "kubelet"] {
        kubeconfig(plan, user)?;
    }
    let accounts = KeyPair::generate()?;
    private(&dir.join("accounts.key"), &accounts.serialize_pem())?;
    write(&dir.join("accounts.pub"), accounts.public_key_pem())?;
    Ok(ca)
}

fn kubeconfig(plan: &Plan, user: &str) -> Result<()> {
    let pki = plan.text("pki");
    let text = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": plan.api_url(), "certificate-authority": format!("{pki}/ca.crt")}}],
        "users": [{"name": user, "user": {
            "client-certificate": format!("{pki}/{user}.crt"),
            "client-key": format!("{pki}/{user}.key"),
        }}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "current-context": "test",
    });
    private(&plan.kubeconfig(user), &serde_json::to_string_pretty(&text)?)
}
