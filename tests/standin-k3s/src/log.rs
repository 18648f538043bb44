//! Repeats what containers write to their CRI log files, so that it can be read in the service's own log.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::report;

/// One container's log file.
#[derive(Debug)]
pub(crate) struct LogFile {
    container: String,
    path: PathBuf,
    file: Option<File>,
    pending: Vec<u8>,
}

/// Log files grow without telling; this is how often they are looked at. A test's stand-in need not be better.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl LogFile {
    /// The log file of `container` at `path`, which may not be there yet.
    pub(crate) fn new(container: &str, path: PathBuf) -> Self {
        Self { container: container.into(), path, file: None, pending: Vec::new() }
    }

    /// The lines written since the last call.
    fn new_lines(&mut self) -> io::Result<Vec<String>> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
        }
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut self.pending)?;
        }
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let whole: Vec<u8> = self.pending.drain(..=end).collect();
        Ok(String::from_utf8_lossy(&whole).lines().map(Into::into).collect())
    }
}

/// Repeats all lines of all files, for ever.
pub(crate) async fn follow(mut logs: Vec<LogFile>) -> Result<()> {
    loop {
        for log in &mut logs {
            let lines = log.new_lines().with_context(|| format!("cannot read {}", log.path.display()))?;
            for line in lines {
                let (stream, text) = parse(&line);
                report::say("container", &json!({"container": log.container, "stream": stream, "line": text}));
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A CRI log line, `TIME STREAM TAG TEXT`, as stream and text.
fn parse(line: &str) -> (&str, &str) {
    let mut fields = line.splitn(4, ' ');
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(_), Some(stream), Some(_), Some(text)) => (stream, text),
        _ => ("?", line),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn half_a_line_waits_for_its_other_half() {
        let path = std::env::temp_dir().join(format!("standin-log-{}", std::process::id()));
        let mut log = LogFile::new("hello", path.clone());
        assert!(log.new_lines().unwrap().is_empty(), "not there yet");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"1970-01-01T00:00:00Z stdout F one\n1970-").unwrap();
        assert_eq!(log.new_lines().unwrap().len(), 1);
        file.write_all(b"01-01T00:00:01Z stdout F two\n").unwrap();
        let lines = log.new_lines().unwrap();
        assert_eq!(parse(&lines[0]), ("stdout", "two"));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_line_of_another_form_is_kept_whole() {
        assert_eq!(parse("garbage"), ("?", "garbage"));
    }
}
