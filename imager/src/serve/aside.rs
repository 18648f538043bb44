//! Work that waits for a disk, done beside the threads that move packets: on those, one slow disk would hold up every machine.

/// Does it, and gives its outcome.
///
/// # Panics
/// Where the work does.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_ended) => std::future::pending().await, // the program is ending, and ends whoever waits here
        },
    }
}
