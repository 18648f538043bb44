//! The task that owns the configuration: answers offers from the first second on, one after another.
//!
//! Until STATE is open it has no acceptor and says so; an offer never hangs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::acceptor::Acceptor;
use crate::node::{Applied, ApplyError, ApplyRequest, EventKind, InForce, Mode, Node};

/// Hands the acceptor to the task once STATE is open.
pub type AcceptorSlot = oneshot::Sender<Acceptor>;

/// The slot and the end the task waits at.
pub fn acceptor_slot() -> (AcceptorSlot, oneshot::Receiver<Acceptor>) {
    oneshot::channel()
}

/// Serves offers for ever.
pub async fn run(
    mut inbox: mpsc::Receiver<ApplyRequest>,
    acceptor: oneshot::Receiver<Acceptor>,
    in_force: watch::Sender<Option<Arc<InForce>>>,
    node: Node,
) {
    let Some(mut acceptor) = refuse_until_ready(&mut inbox, acceptor, &node).await else { return };
    publish(&acceptor, &in_force, &node);
    while let Some(mut request) = inbox.recv().await {
        let outcome;
        (acceptor, outcome) = offer_apart(acceptor, std::mem::take(&mut request.bytes), request.dry_run).await;
        report(&node, &request, &outcome);
        if !request.dry_run && outcome.is_ok() {
            publish(&acceptor, &in_force, &node);
        }
        // The caller may have gone; the outcome holds all the same.
        let _ = request.answer.send(outcome);
    }
}

/// Judges and records off the main loop: the disk may be slow to die. A defect costs the offer, not the ear for the next one.
async fn offer_apart(mut acceptor: Acceptor, bytes: Vec<u8>, dry_run: bool) -> (Acceptor, Result<Applied, ApplyError>) {
    let work = move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| acceptor.offer(&bytes, dry_run)));
        (acceptor, outcome.unwrap_or(Err(ApplyError::Defect)))
    };
    tokio::task::spawn_blocking(work).await.expect("panics end inside, and the runtime outlives its tasks")
}

async fn refuse_until_ready(
    inbox: &mut mpsc::Receiver<ApplyRequest>,
    mut acceptor: oneshot::Receiver<Acceptor>,
    node: &Node,
) -> Option<Acceptor> {
    let mut may_come = true;
    loop {
        tokio::select! {
            biased;
            ready = &mut acceptor, if may_come => match ready {
                Ok(acceptor) => return Some(acceptor),
                Err(_) => may_come = false,
            },
            request = inbox.recv() => {
                let request = request?;
                let (phase, state) = node.times.current();
                let why = format!("the boot is in phase {} ({}); see the status", phase.name(), state.name());
                let _ = request.answer.send(Err(ApplyError::NotReady(why)));
            }
        }
    }
}

fn report(node: &Node, request: &ApplyRequest, outcome: &Result<Applied, ApplyError>) {
    let what = if request.dry_run { "dry run" } else { "offer" };
    let peer = &request.peer;
    let message = match outcome {
        Ok(applied) if applied.already_in_force => {
            format!("{what} by {peer}: generation {} is in force already", applied.generation)
        }
        Ok(applied) => format!("{what} by {peer}: generation {} accepted, {} changes", applied.generation, applied.changes.len()),
        Err(error) => format!("{what} by {peer}: {error} ({})", error.code()),
    };
    tracing::info!(message, "configuration");
    node.events.record(EventKind::Config, "config", &message);
}

/// Status first, so that whoever wakes by the new configuration sees both.
fn publish(acceptor: &Acceptor, in_force: &watch::Sender<Option<Arc<InForce>>>, node: &Node) {
    let now = acceptor.in_force();
    node.status.update(|status| match &now {
        Some(current) => {
            status.mode = Mode::Configured;
            status.config_generation = current.generation;
            status.config_digest.clone_from(&current.digest);
            status.not_yet_in_effect = machine_config::not_yet_in_effect(&current.config);
        }
        None => status.mode = Mode::Maintenance,
    });
    in_force.send_if_modified(|old| {
        let changed = *old != now;
        *old = now;
        changed
    });
}

#[cfg(test)]
mod tests {
    use super::super::acceptor::tests::{acceptor, failing_once, signed};
    use super::*;
    use crate::node::config_channel;

    #[tokio::test]
    async fn an_offer_before_state_is_open_is_answered() {
        let (handle, inbox, in_force) = config_channel();
        let (slot, ready) = acceptor_slot();
        tokio::spawn(run(inbox, ready, in_force, Node::default()));
        assert_eq!(handle.apply(signed(1, ""), false, "admin").await.expect_err("too early").code(), "not-ready");
        drop(slot);
        assert_eq!(handle.apply(signed(1, ""), false, "admin").await.expect_err("it never came").code(), "not-ready");
    }

    #[tokio::test]
    async fn an_accepted_offer_is_seen_by_everybody() {
        let (handle, inbox, in_force) = config_channel();
        let (slot, ready) = acceptor_slot();
        let node = Node::default();
        tokio::spawn(run(inbox, ready, in_force, node.clone()));
        let state = tempfile::tempdir().expect("a temporary folder");
        slot.send(acceptor(state.path())).expect("the task waits");
        let mut watcher = handle.subscribe();
        assert!(handle.current().is_none());
        handle.apply(signed(1, ""), true, "admin").await.expect("good");
        assert!(handle.current().is_none(), "a dry run");
        handle.apply(signed(1, ""), false, "admin").await.expect("good");
        watcher.wait_for(Option::is_some).await.expect("the task lives");
        assert_eq!(node.status.get().mode, Mode::Configured);
        assert_eq!(node.status.get().config_generation, 1);
        assert!(node.events.tail(0).iter().any(|event| event.message.contains("generation 1 accepted")));
    }

    #[tokio::test]
    async fn a_defect_in_judging_costs_one_offer() {
        let (handle, inbox, in_force) = config_channel();
        let (slot, ready) = acceptor_slot();
        tokio::spawn(run(inbox, ready, in_force, Node::default()));
        let state = tempfile::tempdir().expect("a temporary folder");
        slot.send(failing_once(state.path())).expect("the task waits");
        assert_eq!(handle.apply(signed(1, ""), false, "admin").await.expect_err("it panics").code(), "defect");
        handle.apply(signed(1, ""), false, "admin").await.expect("the next one is judged");
    }
}
