//! Questions to the kernel that it may never answer: what a process was started with, how full a file system is. One dead disk, server or
//! hostile process among those asked about keeps whoever asks for ever, so that is a thread of its own, and never two.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tonic::{Code, Status};

use super::refusal::refusal;

/// A healthy machine answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The readers read small files.
const STACK_BYTES: usize = 256 << 10;

/// Asks one question at a time. Clones share the turn.
#[derive(Debug, Clone)]
pub(super) struct Survey {
    turn: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Survey {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), patience: PATIENCE }
    }
}

impl Survey {
    /// The answer, or a refusal when there is none in time: to this question, or still to an earlier one.
    pub(super) async fn ask<T: Send + 'static>(&self, question: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        tokio::time::timeout(self.patience, self.answer(question)).await.unwrap_or_else(|_| Err(stuck()))
    }

    async fn answer<T: Send + 'static>(&self, question: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| stuck())?;
        let (answer, outcome) = oneshot::channel();
        let ask = move || {
            // Whoever asked may have gone; a thread that hangs keeps the turn, so that no second one hangs beside it.
            let _ = answer.send(question());
            drop(turn);
        };
        let started = thread::Builder::new().name("survey".into()).stack_size(STACK_BYTES).spawn(ask);
        started.map_err(|error| Status::resource_exhausted(format!("cannot start a thread: {error}")))?;
        outcome.await.map_err(|_| Status::internal("init has a defect; see the kernel log"))
    }
}

fn stuck() -> Status {
    let message =
        "the kernel does not answer: a disk or a network file system may be dead; look at `skerryctl dmesg`, then reboot";
    refusal(Code::Unavailable, "kernel-silent", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_without_an_answer_holds_up_nobody() {
        let survey = Survey { patience: Duration::from_millis(50), ..Survey::default() };
        assert_eq!(survey.ask(|| 7).await.expect("answered"), 7);
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let hanging = survey.ask(move || held.recv().is_ok()).await.expect_err("it hangs");
        assert_eq!(hanging.code(), Code::Unavailable);
        assert!(survey.ask(|| 7).await.is_err(), "the turn is taken");
        let_go.send(()).expect("the thread waits");
        let survey = Survey { patience: PATIENCE, ..survey };
        assert_eq!(survey.ask(|| 8).await.expect("answered"), 8);
    }
}
