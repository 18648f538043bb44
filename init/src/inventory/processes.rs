//! Processes, from `/proc/PID`. A process that ends while it is read is left out or half known; that is no error.

use api::v1::Process;

use super::cpu::TICK_MS;
use super::source::{Roots, field, head, names};

/// Longest command line that is served.
const COMMAND_BYTES: u64 = 1024;

/// Larger than any of the other files.
const FILE_BYTES: u64 = 16 << 10;

/// All processes and kernel threads, by number.
pub(super) fn read(roots: &Roots) -> Vec<Process> {
    let mut pids: Vec<u32> = names(&roots.proc_path("")).iter().filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    pids.into_iter().filter_map(|pid| process(roots, pid)).collect()
}

fn process(roots: &Roots, pid: u32) -> Option<Process> {
    let file = |name: &str, limit: u64| head(&roots.proc_path(&format!("{pid}/{name}")), limit);
    let text = |name: &str| String::from_utf8_lossy(&file(name, FILE_BYTES)).into_owned();
    let (stat, status) = (text("stat"), text("status"));
    let (name, mut process) = parse_stat(&stat)?;
    let rss = field(&status, "VmRSS", ':').and_then(|value| value.strip_suffix(" kB")?.trim().parse::<u64>().ok());
    process.pid = pid;
    process.rss_bytes = rss.unwrap_or(0).saturating_mul(1024);
    process.command = command(&file("cmdline", COMMAND_BYTES)).unwrap_or_else(|| format!("[{name}]"));
    process.cgroup = text("cgroup").lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned();
    Some(process)
}

/// The name and the figures of proc_pid_stat(5). The name stands in parentheses and may itself hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<(&str, Process)> {
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The state is field 3 of the manual page and the first here.
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    let ticks = number(14)?.saturating_add(number(15)?);
    let process = Process {
        ppid: u32::try_from(number(4)?).ok()?,
        state: (*fields.first()?).to_owned(),
        cpu_ms: ticks.saturating_mul(TICK_MS),
        threads: u32::try_from(number(20)?).ok()?,
        ..Process::default()
    };
    Some((name, process))
}

/// The arguments with spaces between them; none: a kernel thread.
fn command(cmdline: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(cmdline);
    let words: Vec<&str> = text.split('\0').filter(|word| !word.is_empty()).collect();
    // A process may write line ends into its own command line; in a table they would make lines of their own.
    (!words.is_empty()).then(|| words.join(" ").replace(char::is_control, " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let stat = "42 (evil) R 1 (x) S 1 42 42 0 -1 4194304 99 0 0 0 150 50 7 7 20 0 3 0 245092 3133440 387";
        let (name, process) = parse_stat(stat).expect("well-formed");
        assert_eq!(name, "evil) R 1 (x");
        assert_eq!((process.state.as_str(), process.ppid, process.cpu_ms, process.threads), ("S", 1, 2000, 3));
    }

    #[test]
    fn a_process_that_ends_meanwhile_is_left_out() {
        for stat in ["", "42 (x", "42 (x) S 1", "42 (x) S one 42 42 0 -1 0 0 0 0 0 1 1 0 0 20 0 1"] {
            assert!(parse_stat(stat).is_none(), "{stat:?}");
        }
    }

    #[test]
    fn command_lines_are_one_line() {
        assert_eq!(command(b"/usr/bin/k3s\0server\0--x\0").as_deref(), Some("/usr/bin/k3s server --x"));
        assert_eq!(command(b"a\nb\0").as_deref(), Some("a b"));
        assert_eq!(command(b""), None);
        assert_eq!(command(b"\0\0"), None);
    }

    #[test]
    fn this_very_process_is_found() {
        let own = read(&Roots::system()).into_iter().find(|process| process.pid == std::process::id()).expect("it runs");
        assert!(own.rss_bytes > 0 && own.threads > 0 && !own.command.is_empty());
    }
}
