//! The power button: key events of those input devices that have one. Needs the modules `button` and `evdev`.

use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

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
    let mut known = std::collections::BTreeSet::new();
    loop {
        for device in buttons(Path::new("/sys/class/input")) {
            if known.insert(device.clone()) {
                tokio::spawn(watch_one(device, power.clone()));
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
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

async fn watch_one(device: PathBuf, power: PowerHandle) {
    let path = Path::new("/dev/input").join(device);
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
    let Ok(button) = opened.and_then(|file| sys::async_fd(OwnedFd::from(file))) else { return };
    let mut buffer = [0; EVENT_BYTES * 16];
    while let Ok(mut ready) = button.readable().await {
        match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?)) {
            Ok(Ok(length)) if buffer[..length].chunks_exact(EVENT_BYTES).any(is_press) => {
                power.request(PowerKind::PowerOff, "the power button");
            }
            Ok(Ok(_)) | Err(_) => {}
            // The device went away.
            Ok(Err(_)) => return,
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

    #[test]
    fn only_devices_with_a_power_key_count() {
        let class = tempfile::tempdir().expect("a temporary folder");
        for (name, keys) in [("event0", "10000000000000 0\n"), ("event1", "fffffffffffffffe\n"), ("input2", "10000000000000 0\n")]
        {
            let folder = class.path().join(name).join("device/capabilities");
            fs::create_dir_all(&folder).expect("a writable folder");
            fs::write(folder.join("key"), keys).expect("a writable folder");
        }
        assert_eq!(buttons(class.path()), [PathBuf::from("event0")]);
    }

    #[test]
    fn a_press_is_told_from_a_release_and_from_other_keys() {
        let event = |kind: u16, code: u16, value: u32| {
            [&[0; 16][..], &kind.to_ne_bytes(), &code.to_ne_bytes(), &value.to_ne_bytes()].concat()
        };
        assert!(is_press(&event(1, 116, 1)));
        for other in [event(1, 116, 0), event(1, 30, 1), event(0, 116, 1)] {
            assert!(!is_press(&other));
        }
    }
}
