//! What a hub does without being asked. Each of these tasks runs until the hub stops: one that ends before that, by a panic or by itself, would
//! leave a hub that looks alive and is not, so that its end is told and ends the hub.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};
use tracing::error;

/// The tasks, by what they do.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Begins one.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Completes when one of them ends, and names it.
    pub(super) async fn next_end(&mut self) -> &'static str {
        let id = match self.set.join_next_with_id().await {
            None => return std::future::pending().await,
            Some(Ok((id, ()))) => id,
            Some(Err(failed)) => {
                error!(error = &failed as &dyn std::error::Error, "a part of the hub failed");
                failed.id()
            }
        };
        self.names.remove(&id).unwrap_or("a part of the hub")
    }

    /// Completes when all of them have ended.
    pub(super) async fn all_over(&mut self) {
        while self.set.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_by_itself_or_by_a_panic_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("what stays", std::future::pending());
        tasks.spawn("what panics", async { panic!("on purpose") });
        assert_eq!(tasks.next_end().await, "what panics");
        tasks.spawn("what ends", async {});
        assert_eq!(tasks.next_end().await, "what ends");
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(50), tasks.next_end()).await;
        assert!(waiting.is_err(), "the other one runs on");
    }
}
