//! `POST /webhooks/alertmanager`: alerts in, signals on the bus, and 200 only when every one of
//! them is stored there. TLS and client certificates are a proxy's; the bearer token is ours.

mod body;
mod heartbeat;
mod payload;
mod refusal;
mod token;

pub(crate) use heartbeat::Heartbeat;
pub use token::BadTokenFile;
pub(crate) use token::Tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use evenkeel_model::{Clock, Signal, SignalState, Source};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::StatusCode;
use http::request::Parts;
use tokio::sync::{Notify, Semaphore};
use tracing::Instrument as _;

use crate::alert::{Alert, Normalizer};
use crate::config::Alertmanager;
use crate::metrics::Metrics;
use crate::publish::Publisher;
use crate::world::{self, SharedWorld};
use body::{Budget, Held, Packing};
use refusal::Refusal;

/// How many signals of one body are under way to the bus at a time.
const CONCURRENT: usize = 64;

/// So many bytes of a refused body are read and thrown away.
const DRAINED: usize = 256 * 1024 * 1024;

/// What the webhook needs.
pub(crate) struct Webhook {
    pub(crate) config: Alertmanager,
    /// `None` in development: whoever can connect may post.
    pub(crate) tokens: Option<Arc<Tokens>>,
    pub(crate) publisher: Publisher,
    pub(crate) normalizer: Arc<Normalizer>,
    pub(crate) world: SharedWorld,
    pub(crate) heartbeat: Arc<Heartbeat>,
    /// Told when alerts were left out of a body.
    pub(crate) poll_now: Arc<Notify>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
}

struct Door {
    webhook: Webhook,
    requests: Semaphore,
    budget: Arc<Budget>,
}

/// The routes.
pub(crate) fn router(webhook: Webhook) -> Router {
    let door = Door {
        requests: Semaphore::new(webhook.config.max_requests),
        budget: Budget::new(webhook.config.max_bytes_in_flight),
        webhook,
    };
    Router::new().route("/webhooks/alertmanager", post(receive)).with_state(Arc::new(door))
}

async fn receive(State(door): State<Arc<Door>>, request: Request) -> Response {
    let begun = tokio::time::Instant::now();
    let metrics = &door.webhook.metrics;
    let (head, mut body) = request.into_parts();
    let taken = door.take(&head, &mut body).await;
    metrics.answered(taken.as_ref().map_or_else(|refusal| refusal.status().as_u16(), |()| 200), begun.elapsed());
    match taken {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refusal) => {
            tracing::debug!(status = refusal.status().as_u16(), reason = %refusal, "webhook request refused");
            // A sender that is still writing when the connection is closed never sees why. One that
            // waits to be told to go on has not begun, and one that is slow is not waited for again.
            let waits = head.headers.contains_key(http::header::EXPECT) || matches!(refusal, Refusal::Slow(_));
            if !waits {
                let known = !matches!(refusal, Refusal::Unauthorized(_));
                let most = if known { DRAINED } else { door.webhook.config.max_body_bytes };
                body::drain(&mut body, most, door.webhook.config.read_timeout.get()).await;
            }
            refusal.into_response()
        }
    }
}

impl Door {
    async fn take(&self, head: &Parts, body: &mut Body) -> Result<(), Refusal> {
        let webhook = &self.webhook;
        let config = &webhook.config;
        if let Some(tokens) = &webhook.tokens {
            tokens.admit(&head.headers).await.map_err(Refusal::Unauthorized)?;
        }
        let packing = body::packing(&head.headers, config.max_body_bytes)?;
        let busy = |what| Refusal::Busy { what, retry_after: config.retry_after.get() };
        let _turn = self.requests.try_acquire().map_err(|_| busy("requests"))?;
        let _counted = InFlight::one_more(&webhook.metrics);
        let mut held = Held::none_of(&self.budget);
        let bytes_busy = busy("bytes");
        let patience = config.read_timeout.get();
        let read = body::read(body, config.max_body_bytes, &mut held, &bytes_busy);
        let bytes = tokio::time::timeout(patience, read).await.map_err(|_| Refusal::Slow(patience))??;
        let bytes = match packing {
            Packing::None => bytes,
            Packing::Gzip => body::gunzip(&bytes, config.max_body_bytes, &mut held, &bytes_busy)?,
        };
        body::check_depth(&bytes, config.max_depth)?;
        let notification = payload::parse(&bytes, config.max_alerts)?;
        if notification.truncated > 0 {
            webhook.metrics.ignored("truncated");
            webhook.poll_now.notify_one();
        }
        webhook.publish(&notification.alerts).await
    }
}

