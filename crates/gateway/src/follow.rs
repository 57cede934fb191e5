//! Following a kind of our own objects: one watch that mends itself and says how it is.

use std::time::Duration;

use evenkeel_runtime::{Backoff, HealthPart, Shutdown, redact};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kube::Api;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::time::Instant;

use crate::error::Error;
use crate::metrics::Metrics;

/// First and longest wait after an error of the watch.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// Errors for less than this are nothing to be not ready for: an API server that restarts, a connection that breaks.
const PATIENCE: Duration = Duration::from_secs(15);
/// A watch that has been begun again without an error for so long may be well: it is asked for, then.
const CALM: Duration = Duration::from_secs(2);
/// The longest that question may take.
const ASKING: Duration = Duration::from_secs(10);

/// A watch on all objects of a kind in our namespace.
///
/// Not ready until all have been listed once, and again when errors have lasted for a while. A broken watch goes on
/// where it was without a word before something happens, which may be in hours; so after an error the API server is
/// asked for one object: when it answers, and the watch has not failed meanwhile, it is well again.
pub(crate) struct Follow {
    what: &'static str,
    api: Api<DynamicObject>,
    watch: BoxStream<'static, watcher::Result<Event<DynamicObject>>>,
    health: HealthPart,
    metrics: Metrics,
    shutdown: Shutdown,
    backoff: Backoff,
    /// All have been listed once.
    listed: bool,
    /// They are being listed.
    listing: bool,
    /// The last event was the end of a list; whoever took it knows all of it by the next call.
    ended_list: bool,
    failing_since: Option<Instant>,
    /// Not before, after an error.
    again_at: Option<Instant>,
    asking: Option<BoxFuture<'static, Result<(), String>>>,
}

impl Follow {
    /// `what` is counted with errors and seeds the waits after them.
    pub(crate) fn new(
        what: &'static str,
        api: Api<DynamicObject>,
        health: HealthPart,
        metrics: Metrics,
        shutdown: Shutdown,
    ) -> Self {
        let seed = what.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Self {
            what,
            watch: watcher(api.clone(), watcher::Config::default()).boxed(),
            api,
            health,
            metrics,
            shutdown,
            backoff: Backoff::new(RETRY.0, RETRY.1, seed),
            listed: false,
            listing: false,
            ended_list: false,
            failing_since: None,
            again_at: None,
            asking: None,
        }
    }

    /// Lists everything anew, and goes on from there.
    pub(crate) fn list_anew(&mut self) {
        self.watch = watcher(self.api.clone(), watcher::Config::default()).boxed();
    }

