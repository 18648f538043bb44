//! The build-time floor: a moment before which no device with this image can be. From the inputs, so that the same inputs give the same image.

use anyhow::{Context as _, Result, anyhow};

use crate::components::lockfile::LockedRelease;
use crate::components::release;

/// `SOURCE_DATE_EPOCH` when it is set, else the date of the newest signed Release file in the lock. Seconds since 1970.
pub(super) fn find(source_date_epoch: Option<&str>, releases: &[LockedRelease]) -> Result<u64> {
    if let Some(text) = source_date_epoch {
        return text.parse().with_context(|| format!("cannot use SOURCE_DATE_EPOCH `{text}`: it must be seconds since 1970"));
    }
    let dates = releases.iter().map(|release| seconds(&release.date)).collect::<Result<Vec<_>>>()?;
    dates
        .into_iter()
        .max()
        .ok_or_else(|| anyhow!("cannot tell a build time: components.lock names no Release file; run `imager lock`"))
}

fn seconds(date: &str) -> Result<u64> {
    let parsed = release::parse_date(date);
    let timestamp = parsed.with_context(|| format!("cannot read the date `{date}` in components.lock; run `imager lock`"))?;
    u64::try_from(timestamp.as_second())
        .with_context(|| format!("cannot use the date `{date}` in components.lock: it lies before 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::manifest::Archive;
    use crate::image::digest::Digest;

    fn release(date: &str) -> LockedRelease {
        LockedRelease { suite: "trixie".into(), archive: Archive::Debian, date: date.into(), sha256: Digest::of(b"") }
    }

    #[test]
    fn the_newest_release_or_the_environment_decides() {
        let releases = [
            release("Sat, 06 Sep 2025 10:00:00 UTC"),
            release("Sat, 15 Nov 2025 09:30:01 UTC"),
            release("Sat, 09 Aug 2025 10:00:00 UTC"),
        ];
        assert_eq!(find(None, &releases).expect("found"), 1_763_199_001);
        assert_eq!(find(Some("17"), &releases).expect("found"), 17);
    }

    #[test]
    fn unusable_dates_are_named() {
        for (epoch, releases) in [(Some("yesterday"), vec![]), (None, vec![]), (None, vec![release("someday")])] {
            let error = find(epoch, &releases).expect_err("refused").to_string();
            assert!(error.contains("yesterday") || error.contains("imager lock"), "{error}");
        }
    }
}
