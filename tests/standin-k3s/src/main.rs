//! A stand-in for k3s that shows whether the node keeps its side of the contract.
//!
//! It is started as k3s is. It writes what it was given (arguments, configuration file, environment, cgroup) to its output as
//! JSON lines, then runs every static pod through containerd's CRI socket and repeats what the containers say. It is no
//! Kubernetes: it knows nothing but static pods on the host's network. Node labels steer it; see `steering.rs`.

mod contract;
mod log;
mod notify;
mod pod;
mod report;
mod runtime;
mod steering;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use contract::Contract;
use steering::Steering;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.context("cannot make the runtime").and_then(|runtime| runtime.block_on(run()));
    match result {
        Ok(code) => code,
        Err(error) => {
            report::say("failed", &serde_json::json!({"error": format!("{error:#}")}));
            ExitCode::FAILURE
        }
    }
}

/// Runs until it is told to end, crashes as steered, or something in the contract is broken.
async fn run() -> Result<ExitCode> {
    let contract = Contract::read()?;
    report::say("started", &contract.to_json());
    let steering = Steering::from_labels(&contract.node_labels());
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => {
            report::say("stopped", &serde_json::json!({"signal": "SIGTERM"}));
            Ok(ExitCode::SUCCESS)
        }
        code = crash(&steering) => Ok(code),
        result = work(&contract) => result.map(|()| ExitCode::SUCCESS),
    }
}

async fn work(contract: &Contract) -> Result<()> {
    let mut runtime = runtime::Runtime::connect(&contract.runtime_endpoint()?).await?;
    report::say("images", &serde_json::json!(runtime.image_names().await?));
    let pods = pod::read_folder(&contract.static_pods())?;
    let mut logs = Vec::new();
    for pod in &pods {
        logs.extend(runtime.run(pod).await?);
    }
    notify::ready()?;
    report::say("ready", &serde_json::json!({"pods": pods.len(), "containers": logs.len()}));
    log::follow(logs).await
}

/// Ends after the steered time; never, when not steered.
async fn crash(steering: &Steering) -> ExitCode {
    match steering.crash_after {
        Some(after) => {
            tokio::time::sleep(after).await;
            report::say("crashing", &serde_json::json!({"after_seconds": after.as_secs()}));
            ExitCode::from(steering::CRASH_EXIT_CODE)
        }
        None => loop {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        },
    }
}
