//! The boot and the life after it: `table` says what begins when, `steps` what is done, this file goes round.
//!
//! Nothing here ends the process. A phase that fails, or panics, is a named state on the console and over the API.

mod machine;
mod reconfigure;
mod steps;
mod table;

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};

use machine::Machine;
use table::{Row, startable};
use tokio::sync::mpsc;

use crate::node::{Node, Phase, PowerRequest, power_channel};
use crate::power;

/// Boots the device and keeps it; returns when the kernel refused to take the machine down, with what it said.
pub async fn run() -> std::io::Error {
    let (power, mut requests) = power_channel();
    let machine = Rc::new(Machine::new(Node::default(), power));
    tokio::spawn(tell_defects(report_panics(), machine.node.clone()));
    let request = tokio::select! {
        request = requests.wait_for(Option::is_some) => request.ok().and_then(|request| request.clone()),
        () = drive(Rc::clone(&machine)) => None,
        () = reconfigure::run(Rc::clone(&machine)) => None,
        () = steps::install_later(Rc::clone(&machine)) => None,
    };
    let request = request
        .unwrap_or_else(|| PowerRequest { kind: crate::node::PowerKind::Reboot, by: "init, whose main loop ended".to_owned() });
    let parts = power::Parts { supervisor: machine.supervisor.get(), store: machine.store.get(), hotplug: machine.hotplug.get() };
    power::go_down(&request, &machine.node, parts).await
}

/// Begins each phase when its gates open, for ever.
async fn drive(machine: Rc<Machine>) {
    let mut changes = machine.node.times.subscribe();
    let mut running = FuturesUnordered::new();
    loop {
        for row in startable(&machine.node.times.snapshot()) {
            machine.node.begin(row.phase);
            running.push(run_phase(row, Rc::clone(&machine)));
        }
        tokio::select! {
            Some(()) = running.next() => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

async fn run_phase(row: &'static Row, machine: Rc<Machine>) {
    guarded(row.phase, &machine.node, (row.run)(Rc::clone(&machine))).await;
}

/// Does a phase's work; how that ends is the phase's state, also when it panics.
async fn guarded(phase: Phase, node: &Node, work: impl Future<Output = anyhow::Result<()>>) {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(())) => node.done(phase),
        Ok(Err(error)) => node.failed(phase, &format!("{error:#}")),
        Err(_) => node.failed(phase, "init has a defect; see the kernel log"),
    }
}

/// Sets the process up, before the runtime and any thread: a small heap.
pub fn prepare_process() {
    crate::sys::share_one_heap();
}

/// Defects that wait to be shown; more are rare, and the first says most.
const DEFECTS: usize = 8;

/// Sends panics to the kernel log and the console, wherever they happen, and their places to whoever receives.
fn report_panics() -> mpsc::Receiver<String> {
    let (defects, seen) = mpsc::channel(DEFECTS);
    std::panic::set_hook(Box::new(move |panic| {
        if tracing::dispatcher::has_been_set() {
            tracing::error!(%panic, "init has a defect");
        } else {
            // A console that somebody stopped blocks whoever writes to it, so only while there is no log.
            eprintln!("skerry-init: {panic}");
        }
        // The panic may come from under the status board's lock, so the board is written elsewhere.
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let _ = defects.try_send(place);
    }));
    seen
}

/// Shows each defect on the console and over the API: the task it stopped comes back only with a reboot.
async fn tell_defects(mut defects: mpsc::Receiver<String>, node: Node) {
    while let Some(place) = defects.recv().await {
        let message = format!("it has a defect at {place}, and a part of it may have stopped; reboot the device and report it");
        node.status.update(|status| status.set_error("init", Some(message)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::PhaseState;

    #[tokio::test]
    async fn a_phase_that_panics_has_failed_and_does_not_end_the_process() {
        let node = Node::default();
        guarded(Phase::Install, &node, async { panic!("a defect") }).await;
        assert!(matches!(node.times.get(Phase::Install).state, PhaseState::Failed(_)));
        guarded(Phase::Install, &node, async { Ok(()) }).await;
        assert_eq!(node.times.get(Phase::Install).state, PhaseState::Done);
    }

    #[tokio::test]
    async fn a_task_that_panics_shows_on_the_status() {
        let node = Node::default();
        let before = std::panic::take_hook();
        let telling = tokio::spawn(tell_defects(report_panics(), node.clone()));
        tokio::spawn(async { panic!("a defect") }).await.expect_err("it panics");
        node.status.subscribe().wait_for(|status| status.errors.contains_key("init")).await.expect("the board lives");
        assert!(node.status.get().errors["init"].contains("boot/mod.rs"), "{:?}", node.status.get().errors);
        std::panic::set_hook(before);
        telling.await.expect("it ends with the hook");
    }
}
