use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use tokio::task::JoinSet;

use crate::Shutdown;

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Owner of a process' tasks. A task is meant to run until shutdown; one that ends earlier takes
/// the others with it, because a process that lost a part must not look whole.
#[derive(Debug)]
pub struct Supervisor {
    shutdown: Shutdown,
    tasks: JoinSet<Option<TaskEnded>>,
}

/// A task ended before shutdown was asked for.
#[derive(Debug, thiserror::Error)]
#[error("task {name} ended before shutdown: {reason}")]
pub struct TaskEnded {
    /// The task's name.
    pub name: &'static str,
    /// Its error, the panic's message, or that it just returned.
    pub reason: String,
    /// Its error, when it returned one.
    #[source]
    pub source: Option<BoxError>,
}

impl Supervisor {
    /// Owns no task yet.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, tasks: JoinSet::new() }
    }

    /// Runs `f` until it ends. When it ends (well, with an error or by a panic) before shutdown,
    /// `shutdown` is cancelled and [`Supervisor::join`] says why. An error after shutdown is logged.
    pub fn spawn(&mut self, name: &'static str, f: impl Future<Output = Result<(), BoxError>> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            let ended = AssertUnwindSafe(f).catch_unwind().await;
            let ended = match ended {
                Ok(Ok(())) => {
                    TaskEnded { name, reason: "it returned, and should have run on".to_owned(), source: None }
                }
                Ok(Err(error)) => TaskEnded { name, reason: error.to_string(), source: Some(error) },
                Err(panic) => TaskEnded { name, reason: format!("panicked: {}", message(&*panic)), source: None },
            };
            if !shutdown.is_cancelled() {
                shutdown.cancel();
                return Some(ended);
            }
            if ended.source.is_some() || ended.reason.starts_with("panicked") {
                tracing::warn!(task = name, reason = ended.reason, "did not end cleanly after shutdown");
            }
            None
        });
    }

    /// Waits for all tasks.
    ///
    /// # Errors
    /// The first task that ended before shutdown.
    pub async fn join(mut self) -> Result<(), TaskEnded> {
        let mut first = None;
        while let Some(ended) = self.tasks.join_next().await {
            // A join error is a cancelled runtime: panics are caught above, nothing aborts tasks.
            if let Ok(Some(ended)) = ended {
                tracing::error!(task = ended.name, reason = ended.reason, "task ended before shutdown");
                first.get_or_insert(ended);
            }
        }
        first.map_or(Ok(()), Err)
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until(shutdown: Shutdown) -> Result<(), BoxError> {
        shutdown.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn shutdown_ends_all_tasks_without_an_error() {
        let shutdown = Shutdown::new();
        let mut tasks = Supervisor::new(shutdown.clone());
        tasks.spawn("a", until(shutdown.clone()));
        tasks.spawn("b", until(shutdown.clone()));
        shutdown.cancel();
        tasks.join().await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_fails_takes_the_others_with_it() {
        let shutdown = Shutdown::new();
        let mut tasks = Supervisor::new(shutdown.clone());
        tasks.spawn("a", until(shutdown.clone()));
        tasks.spawn("b", async { Err("no bus".into()) });
        let ended = tasks.join().await.unwrap_err();
        assert_eq!(ended.to_string(), "task b ended before shutdown: no bus");
        assert!(shutdown.is_cancelled());
    }

    #[tokio::test]
    async fn a_task_that_just_returns_is_an_error() {
        let mut tasks = Supervisor::new(Shutdown::new());
        tasks.spawn("a", async { Ok(()) });
        assert_eq!(tasks.join().await.unwrap_err().name, "a");
    }

    #[tokio::test]
    async fn a_panic_is_named() {
        let mut tasks = Supervisor::new(Shutdown::new());
        tasks.spawn("a", async { panic!("index {}", 3) });
        assert_eq!(tasks.join().await.unwrap_err().to_string(), "task a ended before shutdown: panicked: index 3");
    }
}
