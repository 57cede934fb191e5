//! Carries the ledger's arithmetic ([`evenkeel_policy::ledger`]) to the one Ledger object and back,
//! by compare-and-set. What was read or written last is remembered, so that an undisturbed claim is
//! one request; a memory that is too old costs a conflict, never a wrong answer.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{LEDGER_NAME, Ledger, LedgerSpec};
use evenkeel_runtime::HealthPart;
use kube::Client;
use kube::Resource as _;
use kube::client::Body;
use kube::core::{Request, Status};
use tokio::sync::Mutex;

use crate::clock_guard::ClockGuard;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::plane::count;
use crate::remediations::by_us;

/// Writes of others that come between before we give up for now.
const ATTEMPTS: usize = 8;

pub(crate) struct LedgerKeeper {
    client: Client,
    namespace: String,
    timeout: Duration,
    guard: Arc<ClockGuard>,
    metrics: Metrics,
    health: HealthPart,
    known: Mutex<Option<Ledger>>,
}

/// Makes the content of a Ledger that does not exist (any more) of what else is known.
pub(crate) type Seed<'a> = &'a (dyn Fn() -> LedgerSpec + Send + Sync);

impl LedgerKeeper {
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        guard: Arc<ClockGuard>,
        timeout: Duration,
        metrics: Metrics,
        health: HealthPart,
    ) -> Self {
        let namespace = namespace.to_owned();
        Self { client, namespace, timeout, guard, metrics, health, known: Mutex::new(None) }
    }

    /// Changes the ledger as `change` says: `Ok` is written by compare-and-set and its answer
    /// returned, `Err` is decided on a ledger that was read just now and returned.
    ///
    /// # Errors
    /// [`ApiError`] when the ledger could not be read or written. It may have been written.
    pub(crate) async fn change<T, E>(
        &self,
        seed: Seed<'_>,
        change: impl Fn(&LedgerSpec) -> Result<(LedgerSpec, T), E>,
    ) -> Result<Result<T, E>, ApiError> {
        let mut known = self.known.lock().await;
        // With clocks apart the answer would not be used: look again first.
        if self.guard.trouble().is_some() {
            *known = None;
        }
        let result = self.attempt(&mut known, seed, change).await;
        match (&result, known.as_ref()) {
            (Ok(_), Some(ledger)) => {
                self.metrics.ledger_claims.set(count(ledger.spec.claims.len()));
                self.metrics.ledger_debits.set(count(ledger.spec.debits.len()));
                self.health.ready();
            }
            (Ok(_), None) => {}
            (Err(error), _) => {
                *known = None;
                self.metrics.error("ledger");
                self.health.not_ready(error.to_string());
            }
        }
        result
    }

    async fn attempt<T, E>(
        &self,
        known: &mut Option<Ledger>,
        seed: Seed<'_>,
        change: impl Fn(&LedgerSpec) -> Result<(LedgerSpec, T), E>,
    ) -> Result<Result<T, E>, ApiError> {
        for _ in 0..ATTEMPTS {
            let (mut ledger, is_fresh) = match known.take() {
                Some(ledger) => (ledger, false),
                None => (self.read_or_create(seed).await?, true),
            };
            let (next, answer) = match change(&ledger.spec) {
                Ok(changed) => changed,
                // What is remembered may be too old to refuse by.
                Err(_) if !is_fresh => continue,
                Err(refused) => {
                    *known = Some(ledger);
                    return Ok(Err(refused));
                }
            };
            if next == ledger.spec {
                *known = Some(ledger);
                return Ok(Ok(answer));
            }
            ledger.spec = next;
            match self.put(&ledger).await {
                Ok(written) => {
                    *known = Some(written);
                    return Ok(Ok(answer));
                }
                Err(error) if matches!(error.code(), Some(404 | 409)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ApiError::Malformed {
            what: "writing the ledger".to_owned(),
            expected: "to come between the writes of others",
            found: format!("{ATTEMPTS} conflicts in a row"),
        })
    }

    /// Why no new action may be begun by our clock, if so. To be asked after the ledger was.
    pub(crate) fn clock_trouble(&self) -> Option<String> {
        self.guard.trouble()
    }

    /// Compares the clocks again where there is trouble, so that times can be gone by whatever ours says.
    ///
    /// # Errors
    /// The API server did not answer.
    pub(crate) async fn compare_clocks(&self) -> Result<(), ApiError> {
        if self.guard.trouble().is_none() {
            return Ok(());
        }
        let read = self.request().get(LEDGER_NAME, &kube::api::GetParams::default());
        match self.send("comparing clocks", read).await {
            Err(error) if error.code() != Some(404) => Err(error),
            // What it says is not asked: only when it was said.
            _ => Ok(()),
        }
    }

    async fn read_or_create(&self, seed: Seed<'_>) -> Result<Ledger, ApiError> {
        match self.send("reading the ledger", self.request().get(LEDGER_NAME, &kube::api::GetParams::default())).await {
            Err(error) if error.code() == Some(404) => {}
            read => return read,
        }
        let body = self.body(&Ledger::new(LEDGER_NAME, seed()))?;
        match self.send("creating the ledger", self.request().create(&by_us(), body)).await {
            Err(error) if error.code() == Some(409) => {
                let get = self.request().get(LEDGER_NAME, &kube::api::GetParams::default());
                self.send("reading the ledger", get).await
            }
            created => {
                self.metrics.request("create ledger", if created.is_ok() { "ok" } else { "error" });
                created
            }
        }
    }

    async fn put(&self, ledger: &Ledger) -> Result<Ledger, ApiError> {
        let put = self.request().replace(LEDGER_NAME, &by_us(), self.body(ledger)?);
        let written = self.send("writing the ledger", put).await;
        let result = match &written {
            Ok(_) => "ok",
            Err(error) if error.code() == Some(409) => "conflict",
            Err(_) => "error",
        };
        self.metrics.request("replace ledger", result);
        written
    }

    fn request(&self) -> Request {
        Request::new(Ledger::url_path(&(), Some(&self.namespace)))
    }

    fn body(&self, ledger: &Ledger) -> Result<Vec<u8>, ApiError> {
        serde_json::to_vec(ledger).map_err(|error| ApiError::of("writing the ledger", kube::Error::SerdeError(error)))
    }

    /// Sends by hand rather than through `Api`: the answer's Date header is what the clock guard needs.
    async fn send(
        &self,
        what: &str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Ledger, ApiError> {
        let request = request.map_err(|error| ApiError::of(what, kube::Error::BuildRequest(error)))?;
        let answer = async {
            let sent = self.guard.ours();
            let answer = self.client.send(request.map(Body::from)).await?;
            self.guard.note(sent, answer.headers().get(http::header::DATE));
            if let Some(apart) = self.guard.apart_milliseconds() {
                self.metrics.clock_apart.set(apart);
            }
            let status = answer.status();
            let body = answer.into_body().collect_bytes().await?;
            if status.is_success() {
                return serde_json::from_slice(&body).map_err(kube::Error::SerdeError);
            }
            let status = serde_json::from_slice::<Status>(&body).unwrap_or_else(|_| {
                Status::failure(&String::from_utf8_lossy(&body), "not a Status").with_code(status.as_u16())
            });
            Err(kube::Error::Api(status.boxed()))
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|error| ApiError::of(what, error)),
            Err(_) => Err(ApiError::Late { what: what.to_owned(), limit: self.timeout }),
        }
    }
}
