//! Makes a part of a file a read-only block device (loop(4)).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::sys::{self, LoopSetup};

const CONTROL: &str = "/dev/loop-control";

/// Tries, because another process may take the device between asking for a free one and setting it up. Nothing else here does.
const TRIES: u32 = 8;

/// Why there is no loop device.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} a loop device: does the board's module list have `loop`?")]
pub struct LoopError {
    step: &'static str,
    source: io::Error,
}

/// Attaches `bytes` of `file` from `offset` on; returns the device file.
pub(super) fn attach(file: &File, offset: u64, bytes: u64) -> Result<PathBuf, LoopError> {
    let failed = |step| move |source| LoopError { step, source };
    let control = OpenOptions::new().read(true).write(true).open(CONTROL).map_err(failed("reach the driver of"))?;
    let mut tries = 0;
    loop {
        let path = PathBuf::from(format!("/dev/loop{}", sys::free_loop_device(&control).map_err(failed("find"))?));
        let device = File::open(&path).map_err(failed("open"))?;
        tries += 1;
        match sys::set_up_loop(&device, file.as_fd(), LoopSetup { offset, bytes }) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && tries < TRIES => {}
            Err(source) => return Err(failed("set up")(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_part_of_a_file_is_a_device_where_the_host_has_them() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&[vec![1; 4096], vec![2; 8192], vec![3; 4096]].concat()).expect("room");
        let device = match attach(&file, 4096, 8192) {
            Ok(device) => device,
            Err(error) => return eprintln!("this host lets nobody make loop devices: {error}"),
        };
        let mut bytes = Vec::new();
        let opened = File::open(&device).expect("its device file");
        (&opened).read_to_end(&mut bytes).expect("readable");
        sys::detach_loop(&opened).expect("its own device");
        assert!(bytes == [2; 8192]);
    }
}
