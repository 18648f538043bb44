//! Which disk is installed on. Pure: the configuration and the disks in, one disk or the sentence a person reads out.
//!
//! It refuses rather than guesses: exactly one disk matches, and what is on it may be lost as the configuration says.

use machine_config::schema::{DiskSelector, Install, Wipe};
use machine_config::types::Generation;
use machine_config::{DeviceId, Digest, FleetTrust};

use super::content::Content;
use super::facts::{Access, DiskFacts};
use super::glob;
use super::installed::{Installed, StateSeen};

/// What becomes of the disk that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// It is written.
    Write(&'a DiskFacts),
    /// It is installed, and has this very configuration: it is left alone, or machines that always start from the network would be installed for ever.
    Already(&'a DiskFacts),
}

/// Why no disk is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// None matches.
    #[error("no disk matches machine.install.disk; {seen}")]
    NoMatch {
        /// Every disk and why it does not match.
        seen: String,
    },
    /// More than one matches.
    #[error("{} disks match machine.install.disk: say more of the one that is meant; {seen}", names.len())]
    Several {
        /// Those that match.
        names: Vec<String>,
        /// Every disk and why it does or does not match.
        seen: String,
    },
    /// The one that matches may not be written.
    #[error("{disk} matches machine.install.disk, but {why}; {seen}")]
    Forbidden {
        /// The disk.
        disk: String,
        /// Why, and what to do.
        why: String,
        /// Every disk.
        seen: String,
    },
}

/// Who installs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installer {
    /// Digest of the configuration in force.
    pub config: Digest,
    /// Its generation.
    pub generation: Generation,
    /// Whom the device obeys.
    pub fleet: FleetTrust,
    /// The device's id.
    pub device: DeviceId,
}

/// Chooses.
///
/// # Errors
/// [`Refusal`]: nothing may be written.
pub fn choose<'a>(install: &Install, installer: &Installer, disks: &'a [DiskFacts]) -> Result<Choice<'a>, Refusal> {
    let matching: Vec<&DiskFacts> = disks.iter().filter(|disk| mismatch(&install.disk, disk).is_none()).collect();
    let disk = match matching.as_slice() {
        [disk] => *disk,
        [] => return Err(Refusal::NoMatch { seen: seen(&install.disk, disks) }),
        several => {
            let names = several.iter().map(|disk| disk.name.clone()).collect();
            return Err(Refusal::Several { names, seen: seen(&install.disk, disks) });
        }
    };
    if let Content::Skerry(installed) = &disk.content
        && installed.digests.contains(&installer.config)
    {
        return Ok(Choice::Already(disk));
    }
    match forbidden(install.wipe, installer, disk) {
        None => Ok(Choice::Write(disk)),
        Some(why) => Err(Refusal::Forbidden { disk: describe(disk), why, seen: seen(&install.disk, disks) }),
    }
}

const STARTED_FROM_IT: &str = "this system was started from it, or from a medium like it";

/// Whether the selector means this disk.
pub(super) fn is_meant(selector: &DiskSelector, disk: &DiskFacts) -> bool {
    mismatch(selector, disk).is_none()
}