impl Webhook {
    /// Stores all alerts that are signals. The first that can't be stored refuses the body: those
    /// stored are known by their ids when it comes again.
    async fn publish(&self, alerts: &[Alert<'_>]) -> Result<(), Refusal> {
        let now = self.clock.now();
        // First: a body may bring the heartbeat and resolved alerts together.
        alerts.iter().for_each(|alert| self.hear(alert));
        let blind = self.heartbeat.is_blind(now);
        let mut held_back = false;
        let mut under_way = FuturesUnordered::new();
        for alert in alerts {
            if let Some(what) = self.ignored(alert) {
                self.metrics.ignored(what);
            } else if blind && alert.state == SignalState::Resolved {
                held_back = true;
            } else if alerts.len() == 1 {
                // The usual case of a storm, and it needs no queue.
                self.publish_one(alert).await?;
            } else {
                if under_way.len() >= CONCURRENT {
                    under_way.next().await.transpose()?;
                }
                under_way.push(self.publish_one(alert));
            }
        }
        while let Some(published) = under_way.next().await {
            published?;
        }
        if held_back {
            let reason = "the watchdog is silent: nothing is concluded to be healed".to_owned();
            return Err(Refusal::Unavailable { reason, retry_after: self.config.retry_after.get() });
        }
        Ok(())
    }

    /// Why an alert is no signal.
    fn ignored(&self, alert: &Alert<'_>) -> Option<&'static str> {
        if alert.is_named_like_ours() {
            Some("named like ours")
        } else if alert.is_ours() {
            Some("ours")
        } else {
            (alert.name() == self.config.watchdog).then_some("watchdog")
        }
    }

    fn hear(&self, alert: &Alert<'_>) {
        if alert.name() != self.config.watchdog {
            return;
        }
        match alert.state {
            SignalState::Firing => {
                self.metrics.heartbeats.inc();
                self.heartbeat.beat(self.clock.now());
            }
            SignalState::Resolved => self.heartbeat.lost(),
        }
    }

    async fn publish_one(&self, alert: &Alert<'_>) -> Result<(), Refusal> {
        let signal = self.signal(alert);
        let span = tracing::info_span!("observe", source = "alertmanager", signal = %signal.name, id = %signal.id);
        let traceparent = evenkeel_runtime::trace::traceparent(&span);
        let published = self.publisher.publish(&signal, traceparent).instrument(span).await;
        match published {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => {
                self.metrics.error("webhook");
                Err(Refusal::Malformed(format!("alert {:?} can't be stored: {error}", signal.name)))
            }
            Err(error) => {
                self.metrics.error("webhook");
                let reason = error.to_string();
                Err(Refusal::Unavailable { reason, retry_after: self.config.retry_after.get() })
            }
        }
    }

    fn signal(&self, alert: &Alert<'_>) -> Signal {
        let world = world::read(&self.world);
        self.normalizer.signal(alert, Source::Alertmanager, &world, self.clock.now())
    }
}

/// Counts a request as in flight for as long as it lives.
struct InFlight<'m>(&'m Metrics);

impl<'m> InFlight<'m> {
    fn one_more(metrics: &'m Metrics) -> Self {
        metrics.in_flight_requests.inc();
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight_requests.dec();
    }
}

/// Reads the token file again every so often, so that a token taken out of it stops working.
pub(crate) async fn refresh_tokens(tokens: &Tokens, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        tokens.refresh().await;
    }
}

#[cfg(test)]
mod tests;
