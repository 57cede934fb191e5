use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::extract::{Request, State};
use evenkeel_model::{Kind, ObjectRef};
use evenkeel_runtime::http::{Limits, Network};
use http::StatusCode;

use super::*;

type Answers = Arc<Mutex<BTreeMap<&'static str, (u16, String)>>>;

/// A server that answers paths as told and wants a token.
async fn server(answers: Answers, max_bytes: usize) -> Server {
    // An error means that another test of this process has done it.
    drop(rustls::crypto::ring::default_provider().install_default());
    let answer = |State(answers): State<Answers>, request: Request| async move {
        if request.headers().get("authorization").is_none_or(|found| found != "Bearer secret-of-the-test") {
            return (StatusCode::UNAUTHORIZED, "no token".to_owned());
        }
        let answers = answers.lock().unwrap();
        let found = answers.get(request.uri().path()).cloned().unwrap_or((404, "nothing here".to_owned()));
        (StatusCode::from_u16(found.0).unwrap(), found.1)
    };
    let router = axum::Router::new().fallback(answer).with_state(answers);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prefix", listener.local_addr().unwrap());
    tokio::spawn(evenkeel_runtime::serve(listener, router, 10, Shutdown::new()));
    let token = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
    std::fs::write(&token, "secret-of-the-test\n").unwrap();
    to(&url, Some(token), max_bytes).unwrap()
}

fn to(url: &str, token: Option<std::path::PathBuf>, max_bytes: usize) -> Result<Server, HttpError> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let limits = Limits { timeout: Duration::from_secs(5), max_bytes };
    Server::new(Arc::new(Network::new().unwrap()), url, token, limits)
}

fn answering(path: &'static str, code: u16, text: &str) -> Answers {
    Arc::new(Mutex::new(BTreeMap::from([(path, (code, text.to_owned()))])))
}

#[tokio::test]
async fn a_path_below_the_base_is_got_with_the_token() {
    let server = server(answering("/prefix/api/v1/alerts", 200, "hello"), 5).await;
    assert_eq!(&server.get("api/v1/alerts").await.unwrap()[..], b"hello");
}

#[tokio::test]
async fn large_answers_errors_and_silence_are_told_apart() {
    let server_with = |code, text: &str| server(answering("/prefix/x", code, text), 5);
    let error = server_with(200, "hello!").await.get("x").await.unwrap_err();
    assert!(matches!(error, HttpError::TooLarge { limit: 5 }), "{error}");
    let error = server_with(503, "away, password=hunter2").await.get("x").await.unwrap_err();
    assert_eq!(error.to_string(), "expected 200, found 503: away, password=[redacted]");
    let nobody = to("http://user:word@127.0.0.1:1", None, 5).unwrap();
    let error = nobody.get("x").await.unwrap_err().to_string();
    assert!(error.contains("onnect") && !error.contains("word"), "{error}");
}

#[test]
fn what_is_no_base_url_is_refused_without_its_password() {
    for url in ["prometheus:9090", "ftp://prometheus", "", "://u:word@x"] {
        let error = to(url, None, 5).unwrap_err();
        assert!(matches!(error, HttpError::Url { .. }), "{url}: {error}");
    }
}

#[tokio::test]
async fn silences_and_inhibitions_are_read_and_stay_when_the_server_goes_away() {
    let answers = answering(
        "/prefix/api/v2/silences",
        200,
        r#"[{"id":"s1","createdBy":"ana","comment":"known","status":{"state":"active"},"startsAt":"2026-01-01T00:00:00Z",
            "matchers":[{"name":"deployment","value":"cart","isRegex":false,"isEqual":true}]}]"#,
    );
    let alerts = r#"[{"fingerprint":"507a62d79ee76c9a","status":{"state":"suppressed","silencedBy":[],"inhibitedBy":["x"]},
        "labels":{}}]"#;
    answers.lock().unwrap().insert("/prefix/api/v2/alerts", (200, alerts.to_owned()));
    let server = server(Arc::clone(&answers), 10_000).await;
    let world = SharedWorld::default();
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let health = evenkeel_runtime::Health::new();
    let shutdown = Shutdown::new();
    let interval = Duration::from_millis(20);
    let part = health.part("poll silences");
    tokio::spawn(quiet(server, Arc::clone(&world), interval, metrics.clone(), part, shutdown.clone()));
    let cart = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
    let held = || world::read(&world).suppressed(Some(&cart), None);
    for _ in 0..200 {
        if held().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(held().unwrap(), "silenced by ana (s1): known");
    assert_eq!(metrics.silences.get(), 2);
    assert!(health.missing().is_empty());
    answers.lock().unwrap().insert("/prefix/api/v2/silences", (500, "away".to_owned()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(held().is_some(), "what was known before stays");
    answers.lock().unwrap().insert("/prefix/api/v2/silences", (200, "[]".to_owned()));
    for _ in 0..200 {
        if held().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(held(), None);
    shutdown.cancel();
}
