use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

/// What connects a process to the world. Blown, nothing goes out of the process or comes into it any more: what
/// was sent and not carried out yet vanishes. Aborting tasks alone would not do that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fuse(Arc<AtomicBool>);

impl Fuse {
    pub(crate) fn blow(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_blown(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Lets a future run for as long as the fuse holds; for ever pending afterwards.
    pub(crate) async fn guard<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|context| if self.is_blown() { Poll::Pending } else { future.as_mut().poll(context) })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn behind_a_blown_fuse_nothing_goes_on() {
        let fuse = Fuse::default();
        assert_eq!(fuse.guard(async { 1 }).await, 1);
        let guarded = fuse.guard(async {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            2
        });
        let mut guarded = pin!(guarded);
        tokio::select! {
            biased;
            _ = guarded.as_mut() => panic!("not yet"),
            () = tokio::time::sleep(std::time::Duration::from_millis(500)) => {}
        }
        fuse.blow();
        assert!(tokio::time::timeout(std::time::Duration::from_secs(60), guarded).await.is_err());
    }
}
