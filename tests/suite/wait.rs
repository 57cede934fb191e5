//! Waiting for a condition, never for a time.

use std::time::Duration;

use anyhow::{Result, bail};

/// Polls `look` until it gives a value. Errors are kept and shown when the time is over.
///
/// # Errors
/// The time is over.
pub async fn eventually<T, F>(what: &str, within: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let deadline = tokio::time::Instant::now() + within;
    loop {
        let last = match look().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if tokio::time::Instant::now() >= deadline {
            match last {
                Some(error) => return Err(error.context(format!("waited {} s for {what}, in vain", within.as_secs()))),
                None => bail!("waited {} s for {what}, in vain", within.as_secs()),
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
