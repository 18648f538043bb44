//! The kernel log: records of `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg), parsed and streamed.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use api::v1::KmsgLine;
use futures_util::stream::{self, Stream, StreamExt};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// The kernel hands out whole records and refuses smaller buffers (PRINTKRB_RECORD_MAX).
const RECORD_BYTES: usize = 8 << 10;

/// Parses one record: `PRIORITY,SEQUENCE,USEC,FLAGS[,…];MESSAGE\n KEY=value…`. None: it is not one.
pub(super) fn parse(record: &[u8]) -> Option<KmsgLine> {
    let text = String::from_utf8_lossy(record);
    let (prefix, rest) = text.split_once(';')?;
    let mut fields = prefix.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let usec = fields.nth(1)?.parse().ok()?;
    let message = unescape(rest.lines().next().unwrap_or_default());
    // The low three bits are the severity, the rest is the facility.
    Some(KmsgLine { usec, priority: priority & 7, message })
}

/// Undoes the kernel's `\xNN` for printable bytes; control characters stay escaped, so that no terminal obeys them.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match escaped(rest) {
            Some(byte) if byte >= 0x20 && byte != 0x7f => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            Some(_) | None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn escaped(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"\\x")?.get(..2)?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The log from `tail` lines before its end (0: from its beginning), and with `follow` what comes.
pub(super) fn lines(tail: usize, follow: bool) -> io::Result<impl Stream<Item = io::Result<KmsgLine>> + Send> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let log = rustix::fs::open("/dev/kmsg", flags, Mode::empty())?;
    let newest = if tail == 0 { VecDeque::new() } else { newest(&log, tail)? };
    let log = crate::sys::async_fd(log)?;
    let rest = stream::unfold(log, move |log| async move {
        let line = next(&log, follow).await.transpose()?;
        Some((line, log))
    });
    Ok(stream::iter(newest.into_iter().map(Ok)).chain(rest))
}

/// Reads what is there and keeps the last `count` lines of it.
fn newest(log: &OwnedFd, count: usize) -> io::Result<VecDeque<KmsgLine>> {
    let mut lines = VecDeque::new();
    while let Some(line) = read(log)? {
        if lines.len() == count {
            lines.pop_front();
        }
        lines.push_back(line);
    }
    Ok(lines)
}

async fn next(log: &AsyncFd<OwnedFd>, follow: bool) -> io::Result<Option<KmsgLine>> {
    loop {
        if let Some(line) = read(log.get_ref())? {
            return Ok(Some(line));
        }
        if !follow {
            return Ok(None);
        }
        // Cleared before the next read: a record that comes between the two is read, one that comes later wakes again.
        log.readable().await?.clear_ready();
    }
}

/// The next record that parses; none: there is no more yet.
fn read(log: impl AsFd) -> io::Result<Option<KmsgLine>> {
    let mut buffer = [0; RECORD_BYTES];
    loop {
        match rustix::io::read(log.as_fd(), &mut buffer) {
            Ok(0) | Err(Errno::AGAIN) => return Ok(None),
            Ok(count) => {
                if let Some(line) = parse(&buffer[..count]) {
                    return Ok(Some(line));
                }
            }
            // The kernel overwrote what was next; the following read gives the oldest it still has.
            Err(Errno::PIPE | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_are_parsed_as_the_kernel_documents_them() {
        let line = |usec, priority, message: &str| Some(KmsgLine { usec, priority, message: message.to_owned() });
        let cases: &[(&[u8], Option<KmsgLine>)] = &[
            (b"6,339,5140900,-;NET: Registered protocol family 10\n", line(5_140_900, 6, "NET: Registered protocol family 10")),
            (
                b"30,340,5690716,-,caller=T1;udevd[80]: starting\n SUBSYSTEM=acpi\n DEVICE=+acpi:x\n",
                line(5_690_716, 6, "udevd[80]: starting"),
            ),
            (b"4,1,0,c;semi;colon\n", line(0, 4, "semi;colon")),
            (b"3,2,7,-;gr\\xc3\\xbcn \\x1b[0m\n", line(7, 3, "gr\u{fc}n \\x1b[0m")),
            (b"6,1,2,-;\n", line(2, 6, "")),
            (b"6,1,2,-;bad \\x4", line(2, 6, "bad \\x4")),
            (b"", None),
            (b"no record", None),
            (b"6,1;short", None),
            (b"x,1,2,-;y", None),
        ];
        for (record, expected) in cases {
            assert_eq!(parse(record), *expected, "{}", String::from_utf8_lossy(record));
        }
    }

    proptest! {
        #[test]
        fn no_record_breaks_the_parser(record in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&record);
        }
    }
}
