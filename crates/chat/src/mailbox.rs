use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use evenkeel_model::Clock;
use evenkeel_runtime::{Backoff, BoxError, Shutdown};
use tokio::sync::Notify;

use crate::metrics::Metrics;
use crate::store::Store;
use crate::story::Story;

/// So many remediations wait to be told at one destination; beyond it the one that waited longest
/// is left out and counted.
const MOST: usize = 512;
/// So often one story is tried.
const ATTEMPTS: u32 = 40;
/// Between attempts, where the other side does not say.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MOST_WAIT: Duration = Duration::from_secs(60);

/// Somebody who is told.
#[async_trait]
pub(crate) trait Destination: Send + Sync + 'static {
    /// `slack`, or a webhook's name.
    fn name(&self) -> &str;

    /// Tells the story as it is now: true when something was sent, false when there was nothing to tell.
    async fn deliver(&self, story: &Story) -> Result<bool, Undelivered>;
}

/// Why a story was not told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Undelivered {
    /// It may work later; not before `after`, if the other side said so.
    Later { after: Option<Duration>, reason: String },
    /// It never will.
    Never(String),
}

impl Undelivered {
    pub(crate) fn later(error: BoxError) -> Self {
        Self::Later { after: None, reason: error.to_string() }
    }
}

/// The store's key for what was told to a destination about a remediation.
pub(crate) fn key(destination: &str, remediation: &str) -> String {
    format!("message.{}", evenkeel_model::short_digest([destination, remediation], 40))
}

/// How long one process may take to tell something first.
const FIRST_WORD: chrono::Duration = chrono::Duration::minutes(2);

/// Which of several gateways tells something first: those that lose come again later, and find it
/// told. What a process claimed and did not tell, because it was killed, another tells.
pub(crate) struct FirstWord {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    /// This process.
    pub(crate) holder: String,
}

impl FirstWord {
    /// Whether this process is to tell it.
    pub(crate) async fn is_ours(&self, key: &str) -> Result<(), Undelivered> {
        let (key, now) = (format!("{key}.first"), self.clock.now());
        let claim = Bytes::from(format!("{} {}", now.timestamp(), self.holder));
        if self.store.create(&key, claim.clone()).await.map_err(Undelivered::later)? {
            return Ok(());
        }
        let found = self.store.get(&key).await.map_err(Undelivered::later)?.unwrap_or_default();
        let found = String::from_utf8_lossy(&found);
        let (since, holder) = found.split_once(' ').unwrap_or_default();
        let since = since.parse().ok().and_then(|since| DateTime::from_timestamp(since, 0));
        if holder == self.holder || since.is_none_or(|since| now - since > FIRST_WORD) {
            return self.store.put(&key, claim).await.map_err(Undelivered::later);
        }
        let reason = "another gateway is telling it".to_owned();
        Err(Undelivered::Later { after: Some(Duration::from_secs(10)), reason })
    }
}

/// Stories that wait for one destination: the latest of each remediation, in the order in which
/// remediations came.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    order: VecDeque<String>,
    waiting: BTreeMap<String, Story>,
}

impl Mailbox {
    /// Puts a story in the place of an earlier one of the same remediation. False when another
    /// remediation's had to be left out for it.
    pub(crate) fn put(&self, story: Story) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let name = story.remediation.clone();
        if inner.waiting.insert(name.clone(), story).is_none() {
            inner.order.push_back(name);
        }
        let mut fitted = true;
        while inner.order.len() > MOST {
            if let Some(oldest) = inner.order.pop_front() {
                inner.waiting.remove(&oldest);
                fitted = false;
            }
        }
        drop(inner);
        self.wake.notify_one();
        fitted
    }

    async fn take(&self) -> Story {
        loop {
            let wake = self.wake.notified();
            if let Some(story) = self.next() {
                return story;
            }
            wake.await;
        }
    }

    fn next(&self) -> Option<Story> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let name = inner.order.pop_front()?;
        inner.waiting.remove(&name)
    }

    /// The latest story of a remediation, if one came since.
    fn newer(&self, remediation: &str) -> Option<Story> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let story = inner.waiting.remove(remediation)?;
        inner.order.retain(|name| name != remediation);
        Some(story)
    }
}

/// Tells one destination what is in its mailbox, until shutdown. What can't be told now is tried
/// again, with the latest there is to tell.
pub(crate) async fn tell(
    destination: Arc<dyn Destination>,
    mailbox: Arc<Mailbox>,
    metrics: Metrics,
    seed: u64,
    shutdown: Shutdown,
) {
    loop {
        let story = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            story = mailbox.take() => story,
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tell_one(&*destination, &mailbox, &metrics, seed, story) => {}
        }
    }
}

