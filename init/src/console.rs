//! What a person at the screen or serial line sees: log lines, and a plain status block whenever something changes. A screen with room for
//! it shows the device's QR code as well; a serial line, whose other end nobody knows, has the same as text.
//!
//! A stuck or slow console never stops init: each has a thread and a bounded queue, and what does not fit is dropped. No escape codes:
//! any terminal and any capture shows the same.

mod code;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::node::{Mode, NodeStatus, PhaseState, Release, RunsFrom};

/// Changes come in bursts; one block for a burst keeps a slow serial line readable.
const BURST: Duration = Duration::from_millis(300);

/// Texts a console may lag behind.
const QUEUE: usize = 128;

/// Something to show.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    text: String,
    /// A QR code for screens, to come below the text.
    code: Option<Arc<str>>,
}

impl Piece {
    /// What a console of this size shows of it; none: it has no size, as serial lines have none.
    fn fitted(&self, size: Option<Size>) -> impl Iterator<Item = &str> {
        let fits = |code: &&str| {
            let (rows, columns) =
                (self.text.lines().count() + code.lines().count(), code.lines().next().map_or(0, |line| line.chars().count()));
            // One row for the cursor.
            size.is_some_and(|size| rows < size.rows && columns <= size.columns)
        };
        [self.text.as_str()].into_iter().chain(self.code.as_deref().filter(fits))
    }
}

/// Rows and columns of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    rows: usize,
    columns: usize,
}

/// All active consoles of the kernel.
#[derive(Debug, Clone, Default)]
pub struct Console {
    outputs: Vec<SyncSender<Piece>>,
}

impl Console {
    /// Opens every console the kernel writes to; none is an answer too.
    pub fn open() -> Self {
        let listed = std::fs::read_to_string("/proc/consoles").unwrap_or_default();
        let terminals = parse_consoles(&listed).into_iter().map(|name| Path::new("/dev").join(name));
        Self { outputs: terminals.map(spawn_writer).collect() }
    }

    /// Queues a text on every console.
    pub fn write(&self, text: &str) {
        self.send(Piece { text: text.to_owned(), code: None });
    }

    fn send(&self, piece: Piece) {
        for output in &self.outputs {
            // A full queue is a stuck console; init goes on without it.
            let _ = output.try_send(piece.clone());
        }
    }
}

fn open_terminal(path: &Path) -> Option<File> {
    // O_NOCTTY: PID 1 never gets a controlling terminal, so no key press sends it a signal.
    OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path).ok()
}

/// The size of a screen; a serial line has none, whatever it says: nobody knows what is at its other end. Asked anew each time, because
/// the screen's driver may come later.
fn size(path: &Path, terminal: &File) -> Option<Size> {
    let number = path.file_name()?.to_str()?.strip_prefix("tty")?;
    let is_screen = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let size = rustix::termios::tcgetwinsize(terminal).ok().filter(|_| is_screen)?;
    Some(Size { rows: size.ws_row.into(), columns: size.ws_col.into() })
}

/// Opens in the thread as well: a serial line may wait for its other end.
fn spawn_writer(path: PathBuf) -> SyncSender<Piece> {
    let (sender, receiver): (_, Receiver<Piece>) = sync_channel(QUEUE);
    let write_all = move || {
        let Some(mut terminal) = open_terminal(&path) else { return };
        for piece in receiver {
            for text in piece.fitted(size(&path, &terminal)) {
                // A terminal that refuses bytes has nobody to tell.
                let _ = terminal.write_all(text.as_bytes());
            }
        }
    };
    // Without the thread the receiver is gone and every text is dropped: the policy for a console that does not work.
    let _ = thread::Builder::new().name("console".into()).stack_size(64 << 10).spawn(write_all);
    sender
}

/// The device names in `/proc/consoles`; `tty0` stands for the screen in front.
fn parse_consoles(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_whitespace().next()).collect()
}

/// Columns of a block.
const WIDTH: usize = 78;
/// Columns of a row's name and the gap behind it.
const INDENT: usize = 10;