/// Why the selector does not mean this disk.
fn mismatch(selector: &DiskSelector, disk: &DiskFacts) -> Option<String> {
    let DiskSelector { name, serial, model, transport, min_size_mib, max_size_mib } = selector;
    let attached = disk.transport.map_or("unknown", machine_config::schema::Transport::as_str);
    let mib = disk.bytes >> 20;
    let reasons = [
        (disk.content == Content::Medium).then(|| STARTED_FROM_IT.to_owned()),
        name.as_ref().filter(|name| name.as_str() != disk.name).map(|name| format!("its name is not {name}")),
        serial.as_ref().filter(|serial| **serial != disk.serial).map(|serial| format!("its serial number is not {serial}")),
        model.as_ref().filter(|model| !glob::fits(model, &disk.model)).map(|model| format!("its model is not {model}")),
        transport
            .filter(|transport| Some(*transport) != disk.transport)
            .map(|wanted| format!("its transport is {attached}, not {}", wanted.as_str())),
        min_size_mib.filter(|min| mib < *min).map(|min| format!("it has {mib} MiB, less than {min}")),
        max_size_mib
            .filter(|max| disk.bytes > max.saturating_mul(1 << 20))
            .map(|max| format!("it has {mib} MiB, more than {max}")),
    ];
    let reasons: Vec<String> = reasons.into_iter().flatten().collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

/// Why a disk that is meant must not be written.
fn forbidden(wipe: Wipe, installer: &Installer, disk: &DiskFacts) -> Option<String> {
    match disk.access {
        Access::Free => {}
        Access::ReadOnly => return Some("it is read-only; is its write protection on?".to_owned()),
        Access::InUse => return Some("it is in use by this system".to_owned()),
    }
    if disk.sector_bytes != machine_config::disk::SECTOR_BYTES {
        return Some(format!(
            "its sectors have {} bytes, and an image is made for sectors of 512; format it for those, or take another",
            disk.sector_bytes
        ));
    }
    let allow = |word: &str| format!("to lose it, set machine.install.wipe to `{word}`");
    match (&disk.content, wipe) {
        (Content::Medium, _) => Some(STARTED_FROM_IT.to_owned()),
        (Content::Unreadable(why), _) => Some(format!("it cannot be read ({why}); replace it")),
        (Content::Skerry(installed), _) => must_stay(installer, installed).or_else(|| {
            let (which, word) = missing_leave(wipe, installer, installed)?;
            Some(format!("it holds an installation of Skerry {which}; {}", allow(word)))
        }),
        (Content::Blank | Content::Unfinished, _) | (Content::Other(_), Wipe::All) => None,
        (Content::Other(what), Wipe::Refuse | Wipe::Skerry) => Some(format!("it holds {what}; {}", allow("all"))),
    }
}

/// Why an installation stays whatever `wipe` says: it has a later configuration than this system, or may have one. Otherwise an old medium, or a
/// boot server with an old configuration, would take every machine back that starts from it.
fn must_stay(installer: &Installer, installed: &Installed) -> Option<String> {
    if installed.is_of_another_fleet(&installer.fleet) {
        return None;
    }
    let unread = |why: &str| {
        format!(
            "STATE of the Skerry on it cannot be read ({why}): start it from the disk once and shut it down, or wipe the disk elsewhere"
        )
    };
    match (&installed.state, installed.generation) {
        (StateSeen::Unreadable(why), _) => Some(unread(why)),
        (StateSeen::Unopened { .. }, _) => Some(unread("nobody looked into it")),
        (StateSeen::None | StateSeen::Read, Some(held)) if held > installer.generation => Some(format!(
            "it holds generation {held}, the medium brings {}: start from the disk, or stamp the medium anew",
            installer.generation
        )),
        (StateSeen::None | StateSeen::Read, Some(held)) if held == installer.generation => Some(format!(
            "it holds generation {held} with other content: start from the disk, or raise `metadata.generation` above {held}"
        )),
        (StateSeen::None | StateSeen::Read, _) => None,
    }
}

/// Which installation it is that `wipe` does not give free, and the word that would.
fn missing_leave(wipe: Wipe, installer: &Installer, installed: &Installed) -> Option<(String, &'static str)> {
    let another = installed.fleet.as_ref().filter(|_| installed.is_of_another_fleet(&installer.fleet));
    match (wipe, another) {
        (Wipe::All, _) => None,
        // What gives an installation of Skerry free gives nobody else's partitions free.
        (Wipe::Refuse | Wipe::Skerry, _) if installed.shared => Some(("beside partitions of another system".to_owned(), "all")),
        // What this device installed and never started from: another configuration came before it could.
        (Wipe::Refuse | Wipe::Skerry, _) if installed.unstarted.as_ref() == Some(&installer.device) => None,
        (Wipe::Refuse | Wipe::Skerry, Some(fleet)) => Some((format!("of another fleet, `{}`", fleet.name), "all")),
        (Wipe::Skerry, None) => None,
        (Wipe::Refuse, None) => Some(("with another configuration".to_owned(), "skerry")),
    }
}

/// Every disk and how it stands with the selector.
fn seen(selector: &DiskSelector, disks: &[DiskFacts]) -> String {
    let line =
        |disk: &DiskFacts| format!("{}: {}", identify(disk), mismatch(selector, disk).unwrap_or_else(|| "matches".to_owned()));
    match disks {
        [] => "this machine shows no disks (is the disk's driver in the board's module list?)".to_owned(),
        disks => format!("disks: {}", disks.iter().map(line).collect::<Vec<_>>().join("; ")),
    }
}

/// A disk as its label has it, for telling it from others.
fn identify(disk: &DiskFacts) -> String {
    if disk.serial.is_empty() { describe(disk) } else { format!("{}, serial {}", describe(disk), disk.serial) }
}

/// A disk as a technician names it: `nvme0n1 (Samsung SSD 980, 500 GB)`.
pub fn describe(disk: &DiskFacts) -> String {
    let model = if disk.model.is_empty() { String::new() } else { format!("{}, ", disk.model) };
    format!("{} ({model}{})", disk.name, size(disk.bytes))
}

/// As on the label: in powers of ten, two digits at least.
fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        1_000_000_000_000.. => (1_000_000_000_000, "TB"),
        1_000_000_000.. => (1_000_000_000, "GB"),
        _ => (1_000_000, "MB"),
    };
    let rounded = |step: u64| (bytes + step / 2) / step;
    match rounded(unit / 10) {
        tenths @ 0..100 if !tenths.is_multiple_of(10) => format!("{}.{} {name}", tenths / 10, tenths % 10),
        _ => format!("{} {name}", rounded(unit)),
    }
}

