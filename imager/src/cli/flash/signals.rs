//! Ctrl-C and SIGTERM while drives are written: the first asks the run to end, the second to give up drives that do not answer. Other signals keep
//! their meaning.

use std::thread;

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::flash::stop::Stop;

/// While this lives, signals ask the run to end.
pub(super) struct Signals {
    _over: oneshot::Sender<()>,
}

impl Signals {
    /// From when this returns, no such signal ends the program.
    pub(super) fn ask(stop: &Stop) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("cannot wait for signals")?;
        let (interrupt, terminate) = (listen(&runtime, SignalKind::interrupt())?, listen(&runtime, SignalKind::terminate())?);
        let (over, ended) = oneshot::channel();
        let stop = stop.clone();
        thread::spawn(move || runtime.block_on(pass_on(stop, interrupt, terminate, ended)));
        Ok(Self { _over: over })
    }
}

fn listen(runtime: &Runtime, kind: SignalKind) -> Result<Signal> {
    let _inside = runtime.enter();
    signal(kind).context("cannot wait for signals")
}

async fn pass_on(stop: Stop, mut interrupt: Signal, mut terminate: Signal, mut ended: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => stop.ask(),
            _ = terminate.recv() => stop.ask(),
            _ = &mut ended => return,
        }
    }
}