/// The text without control bytes, cut into lines that fit: at blanks where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut lines = vec![String::new()];
    for word in printable.split(' ') {
        for piece in word.chars().collect::<Vec<_>>().chunks(width).map(|piece| piece.iter().collect::<String>()) {
            let line = lines.last_mut().expect("never empty");
            if line.is_empty() {
                line.push_str(&piece);
            } else if line.chars().count() + 1 + piece.chars().count() <= width {
                line.push(' ');
                line.push_str(&piece);
            } else {
                lines.push(piece);
            }
        }
    }
    lines
}

/// The status block: what a technician needs to know, 78 columns, one fact per line.
pub fn status_block(status: &NodeStatus, release: &Release) -> String {
    let from = if status.runs_from == RunsFrom::Ram { ", in RAM" } else { "" };
    let mut rows = vec![("skerry", format!("{} on {}{from}, {}", release.version, release.board, status.mode.name()))];
    if !status.hostname.is_empty() {
        rows.push(("host", status.hostname.clone()));
    }
    match &status.device_id {
        Some(id) => {
            rows.push(("device", id.as_str()[..12].to_owned()));
            rows.push(("id", id.to_string()));
        }
        None => rows.push(("device", "no identity yet".to_owned())),
    }
    rows.push(("phase", format!("{} {}", status.phase.name(), status.phase_state.name())));
    match &status.phase_state {
        PhaseState::Waiting(what) => rows.push(("waits", format!("for {what}"))),
        PhaseState::Pending | PhaseState::Running | PhaseState::Done | PhaseState::Failed(_) => {}
    }
    if !status.install.is_empty() {
        rows.push(("install", status.install.clone()));
    }
    match status.addresses.as_slice() {
        [] => rows.push(("address", "none yet".to_owned())),
        addresses => rows.extend(addresses.iter().map(|address| ("address", address.clone()))),
    }
    rows.push(("api", format!("TCP port {}", status.api_port)));
    if status.mode == Mode::Configured {
        let health = if status.healthy { "healthy" } else { "not healthy yet" };
        rows.push(("config", format!("fleet {}, generation {}, {health}", status.fleet, status.config_generation)));
    }
    rows.extend(status.hub.iter().map(|standing| ("hub", standing.to_string())));
    if !status.claim.is_empty() {
        rows.push(("claim", status.claim.clone()));
    }
    rows.extend(status.error_lines().into_iter().map(|line| ("error", line)));
    render(&rows)
}

/// What the QR code says: where to claim the device, or without a hub its id. None while it is still booting: blocks come in quick
/// succession then, and the code would only scroll by.
fn code_text(status: &NodeStatus) -> Option<String> {
    match status.mode {
        Mode::Maintenance | Mode::Configured if !status.claim.is_empty() => Some(status.claim.clone()),
        Mode::Maintenance | Mode::Configured => status.device_id.as_ref().map(ToString::to_string),
        Mode::Booting | Mode::Stopping => None,
    }
}

fn render(rows: &[(&str, String)]) -> String {
    let line = "-".repeat(WIDTH);
    let mut text = format!("{line}\n");
    for (name, value) in rows {
        for (n, part) in wrap(value, WIDTH - INDENT).iter().enumerate() {
            let name = if n == 0 { name } else { "" };
            text.push_str(&format!("{name:>8}  {part}\n"));
        }
    }
    text + &line + "\n"
}