#[cfg(test)]
mod tests {
    use machine_config::schema::Transport;

    use super::super::installed::tests::{fleet, generation};
    use super::*;

    fn nvme() -> DiskFacts {
        DiskFacts {
            name: "nvme0n1".into(),
            model: "Samsung SSD 980 500GB".into(),
            serial: "S64".into(),
            transport: Some(Transport::Nvme),
            bytes: 500_107_862_016,
            sector_bytes: 512,
            access: Access::Free,
            content: Content::Blank,
            edges: None,
        }
    }

    fn stick() -> DiskFacts {
        let (name, model, serial) = ("sda".into(), "Ultra Fit".into(), String::new());
        DiskFacts { name, model, serial, transport: Some(Transport::Usb), bytes: 15_500_000_000, ..nvme() }
    }

    fn install(yaml: &str) -> Install {
        let text = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: 1}}\ntarget: {{any: true}}\n\
             machine: {{install: {yaml}}}\n"
        );
        machine_config::parse(text.as_bytes()).expect("a document").machine.install.expect("given")
    }

    fn ours() -> Digest {
        Digest::of(b"ours")
    }

    fn id(digits: &str) -> DeviceId {
        digits.repeat(32).parse().expect("64 digits")
    }

    /// The outcome in words.
    fn outcome(yaml: &str, disks: &[DiskFacts]) -> String {
        let installer = Installer { config: ours(), generation: generation(2), fleet: fleet("acme", 1), device: id("ab") };
        match choose(&install(yaml), &installer, disks) {
            Ok(Choice::Write(disk)) => format!("write {}", disk.name),
            Ok(Choice::Already(disk)) => format!("already {}", disk.name),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn all_that_is_said_must_hold_for_exactly_one_disk() {
        let disks = [nvme(), stick()];
        for selector in [
            "{name: nvme0n1}",
            "{serial: S64}",
            "{model: \"Samsung*\"}",
            "{transport: nvme}",
            "{minSizeMib: 100000}",
            "{transport: nvme, minSizeMib: 476940, maxSizeMib: 476941, model: \"*980*\", name: nvme0n1, serial: S64}",
        ] {
            assert_eq!(outcome(&format!("{{disk: {selector}}}"), &disks), "write nvme0n1", "{selector}");
        }
        assert_eq!(outcome("{disk: {maxSizeMib: 20000}}", &disks), "write sda");
    }

    #[test]
    fn a_refusal_lists_every_disk_and_why() {
        assert_eq!(
            outcome("{disk: {transport: sata, maxSizeMib: 100000}}", &[nvme(), stick()]),
            "no disk matches machine.install.disk; disks: nvme0n1 (Samsung SSD 980 500GB, 500 GB), serial S64: its transport is nvme, not sata, \
             it has 476940 MiB, more than 100000; sda (Ultra Fit, 16 GB): its transport is usb, not sata"
        );
        assert_eq!(
            outcome("{disk: {minSizeMib: 1}}", &[nvme(), stick()]),
            "2 disks match machine.install.disk: say more of the one that is meant; disks: nvme0n1 (Samsung SSD 980 500GB, 500 GB), serial S64: \
             matches; sda (Ultra Fit, 16 GB): matches"
        );
        assert!(outcome("{disk: {minSizeMib: 1}}", &[]).contains("this machine shows no disks"));
    }

    #[test]
    fn the_medium_this_was_started_from_is_never_meant() {
        let medium = DiskFacts { content: Content::Medium, ..stick() };
        assert_eq!(outcome("{disk: {minSizeMib: 1}, wipe: all}", &[nvme(), medium.clone()]), "write nvme0n1");
        let text = outcome("{disk: {transport: usb}, wipe: all}", &[medium]);
        assert!(text.contains("sda (Ultra Fit, 16 GB): this system was started from it, or"), "{text}");
    }

    #[test]
    fn only_what_may_be_lost_is_lost() {
        let other = Content::Other("an XFS file system".into());
        let skerry = Content::Skerry(Installed { unstarted: Some(id("cd")), ..earlier() });
        let shared = Content::Skerry(Installed { shared: true, ..earlier() });
        let foreign = Content::Skerry(Installed { fleet: Some(fleet("other", 2)), generation: Some(generation(9)), ..earlier() });
        let unstamped = Content::Skerry(Installed::default());
        for (content, allowed) in [
            (Content::Blank, ["refuse", "skerry", "all"].as_slice()),
            (Content::Unfinished, &["refuse", "skerry", "all"]),
            (skerry, &["skerry", "all"]),
            (unstamped, &["skerry", "all"]),
            (shared, &["all"]),
            (foreign, &["all"]),
            (other, &["all"]),
            (Content::Unreadable("bad sector".into()), &[]),
        ] {
            for wipe in ["refuse", "skerry", "all"] {
                let text = outcome(
                    &format!("{{disk: {{transport: nvme}}, wipe: {wipe}}}"),
                    &[DiskFacts { content: content.clone(), ..nvme() }],
                );
                assert_eq!(text == "write nvme0n1", allowed.contains(&wipe), "{content:?} {wipe}: {text}");
            }
        }
        let text =
            outcome("{disk: {transport: nvme}}", &[DiskFacts { content: Content::Other("an XFS file system".into()), ..nvme() }]);
        assert!(text.contains("but it holds an XFS file system; to lose it, set machine.install.wipe to `all`"), "{text}");
    }

    /// An installation of the same fleet, with the configuration before this one.
    fn earlier() -> Installed {
        Installed {
            fleet: Some(fleet("acme", 1)),
            digests: vec![Digest::of(b"another")],
            generation: Some(generation(1)),
            state: StateSeen::Read,
            ..Installed::default()
        }
    }

    const WIPES: [&str; 3] = ["refuse", "skerry", "all"];

    fn outcome_for(wipe: &str, installed: &Installed) -> String {
        let disk = DiskFacts { content: Content::Skerry(installed.clone()), ..nvme() };
        outcome(&format!("{{disk: {{transport: nvme}}, wipe: {wipe}}}"), &[disk])
    }

    #[test]
    fn an_installation_with_this_configuration_is_left_alone_whatever_else_is_wrong_with_it() {
        let digests = vec![Digest::of(b"another"), ours()];
        for state in [StateSeen::None, StateSeen::Read, StateSeen::Unreadable("dirty".into())] {
            for generation in [None, Some(generation(1)), Some(generation(2)), Some(generation(3))] {
                let installed = Installed { digests: digests.clone(), generation, state: state.clone(), ..earlier() };
                for wipe in WIPES {
                    assert_eq!(outcome_for(wipe, &installed), "already nvme0n1", "{wipe} {installed:?}");
                }
            }
        }
    }

    #[test]
    fn an_older_medium_never_takes_an_installation_back() {
        let unstarted = Some(id("ab"));
        for state in [StateSeen::None, StateSeen::Read] {
            for (held, part) in [
                (2, "it holds generation 2 with other content: start from the disk, or raise"),
                (3, "it holds generation 3, the medium brings 2: start from the disk, or stamp the medium anew"),
            ] {
                let installed = Installed {
                    generation: Some(generation(held)),
                    state: state.clone(),
                    unstarted: unstarted.clone(),
                    ..earlier()
                };
                for wipe in WIPES {
                    let text = outcome_for(wipe, &installed);
                    assert!(text.contains(part), "{wipe} {installed:?}: {text}");
                    let nameless = outcome_for(wipe, &Installed { fleet: None, ..installed.clone() });
                    assert!(nameless.contains(part), "SEED cannot be read, and {nameless}");
                }
            }
        }
    }

    #[test]
    fn a_state_that_cannot_be_read_keeps_its_disk() {
        for state in [StateSeen::Unreadable("its power failed".into()), StateSeen::Unopened { number: 4, clean: true }] {
            for owner in [Some(fleet("acme", 1)), None] {
                let installed = Installed { state: state.clone(), fleet: owner, generation: None, ..earlier() };
                for wipe in WIPES {
                    let text = outcome_for(wipe, &installed);
                    assert!(text.contains("cannot be read (") && text.contains("start it from the disk once"), "{wipe}: {text}");
                }
            }
            let foreign = Installed { state, fleet: Some(fleet("acme", 2)), ..earlier() };
            assert_eq!(outcome_for("all", &foreign), "write nvme0n1", "another fleet's is wiped like any other system");
            assert!(
                outcome_for("skerry", &foreign)
                    .contains("of another fleet, `acme`; to lose it, set machine.install.wipe to `all`")
            );
        }
    }

    #[test]
    fn what_this_device_installed_and_never_started_may_be_written_again() {
        for (device, expected) in [("ab", true), ("cd", false)] {
            let installed = Installed { unstarted: Some(id(device)), state: StateSeen::None, ..earlier() };
            let text = outcome_for("refuse", &installed);
            assert_eq!(text == "write nvme0n1", expected, "{text}");
            for wipe in ["refuse", "skerry"] {
                let text = outcome_for(wipe, &Installed { fleet: Some(fleet("other", 2)), ..installed.clone() });
                assert_eq!(text == "write nvme0n1", expected, "stamped for another fleet since, {wipe}: {text}");
                let text = outcome_for(wipe, &Installed { shared: true, ..installed.clone() });
                assert!(text.contains("beside partitions of another system"), "{wipe}: {text}");
            }
        }
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_refused_even_with_wipe_all() {
        let yaml = "{disk: {transport: nvme}, wipe: all}";
        for (disk, part) in [
            (DiskFacts { access: Access::ReadOnly, ..nvme() }, "it is read-only"),
            (DiskFacts { access: Access::InUse, ..nvme() }, "it is in use"),
            (DiskFacts { sector_bytes: 4096, ..nvme() }, "its sectors have 4096 bytes"),
        ] {
            let text = outcome(yaml, &[disk]);
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn sizes_are_those_on_labels() {
        for (bytes, expected) in [
            (500_107_862_016, "500 GB"),
            (2_000_398_934_016, "2 TB"),
            (1_920_383_410_176, "1.9 TB"),
            (4 << 30, "4.3 GB"),
            (16_008_609_792, "16 GB"),
            (536_870_912, "537 MB"),
            (0, "0 MB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
