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

use crate::node::{Node, PowerRequest, power_channel};
use crate::power;

/// Boots the device and keeps it; returns when the kernel refused to take the machine down, with what it said.
pub async fn run() -> std::io::Error {
    let (power, mut requests) = power_channel();
    let machine = Rc::new(Machine::new(Node::default(), power));
    let request = tokio::select! {
        request = requests.wait_for(Option::is_some) => request.ok().and_then(|request| request.clone()),
        () = drive(Rc::clone(&machine)) => None,
        () = reconfigure::run(Rc::clone(&machine)) => None,
    };
    let request = request
        .unwrap_or_else(|| PowerRequest { kind: crate::node::PowerKind::Reboot, by: "init, whose main loop ended".to_owned() });
    power::go_down(&request, &machine.node, machine.supervisor.get(), machine.store.get()).await
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
    let outcome = AssertUnwindSafe((row.run)(Rc::clone(&machine))).catch_unwind().await;
    match outcome {
        Ok(Ok(())) => machine.node.done(row.phase),
        Ok(Err(error)) => machine.node.failed(row.phase, &format!("{error:#}")),
        Err(_) => machine.node.failed(row.phase, "init has a defect; see the kernel log"),
    }
}

/// Sets the process up, before the runtime and any thread: a small heap, and panics that are seen.
pub fn prepare_process() {
    crate::sys::share_one_heap();
    report_panics();
}

/// Sends panics to the kernel log and the console, wherever they happen.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "init has a defect");
        eprintln!("skerry-init: {panic}");
    }));
}
