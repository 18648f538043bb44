//! `skerry-images`: imports image archives into containerd, once per boot, and ends.
//!
//! Without arguments it does what the device's service does. Under the name `pause` it is the first process of a pod. It takes no paths from
//! anybody: the folders are fixed.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use init::images::{FOLDERS, Job, Outcome, RECORD, Store, import_all, pause};

fn main() -> ExitCode {
    if is_pause() {
        pause();
    }
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_pause() -> bool {
    std::env::args_os().next().is_some_and(|name| Path::new(&name).file_name().is_some_and(|name| name == "pause"))
}

/// Imports everything; returns how many archives failed.
fn run() -> anyhow::Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let outcomes = runtime.block_on(async {
        let mut store = Store::connect(Path::new(api::CONTAINERD_SOCKET)).await?;
        let (folders, boot_image) = (FOLDERS.map(Path::new), boot_image());
        let job =
            Job { folders: &folders, record: Path::new(RECORD), boot_image: &boot_image, pause: Path::new("/proc/self/exe") };
        import_all(&mut store, job).await
    })?;
    Ok(outcomes.into_iter().filter(|outcome| !report(outcome)).count())
}

/// The kernel's command line names the runtime image by its root hash.
fn boot_image() -> String {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    line.split_whitespace().find(|word| word.starts_with("skerry.runtime=")).unwrap_or_default().to_owned()
}

/// Says what became of an archive; returns whether that is good.
fn report(outcome: &Outcome) -> bool {
    let archive = outcome.archive.display();
    match &outcome.result {
        Ok(names) if names.is_empty() => println!("{archive}: imported before"),
        Ok(names) => println!("{archive}: imported {}", names.join(", ")),
        Err(error) => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("{archive}: {error}{cause}");
        }
    }
    outcome.result.is_ok()
}
