use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::{BoxError, Shutdown};

/// SIGTERM and SIGINT ask for shutdown; a SIGINT after that ends the process at once. The handlers
/// are in place when this returns; the future has to be run, and ends once shutdown is asked for by
/// whomever.
///
/// # Errors
/// When the handlers can't be installed.
pub fn on_signal(shutdown: Shutdown) -> std::io::Result<impl Future<Output = Result<(), BoxError>> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "draining; SIGINT ends it at once");
        shutdown.cancel();
        // Outlives this future on purpose: it only matters while the drain hangs. Not for SIGTERM,
        // which process managers send more than once (timeout(1): to the process and to its group).
        tokio::spawn(async move {
            interrupt.recv().await;
            std::process::exit(130);
        });
        Ok(())
    })
}
