//! When to stop.

/// Ends when the process is asked to stop: by SIGTERM, as orchestrators do, or by Ctrl-C. For the graceful shutdown of a server:
/// `axum::serve(listener, router).with_graceful_shutdown(stop_signal())`.
pub async fn stop_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Nothing can be heard: the process ends without asking.
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            () = interrupt => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    interrupt.await;
}
