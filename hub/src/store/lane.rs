//! The write lane: one task through which every write goes. It takes what has gathered, runs each piece in a savepoint of one transaction,
//! commits once, and only then answers. So a hundred writes cost one sync to the disk, one that fails takes no other with it, and what was
//! answered is on the disk.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::AnyPool;
use tokio::sync::{mpsc, oneshot, watch};

use super::backend::Backend;
use super::error::StoreError;
use super::tx::Tx;

/// Writes that may wait; further callers wait for room.
const QUEUE: usize = 1024;
/// Writes of one transaction at most.
const BATCH: usize = 256;

/// What a write does inside the transaction.
type Work<T> = Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send>;

/// The way in.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    jobs: mpsc::Sender<Box<dyn Job>>,
    committed: watch::Receiver<i64>,
}

/// A write and whom to answer.
trait Job: Send {
    /// Runs it; false: it failed, and nothing of it may stay.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool>;
    /// Answers: `failed` says why the transaction did not end well.
    fn answer(self: Box<Self>, failed: Option<&str>);
}

impl std::fmt::Debug for dyn Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

struct Written<T> {
    work: Option<Work<T>>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send> Job for Written<T> {
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let work = self.work.take().expect("a job runs once");
            let result = AssertUnwindSafe(async { work(tx).await }).catch_unwind().await;
            // A panic is this write's failure, not the lane's: everybody else waits for it too.
            self.result = Some(result.unwrap_or_else(|_| Err(StoreError::Commit { message: "the write panicked".into() })));
            matches!(self.result, Some(Ok(_)))
        })
    }

    fn answer(self: Box<Self>, failed: Option<&str>) {
        let commit = |message: &str| Err(StoreError::Commit { message: message.to_owned() });
        let result = match (self.result, failed) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(_)) | None, Some(message)) => commit(message),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => commit("it was not begun"),
        };
        self.reply.send(result).ok(); // who asked may have gone; what was written stays
    }
}

impl Lane {
    /// Starts the task. It ends when the last way in is gone.
    pub(super) fn start(pool: AnyPool, backend: Backend, seq: i64) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (commits, committed) = watch::channel(seq);
        tokio::spawn(run(pool, backend, queue, commits));
        Self { jobs, committed }
    }

    /// Does `work` and returns once it is committed.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Written { work: Some(Box::new(work)), result: None, reply };
        self.jobs.send(Box::new(job)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// The number of the last line of the audit that this process committed; changes with every commit that wrote one.
    pub(super) fn committed(&self) -> watch::Receiver<i64> {
        self.committed.clone()
    }
}

async fn run(pool: AnyPool, backend: Backend, mut queue: mpsc::Receiver<Box<dyn Job>>, commits: watch::Sender<i64>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let outcome = transact(&pool, backend, &mut batch).await;
        if let Ok(Some(seq)) = outcome {
            commits.send_if_modified(|last| std::mem::replace(last, seq) != seq);
        }
        let failed = outcome.err().map(|error| causes(&error));
        batch.drain(..).for_each(|job| job.answer(failed.as_deref()));
    }
}

/// An error with its causes, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn transact(pool: &AnyPool, backend: Backend, batch: &mut [Box<dyn Job>]) -> Result<Option<i64>, StoreError> {
    let mut tx = Tx::begin(pool, backend).await?;
    for job in batch {
        let mark = tx.mark().await?;
        if !job.run(&mut tx).await {
            tx.undo(mark).await?;
        }
    }
    tx.commit().await
}