    /// The next event; `None` at shutdown. Nothing is lost when it is not waited for to the end.
    ///
    /// # Errors
    /// When the watch ended, which it never should.
    pub(crate) async fn next(&mut self) -> Result<Option<Event<DynamicObject>>, Error> {
        if std::mem::take(&mut self.ended_list) {
            self.works();
        }
        loop {
            if let Some(at) = self.again_at {
                tokio::select! {
                    biased;
                    () = self.shutdown.cancelled() => return Ok(None),
                    () = tokio::time::sleep_until(at) => self.again_at = None,
                }
            }
            let answered = async {
                match &mut self.asking {
                    Some(asking) => asking.await,
                    None => std::future::pending().await,
                }
            };
            let heard = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(None),
                heard = self.watch.next() => heard,
                answered = answered => {
                    match answered {
                        Ok(()) => self.works(),
                        Err(reason) => self.fails(reason),
                    }
                    continue;
                }
            };
            match heard {
                Some(Ok(event)) => {
                    self.note(&event);
                    return Ok(Some(event));
                }
                Some(Err(error)) => {
                    self.metrics.error(self.what);
                    self.fails(redact::text(&error.to_string()));
                    self.again_at = Some(Instant::now() + self.backoff.next());
                }
                None => return Err(Error::Ended(format!("{} ended", self.what))),
            }
        }
    }

    fn note(&mut self, event: &Event<DynamicObject>) {
        match event {
            // Said before anything was asked for.
            Event::Init => {
                self.listing = true;
                self.asking = None;
            }
            Event::InitApply(_) => {}
            Event::InitDone => {
                (self.listed, self.listing, self.ended_list) = (true, false, true);
            }
            Event::Apply(_) | Event::Delete(_) => self.works(),
        }
    }

    fn works(&mut self) {
        self.asking = None;
        if self.failing_since.take().is_some() {
            tracing::info!(watch = self.what, "works again");
        }
        self.backoff.reset();
        self.health.ready();
    }

    fn fails(&mut self, reason: String) {
        let since = *self.failing_since.get_or_insert_with(|| {
            tracing::warn!(watch = self.what, reason, "failed; trying again");
            Instant::now()
        });
        if !self.listed || since.elapsed() >= PATIENCE {
            self.health.not_ready(reason);
        }
        // While they are listed, the end of the list will tell.
        self.asking = (self.listed && !self.listing).then(|| self.ask());
    }

    fn ask(&self) -> BoxFuture<'static, Result<(), String>> {
        let api = self.api.clone();
        Box::pin(async move {
            tokio::time::sleep(CALM).await;
            match tokio::time::timeout(ASKING, api.list_metadata(&ListParams::default().limit(1))).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(redact::text(&error.to_string())),
                Err(_) => Err(format!("no answer within {} s", ASKING.as_secs())),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evenkeel_model::{Approval, FixedClock};
    use evenkeel_runtime::Health;
    use evenkeel_runtime::metrics::Registry;
    use kube::core::ApiResource;
    use tokio::sync::mpsc;

    use super::*;
    use crate::testing::world::{Fault, World};
    use crate::testing::{approval, at};

    const NONE: &str = r#"{"items": []}"#;
    const WATCH: &str = "WATCH approvals";

    struct Bench {
        world: World,
        health: Health,
        heard: mpsc::UnboundedReceiver<String>,
    }

    /// One that follows Approvals, in virtual time.
    fn follow() -> Bench {
        let world = World::new(NONE, Arc::new(FixedClock::new(at(0))));
        let (health, shutdown) = (Health::new(), Shutdown::new());
        let api = Api::namespaced_with(world.client(), "evenkeel", &ApiResource::erase::<Approval>(&()));
        let metrics = Metrics::register(&mut Registry::default());
        let mut follow = Follow::new("watch approvals", api, health.part("watch"), metrics, shutdown);
        let (sender, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(event) = follow.next().await.unwrap() {
                sender.send(event.to_string()).unwrap();
            }
        });
        Bench { world, health, heard }
    }

    async fn sleep(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    impl Bench {
        fn heard(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
        }

        fn break_for(&self, tries: usize) {
            for _ in 0..tries {
                self.world.fault(WATCH, Fault::Answer(403));
            }
            self.world.break_watches("approvals");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_breaks_is_nothing_to_be_not_ready_for() {
        let mut bench = follow();
        sleep(1).await;
        assert_eq!((bench.heard(), bench.health.missing()), (vec!["Init".to_owned(), "InitDone".to_owned()], vec![]));
        bench.break_for(0);
        for _ in 0..20 {
            sleep(1).await;
            assert_eq!(bench.health.missing(), []);
        }
        let made = serde_json::to_value(approval("a-1", "r-1", "jane", 0)).unwrap();
        let mut made = made;
        made["metadata"]["resourceVersion"] = "7".into();
        bench.world.tell("ADDED", &made);
        sleep(1).await;
        assert_eq!(bench.heard(), ["Apply(a-1)"], "it goes on where it was");
    }

    #[tokio::test(start_paused = true)]
    async fn errors_that_last_make_it_not_ready_and_it_gets_ready_by_itself() {
        let mut bench = follow();
        sleep(1).await;
        bench.heard();
        bench.break_for(10_000);
        sleep(10).await;
        assert_eq!(bench.health.missing(), []);
        sleep(110).await;
        let (part, reason) = bench.health.missing().remove(0);
        assert!(part == "watch" && reason.contains("failed to start watching"), "{part}: {reason}");
        // Nothing happens to any Approval.
        bench.world.forget_faults();
        sleep(60).await;
        assert_eq!((bench.health.missing(), bench.heard()), (vec![], vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_refused_for_good_stays_not_ready_although_lists_are_answered() {
        let bench = follow();
        sleep(1).await;
        bench.break_for(10_000);
        sleep(100).await;
        for _ in 0..100 {
            sleep(3).await;
            assert_eq!(bench.health.missing().len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_first_list_it_is_not_ready_and_says_why() {
        let mut bench = follow();
        for _ in 0..10_000 {
            bench.world.fault("GET evenkeel/approvals", Fault::Answer(403));
        }
        sleep(5).await;
        assert!(bench.health.missing()[0].1.contains("initial object list"), "{:?}", bench.health.missing());
        bench.world.forget_faults();
        sleep(60).await;
        assert_eq!(bench.health.missing(), []);
        assert_eq!(bench.heard().last().map(String::as_str), Some("InitDone"));
    }
}