async fn tell_one(destination: &dyn Destination, mailbox: &Mailbox, metrics: &Metrics, seed: u64, mut story: Story) {
    let name = destination.name();
    let mut backoff = Backoff::new(FIRST_WAIT, MOST_WAIT, seed);
    for attempt in 1..=ATTEMPTS {
        match destination.deliver(&story).await {
            Ok(true) => return metrics.told(name, "told"),
            Ok(false) => return,
            Err(Undelivered::Never(reason)) => {
                tracing::warn!(to = name, remediation = story.remediation, reason, "could not be told");
                return metrics.told(name, "refused");
            }
            Err(Undelivered::Later { after, reason }) => {
                metrics.told(name, "later");
                if attempt == 1 {
                    tracing::warn!(to = name, remediation = story.remediation, reason, "will be told later");
                }
                let wait = backoff.next();
                tokio::time::sleep(after.map_or(wait, |after| after.max(wait))).await;
                if let Some(newer) = mailbox.newer(&story.remediation) {
                    story = newer;
                }
            }
        }
    }
    tracing::warn!(to = name, remediation = story.remediation, "given up: could not be told");
    metrics.told(name, "given up");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{story, story_in};
    use evenkeel_model::Phase;

    type Script = Mutex<VecDeque<Result<bool, Undelivered>>>;

    #[derive(Default)]
    struct Scripted {
        answers: Script,
        heard: Mutex<Vec<Phase>>,
    }

    #[async_trait]
    impl Destination for Scripted {
        fn name(&self) -> &str {
            "test"
        }

        async fn deliver(&self, story: &Story) -> Result<bool, Undelivered> {
            self.heard.lock().unwrap().push(story.phase);
            self.answers.lock().unwrap().pop_front().unwrap_or(Ok(true))
        }
    }

    fn later(seconds: u64) -> Result<bool, Undelivered> {
        Err(Undelivered::Later { after: Some(Duration::from_secs(seconds)), reason: "busy".to_owned() })
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_other_side_asks_to_wait_is_waited_and_the_latest_is_told() {
        let destination = Scripted { answers: Mutex::new([later(120)].into()), ..Scripted::default() };
        let (mailbox, metrics) = (Mailbox::default(), Metrics::default());
        mailbox.put(story_in(Phase::Executing, ""));
        let begun = tokio::time::Instant::now();
        tell_one(&destination, &mailbox, &metrics, 1, story()).await;
        assert!(begun.elapsed() >= Duration::from_secs(120));
        assert_eq!(*destination.heard.lock().unwrap(), [Phase::AwaitingApproval, Phase::Executing]);
        assert_eq!((metrics.tellings("test", "told"), metrics.tellings("test", "later")), (1, 1));
        assert!(mailbox.next().is_none(), "what was told is not told again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_never_be_taken_is_not_tried_again_and_nothing_is_tried_for_ever() {
        let metrics = Metrics::default();
        let refuses =
            Scripted { answers: Mutex::new([Err(Undelivered::Never("no".to_owned()))].into()), ..Scripted::default() };
        tell_one(&refuses, &Mailbox::default(), &metrics, 1, story()).await;
        assert_eq!(refuses.heard.lock().unwrap().len(), 1);
        let away = Scripted { answers: Mutex::new((0..100).map(|_| later(1)).collect()), ..Scripted::default() };
        tell_one(&away, &Mailbox::default(), &metrics, 1, story()).await;
        assert_eq!(away.heard.lock().unwrap().len(), ATTEMPTS as usize);
        assert_eq!(metrics.tellings("test", "given up"), 1);
    }

    #[tokio::test]
    async fn of_two_gateways_one_tells_first_and_the_other_when_that_one_is_gone() {
        use crate::store::MemoryStore;
        use evenkeel_model::FixedClock;
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(10));
        let clock = Arc::new(FixedClock::new(crate::testing::at(0)));
        let of = |holder: &str| FirstWord {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            holder: holder.to_owned(),
        };
        assert_eq!(of("a").is_ours("k").await, Ok(()));
        assert_eq!(of("a").is_ours("k").await, Ok(()), "its own is no hindrance");
        assert!(matches!(of("b").is_ours("k").await, Err(Undelivered::Later { .. })));
        clock.advance(Duration::from_secs(121));
        assert_eq!(of("b").is_ours("k").await, Ok(()));
        assert!(matches!(of("a").is_ours("k").await, Err(Undelivered::Later { .. })));
    }

    #[test]
    fn only_the_latest_waits_and_the_box_is_bounded() {
        let mailbox = Mailbox::default();
        assert!(mailbox.put(story()) && mailbox.put(story_in(Phase::Expired, "")));
        assert_eq!(mailbox.next().unwrap().phase, Phase::Expired);
        assert!(mailbox.next().is_none());
        for i in 0..MOST {
            assert!(mailbox.put(Story { remediation: i.to_string(), ..story() }));
        }
        assert!(!mailbox.put(Story { remediation: "one more".to_owned(), ..story() }));
        assert_eq!(mailbox.next().unwrap().remediation, "1", "the one that waited longest is left out");
    }
}
