//! Work that is the same for many things, on as many threads as there are processors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use indicatif::ProgressBar;

/// One result for each piece of work, in its order.
pub(crate) fn in_threads<W: Sync, R: Send>(
    work: &[W],
    progress: &ProgressBar,
    each: impl Fn(&W) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(work.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some(piece) = work.get(at) else { return };
                    let result = each(piece);
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(at, result);
                    progress.inc(1);
                }
            });
        }
    });
    progress.finish_and_clear();
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}
