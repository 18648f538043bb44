//! Devices that come and go: one thread loads modules, in order and off the main loop; one task listens to the kernel.
//!
//! Loading a module waits for its hardware, which may be slow; nothing else waits with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::uevent::{Uevent, UeventSocket};
use super::{Loader, ModuleError};
use crate::image_file::ImageFileError;

/// After lost events, until the next look at everything.
const PAUSE: Duration = Duration::from_millis(500);

enum Job {
    Folder(PathBuf, oneshot::Sender<Result<Vec<String>, ImageFileError>>),
    Names(Vec<String>, oneshot::Sender<Vec<ModuleError>>),
    Alias(String),
    Coldplug,
}

/// The handle. Clones speak to the same thread.
#[derive(Debug, Clone)]
pub struct Hotplug {
    jobs: mpsc::Sender<Job>,
    changes: watch::Receiver<u64>,
    stopping: Arc<AtomicBool>,
}

impl Hotplug {
    /// Starts the thread and the listener: the hardware that is there gets its drivers from this folder, and so does what appears later.
    pub fn start(folder: &Path) -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let (count, changes) = watch::channel(0);
        let stopping = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopping);
        let socket = UeventSocket::open()?;
        let folder = folder.to_owned();
        thread::Builder::new().name("modules".into()).stack_size(256 << 10).spawn(move || work(&folder, &inbox, &flag))?;
        tokio::spawn(listen(socket, jobs.clone(), count));
        Ok(Self { jobs, changes, stopping })
    }

    /// Takes the modules of another folder into account; returns those its index wants loaded for the runtime.
    pub async fn add_folder(&self, folder: &Path) -> Result<Vec<String>, ImageFileError> {
        let (answer, outcome) = oneshot::channel();
        self.send(Job::Folder(folder.to_owned(), answer));
        outcome.await.expect("the thread lives as long as the process")
    }

    /// Loads modules by name and what they need; returns what went wrong.
    pub async fn load(&self, names: impl IntoIterator<Item = &str>) -> Vec<ModuleError> {
        let (answer, outcome) = oneshot::channel();
        self.send(Job::Names(names.into_iter().map(str::to_owned).collect(), answer));
        outcome.await.expect("the thread lives as long as the process")
    }

    /// Looks at all hardware again, behind everything that was asked for before.
    pub fn coldplug(&self) {
        self.send(Job::Coldplug);
    }

    /// Wakes when a disk, link or input device came or went.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Loads nothing more and returns once the module at hand is done, so that no file system is held by it. Bounded by `patience`.
    pub async fn stop(&self, patience: Duration) {
        self.stopping.store(true, Ordering::Relaxed);
        if tokio::time::timeout(patience, self.load([])).await.is_err() {
            tracing::warn!("a module is still being loaded");
        }
    }

    fn send(&self, job: Job) {
        // The thread ends only with the process.
        let _ = self.jobs.send(job);
    }
}

fn work(folder: &Path, inbox: &mpsc::Receiver<Job>, stopping: &Arc<AtomicBool>) {
    let mut loaders: Vec<Loader> = Vec::new();
    if let Err(error) = add_folder(&mut loaders, folder, stopping) {
        tracing::error!(error = &error as &dyn std::error::Error, "there are no drivers");
    }
    coldplug(&mut loaders);
    while let Ok(job) = inbox.recv() {
        match job {
            // Whoever asked may have gone; the work is done all the same.
            Job::Folder(folder, answer) => drop(answer.send(add_folder(&mut loaders, &folder, stopping))),
            Job::Names(names, answer) => drop(answer.send(load_names(&mut loaders, &names))),
            Job::Alias(alias) => loaders.iter_mut().for_each(|loader| report(&loader.load_for_alias(&alias))),
            Job::Coldplug => coldplug(&mut loaders),
        }
    }
}

fn coldplug(loaders: &mut [Loader]) {
    loaders.iter_mut().for_each(|loader| report(&loader.coldplug(Path::new("/sys"))));
}

/// The early modules are loaded here, so that the thread's first deed already brings the disk.
fn add_folder(loaders: &mut Vec<Loader>, folder: &Path, stopping: &Arc<AtomicBool>) -> Result<Vec<String>, ImageFileError> {
    let mut loader = Loader::open(folder, Arc::clone(stopping))?;
    loader.note_loaded();
    let early = loader.index().early.clone();
    report(&loader.load(early.iter().map(String::as_str)));
    let runtime = loader.index().runtime.clone();
    loaders.push(loader);
    Ok(runtime)
}

/// Each name in the first folder that has it; in the first folder, so that it is reported, when none has.
fn load_names(loaders: &mut [Loader], names: &[String]) -> Vec<ModuleError> {
    let mut errors = Vec::new();
    for name in names {
        let having = loaders.iter().position(|loader| loader.knows(name)).unwrap_or(0);
        match loaders.get_mut(having) {
            Some(loader) => {
                loader.note_loaded();
                errors.extend(loader.load([name.as_str()]));
            }
            None => errors.push(ModuleError::Missing { name: name.clone() }),
        }
    }
    errors
}

fn report(errors: &[ModuleError]) {
    for error in errors {
        tracing::warn!(error = error as &dyn std::error::Error, "a driver is missing");
    }
}

async fn listen(socket: UeventSocket, jobs: mpsc::Sender<Job>, count: watch::Sender<u64>) {
    loop {
        match socket.next().await {
            Ok(event) => {
                if needs_driver(&event) {
                    let _ = jobs.send(Job::Alias(event.modalias.clone()));
                }
                if concerns(&event) {
                    count.send_modify(|count| *count += 1);
                }
            }
            // The socket overran: what was missed is found by looking at everything again.
            Err(error) => {
                tracing::warn!(%error, "device events were lost, looking at all devices again");
                let _ = jobs.send(Job::Coldplug);
                count.send_modify(|count| *count += 1);
                // An error that stays must not fill memory with work.
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn needs_driver(event: &Uevent) -> bool {
    event.action == "add" && !event.modalias.is_empty()
}

fn concerns(event: &Uevent) -> bool {
    matches!(event.action.as_str(), "add" | "remove" | "change") && matches!(event.subsystem.as_str(), "block" | "net" | "input")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_loaded_from_the_folder_that_has_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = |name: &str| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).expect("a writable folder");
            let json = format!(r#"{{"kernel": "6", "modules": {{"{name}": {{"file": "{name}.ko"}}}}}}"#);
            std::fs::write(folder.join("modules.json"), json).expect("a writable folder");
            Loader::open(&folder, Arc::default()).expect("an index")
        };
        let mut loaders = [open("one"), open("two")];
        let errors: Vec<_> = load_names(&mut loaders, &["two".into(), "three".into()]).iter().map(ToString::to_string).collect();
        assert!(errors[0].contains("two/two.ko"), "{errors:?}");
        assert!(errors[1].starts_with("cannot load module three: neither"), "{errors:?}");
    }

    #[test]
    fn only_some_events_concern_anybody() {
        let event = |action: &str, subsystem: &str, modalias: &str| Uevent {
            action: action.into(),
            subsystem: subsystem.into(),
            modalias: modalias.into(),
            ..Uevent::default()
        };
        assert!(concerns(&event("add", "block", "")) && !concerns(&event("bind", "pci", "x")));
        assert!(needs_driver(&event("add", "pci", "pci:v1")) && !needs_driver(&event("remove", "pci", "pci:v1")));
    }
}