/// Writes the block at once and whenever it changes. Never returns.
pub async fn show_status(console: Console, node: crate::node::Node, release: Release) {
    let mut changes = node.status.subscribe();
    let mut shown = None;
    let mut drawn: (Option<String>, Option<Arc<str>>) = (None, None);
    loop {
        let (block, text) = {
            let status = changes.borrow_and_update();
            (status_block(&status, &release), code_text(&status))
        };
        if drawn.0 != text {
            let code = text.as_deref().and_then(code::code).map(Arc::from);
            drawn = (text, code);
        }
        let piece = Some(Piece { text: block, code: drawn.1.clone() });
        if piece != shown {
            piece.iter().for_each(|piece| console.send(piece.clone()));
            shown = piece;
        }
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(BURST).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{HubStanding, HubState, Phase};

    #[test]
    fn the_block_says_why_the_device_waits() {
        let mut status = NodeStatus { mode: Mode::Maintenance, phase: Phase::Config, ..NodeStatus::default() };
        status.device_id = Some("ab".repeat(32).parse().expect("64 digits"));
        status.phase_state = PhaseState::Waiting("a signed configuration for this device".into());
        status.addresses = vec!["eth0 10.0.2.15/24".into()];
        let release = Release { version: "0.1.0".into(), board: "qemu-x86_64".into(), ..Release::unknown() };
        let expected = [
            &"-".repeat(78),
            "  skerry  0.1.0 on qemu-x86_64, maintenance",
            "  device  abababababab",
            &format!("      id  {}", "ab".repeat(32)),
            "   phase  config waiting",
            "   waits  for a signed configuration for this device",
            " address  eth0 10.0.2.15/24",
            "     api  TCP port 7440",
            &"-".repeat(78),
            "",
        ];
        assert_eq!(status_block(&status, &release), expected.join("\n"));
    }

    #[test]
    fn the_block_says_how_it_stands_with_the_hub_and_where_to_claim_the_device() {
        let mut status = NodeStatus::default();
        assert!(!status_block(&status, &Release::unknown()).contains("hub"));
        status.hub = Some(HubStanding::new(HubState::Pending, "https://hub.example", "\x1b[2J"));
        status.claim = format!("https://hub.example/claim/id/{}", "ab".repeat(32));
        let block = status_block(&status, &Release::unknown());
        assert!(block.contains("\n     hub  waiting for approval at https://hub.example: [2J\n"), "{block}");
        assert!(
            block.contains("\n   claim  https://hub.example/claim/id/") && block.lines().all(|line| line.chars().count() <= 78)
        );
    }

    #[test]
    fn a_code_comes_on_screens_with_room_for_it_only() {
        let piece = Piece { text: "a\nb\n".into(), code: Some("██\n▀▀\n".into()) };
        for (size, shown) in
            [(None, false), (Some((5, 2)), true), (Some((4, 80)), false), (Some((25, 1)), false), (Some((0, 0)), false)]
        {
            let size = size.map(|(rows, columns)| Size { rows, columns });
            assert_eq!(piece.fitted(size).collect::<String>().contains('█'), shown, "{size:?}");
            assert!(piece.fitted(size).next() == Some("a\nb\n"));
        }
    }

    #[test]
    fn a_file_or_serial_line_is_no_screen() {
        let file = File::open("/dev/null").expect("it is there");
        for path in ["/dev/ttyS0", "/dev/ttyAMA0", "/dev/hvc0", "/dev/tty", "/dev/tty0"] {
            assert_eq!(size(Path::new(path), &file), None, "{path}");
        }
    }

    #[test]
    fn the_code_says_where_to_claim_the_device_or_its_id() {
        let mut status = NodeStatus { device_id: "ab".repeat(32).parse().ok(), ..NodeStatus::default() };
        assert_eq!(code_text(&status), None, "while it boots");
        status.mode = Mode::Maintenance;
        assert_eq!(code_text(&status), Some("ab".repeat(32)));
        status.claim = "https://hub.example/claim/id/ab".into();
        assert_eq!(code_text(&status).as_deref(), Some("https://hub.example/claim/id/ab"));
    }

    #[test]
    fn an_error_cannot_send_escape_codes_to_the_terminal() {
        assert_eq!(wrap("a\x1b[2Jb\nc", 80), ["a [2Jb c"]);
    }

    #[test]
    fn a_long_error_is_shown_whole() {
        assert_eq!(wrap("cannot find the boot disk", 11), ["cannot find", "the boot", "disk"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), [""]);
    }

    #[test]
    fn consoles_are_those_the_kernel_lists() {
        let text = "ttyS0                -W- (EC p a)    4:64\ntty0                 -WU (E     )    4:1\n";
        assert_eq!(parse_consoles(text), ["ttyS0", "tty0"]);
    }
}
