//! The power button: key events of those input devices that have one. Needs the modules `button` and `evdev`.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::node::{PowerHandle, PowerKind};
use crate::sys;

/// `KEY_POWER`, linux/input-event-codes.h.
const KEY_POWER: usize = 116;
/// `EV_KEY`.
const EV_KEY: u16 = 1;
/// `struct input_event` with 64-bit times: two longs, type, code, value.
const EVENT_BYTES: usize = 24;

/// Asks for power-off when a button is pressed; looks for new devices each time `changes` wakes. Runs for ever.
pub async fn watch_buttons(power: PowerHandle, mut changes: watch::Receiver<u64>) {
    let mut watched = Watched { class: Path::new("/sys/class/input"), nodes: Path::new("/dev/input"), tasks: BTreeMap::new() };
    loop {
        watched.look(&power);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// The buttons that are listened to.
struct Watched<'a> {
    class: &'a Path,
    nodes: &'a Path,
    tasks: BTreeMap<PathBuf, JoinHandle<()>>,
}

impl Watched<'_> {
    /// Listens to each button that is not listened to yet.
    ///
    /// The kernel shows a device under `/sys` before it makes its node under `/dev`, and tells of it after both. So one that cannot be opened
    /// stays unknown: the change that wakes the next look is its own.
    fn look(&mut self, power: &PowerHandle) {
        self.tasks.retain(|_, task| !task.is_finished());
        for device in buttons(self.class) {
            if self.tasks.contains_key(&device) {
                continue;
            }
            match open(&self.nodes.join(&device)) {
                Ok(button) => {
                    tracing::debug!(device = %device.display(), "listening to a power button");
                    self.tasks.insert(device, tokio::spawn(watch_one(button, power.clone())));
                }
                Err(error) => {
                    tracing::debug!(device = %device.display(), error = &error as &dyn std::error::Error, "not there yet")
                }
            }
        }
    }
}

fn open(node: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    sys::async_fd(OwnedFd::from(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(node)?))
}

/// Names of event devices with a power key.
fn buttons(class: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("event"));
    let has_key =
        |path: &Path| fs::read_to_string(path.join("device/capabilities/key")).is_ok_and(|keys| has_bit(&keys, KEY_POWER));
    let mut found: Vec<PathBuf> = named.filter(|entry| has_key(&entry.path())).map(|entry| entry.file_name().into()).collect();
    found.sort();
    found
}

/// The kernel prints bit maps as hexadecimal words, the highest first.
fn has_bit(words: &str, bit: usize) -> bool {
    let word = words.split_whitespace().rev().nth(bit / 64).unwrap_or("0");
    u64::from_str_radix(word, 16).is_ok_and(|word| word >> (bit % 64) & 1 == 1)
}

async fn watch_one(button: AsyncFd<OwnedFd>, power: PowerHandle) {
    let mut buffer = [0; EVENT_BYTES * 16];
    while let Ok(mut ready) = button.readable().await {
        match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?)) {
            Ok(Ok(length)) if buffer[..length].chunks_exact(EVENT_BYTES).any(is_press) => {
                power.request(PowerKind::PowerOff, "the power button");
            }
            // The device went away.
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) | Err(_) => {}
        }
    }
}

fn is_press(event: &[u8]) -> bool {
    let word = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
    word(16) == EV_KEY && usize::from(word(18)) == KEY_POWER && word(20) == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::power_channel;

    const POWER_KEY: &str = "10000000000000 0\n";

    fn show(class: &Path, name: &str, keys: &str) {
        let folder = class.join(name).join("device/capabilities");
        fs::create_dir_all(&folder).expect("a writable folder");
        fs::write(folder.join("key"), keys).expect("a writable folder");
    }

    #[tokio::test]
    async fn a_button_that_is_shown_before_its_node_is_there_is_not_forgotten() {
        let [class, nodes] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
        let (power, mut asked) = power_channel();
        let mut watched = Watched { class: class.path(), nodes: nodes.path(), tasks: BTreeMap::new() };
        show(class.path(), "event0", POWER_KEY);
        watched.look(&power);
        assert!(watched.tasks.is_empty(), "there is nothing to listen to yet");

        let node = nodes.path().join("event0");
        rustix::fs::mkfifoat(rustix::fs::CWD, &node, 0o600.into()).expect("a writable folder");
        watched.look(&power);
        watched.look(&power);
        assert_eq!(watched.tasks.len(), 1, "and it is listened to once");
        fs::write(&node, event(1, 116, 1)).expect("a reader at the other end");
        let request = asked.wait_for(Option::is_some).await.expect("the sender lives").clone();
        assert_eq!(request.map(|request| request.kind), Some(PowerKind::PowerOff));
    }

    #[test]
    fn only_devices_with_a_power_key_count() {
        let class = tempfile::tempdir().expect("a temporary folder");
        show(class.path(), "event0", POWER_KEY);
        show(class.path(), "event1", "fffffffffffffffe\n");
        show(class.path(), "input2", POWER_KEY);
        assert_eq!(buttons(class.path()), [PathBuf::from("event0")]);
    }

    fn event(kind: u16, code: u16, value: u32) -> Vec<u8> {
        [&[0; 16][..], &kind.to_ne_bytes(), &code.to_ne_bytes(), &value.to_ne_bytes()].concat()
    }

    #[test]
    fn a_press_is_told_from_a_release_and_from_other_keys() {
        assert!(is_press(&event(1, 116, 1)));
        for other in [event(1, 116, 0), event(1, 30, 1), event(0, 116, 1)] {
            assert!(!is_press(&other));
        }
    }
}
