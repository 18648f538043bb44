//! What `imager inspect` prints for people.

use std::fmt;

use super::{Inspection, SeedState};

/// A size with the unit that suits it.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let release = &self.release;
        writeln!(f, "image        {}", self.image.display())?;
        writeln!(f, "skerry       {} for {} ({})", release.version, release.board, release.architecture)?;
        writeln!(f, "kernel       {}", self.kernel)?;
        writeln!(f, "clock floor  {} seconds since 1970", release.build_time_floor)?;
        writeln!(f, "disk         {}", self.disk_guid)?;
        writeln!(f, "\npartitions")?;
        for found in &self.partitions {
            writeln!(f, "  {:<10} {:>11}  at {:>11}  {}", found.name, size(found.bytes), size(found.offset), found.guid)?;
        }
        writeln!(f, "\nESP")?;
        for entry in &self.esp {
            writeln!(f, "  {:<26} {:>11}  {}", entry.path, size(entry.bytes), entry.sha256)?;
        }
        if !self.uki_sections.is_empty() {
            writeln!(f, "\nUKI sections")?;
        }
        for section in &self.uki_sections {
            writeln!(f, "  {:<10} {:>11}", section.name, size(section.bytes))?;
        }
        writeln!(f, "\ncommand line\n  {}", self.command_line)?;
        writeln!(f, "\nruntime image\n  {}, verified against root hash {}", size(self.runtime.bytes), self.runtime.root_hash)?;
        writeln!(f, "\ncomponents")?;
        self.components(f)?;
        writeln!(f, "\nSEED")?;
        match &self.seed {
            SeedState::Blank => writeln!(f, "  blank: not stamped yet")?,
            SeedState::Damaged(reason) => writeln!(f, "  damaged: {reason}")?,
            SeedState::Stamped { content, warning, private: _ } => {
                let text = serde_json::to_string_pretty(content).map_err(|_| fmt::Error)?;
                text.lines().try_for_each(|line| writeln!(f, "  {line}"))?;
                warning.iter().try_for_each(|warning| writeln!(f, "  warning: {warning}"))?;
            }
        }
        self.files_checked
            .map_or(Ok(()), |count| writeln!(f, "\n{count} files checked: no shell, interpreter, exec tool or set-user-id file"))
    }
}

impl Inspection {
    fn components(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.components.as_array().map(Vec::as_slice).unwrap_or_default();
        for entry in entries {
            let field = |name: &str| entry.get(name).and_then(|value| value.as_str()).unwrap_or("-").to_owned();
            writeln!(f, "  {:<32} {:<30} {}", field("name"), field("version"), field("sha256"))?;
        }
        Ok(())
    }
}
