//! Encrypted, and known by certificate.

use evenkeel_bus::{Authentication, Bus as _, BusError, JetStreamBus, JetStreamOptions, Tls, admin};
use evenkeel_xtask::nats::{NatsOptions, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::rig::{cluster, options, signal};

fn leaf(issuer: &CertifiedIssuer<'_, KeyPair>, directory: &std::path::Path, name: &str) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_and_given() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(file("ca.pem"), issuer.pem()).unwrap();
    leaf(&issuer, directory.path(), "server");
    leaf(&issuer, directory.path(), "client");
    std::fs::write(file("token"), "t0ken\n").unwrap();
    let server = Server::start(NatsOptions {
        config: Some(format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\nauthorization {{ token: t0ken }}",
            file("server.pem"),
            file("server.key"),
            file("ca.pem")
        )),
        ..NatsOptions::default()
    })
    .unwrap();

    let mut connection = JetStreamOptions::new(&server.url, cluster());
    connection.authentication = Authentication::Token { token_file: file("token") };
    connection.tls = Some(Tls { ca: Some(file("ca.pem")), certificate: None });
    let anonymous = JetStreamBus::connect(connection.clone()).await.err();
    assert!(matches!(anonymous, Some(BusError::Unavailable(_))), "{anonymous:?}");

    connection.tls =
        Some(Tls { ca: Some(file("ca.pem")), certificate: Some((file("client.pem"), file("client.key"))) });
    admin::init(&connection, &options(None)).await.unwrap();
    let bus = JetStreamBus::connect(connection).await.unwrap();
    bus.publish(signal("a")).await.unwrap();
}
