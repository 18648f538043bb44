//! `config new|validate|sign|verify|diff|schema`: everything about configurations that needs no node.

use std::path::{Path, PathBuf};

use machine_config::{MachineConfig, Unverified, compare, judge_for_fleet, not_yet_in_effect, replace_signature, sign};
use serde::Serialize;

use crate::failure::Failure;
use crate::files::{self, Access};
use crate::fleet::Fleet;
use crate::output::{self, Format};
use crate::view::{Change, Fields, View, changes_table};

use super::args::{Config, ConfigSign, ConfigVerify};
use super::check::{CheckError, check};
use super::{ask, template};

pub(super) fn run(command: Config, format: Format) -> Result<(), Failure> {
    match command {
        Config::New(command) => output::print(&template::render(&command)?),
        Config::Validate { file } => validate(&file, format),
        Config::Sign(command) => sign_file(command, format),
        Config::Verify(command) => verify(&command, format),
        Config::Diff { old, new } => diff(&old, &new, format),
        Config::Schema { markdown: true } => output::print(&machine_config::reference()),
        Config::Schema { markdown: false } => {
            let schema = serde_json::to_string_pretty(&machine_config::json_schema()).expect("a JSON value is JSON");
            output::print(&format!("{schema}\n"))
        }
    }
}

/// What a configuration says of itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    name: String,
    fleet: String,
    generation: u64,
    target: String,
    not_yet_in_effect: Vec<String>,
}

impl Summary {
    fn of(config: &MachineConfig) -> Self {
        Self {
            name: config.metadata.name.to_string(),
            fleet: config.metadata.fleet.to_string(),
            generation: config.metadata.generation.get(),
            target: target(config),
            not_yet_in_effect: not_yet_in_effect(config),
        }
    }

    fn fields(&self) -> Fields {
        Fields::new()
            .add("name", &self.name)
            .add("fleet", &self.fleet)
            .add("generation", self.generation)
            .add("target", &self.target)
    }

    fn warnings(&self) -> String {
        let warning = |path: &String| format!("warning: {path} is not yet in effect in this version\n");
        self.not_yet_in_effect.iter().map(warning).collect()
    }
}

fn target(config: &MachineConfig) -> String {
    let target = &config.target;
    let serial = target.serial.as_ref().map(|serial| format!("serial {serial}"));
    let device = target.device_id.as_ref().map(|id| format!("device {id}"));
    let mac = target.mac.as_ref().map(|mac| format!("mac {mac}"));
    serial.or(device).or(mac).unwrap_or_else(|| "any device of the fleet".into())
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Valid {
    file: PathBuf,
    valid: bool,
    #[serde(flatten)]
    summary: Summary,
}

impl View for Valid {
    fn text(&self) -> String {
        format!("{} is valid\n\n{}{}", self.file.display(), self.summary.fields().text(), self.summary.warnings())
    }
}

fn validate(file: &Path, format: Format) -> Result<(), Failure> {
    let config = check(file, &files::read(file)?)?;
    format.show(&Valid { file: file.into(), valid: true, summary: Summary::of(&config) })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Signed {
    file: PathBuf,
    key_id: String,
    #[serde(flatten)]
    summary: Summary,
}

impl View for Signed {
    fn text(&self) -> String {
        let fields = self.summary.fields().add("key", &self.key_id).add("file", self.file.display());
        format!("{}{}", fields.text(), self.summary.warnings())
    }
}

fn sign_file(command: ConfigSign, format: Format) -> Result<(), Failure> {
    let ConfigSign { file, fleet: dir, out, replace } = command;
    let bytes = files::read(&file)?;
    let fleet = Fleet::open(&dir.dir)?;
    let config = check(&file, &bytes)?;
    if config.metadata.fleet != *fleet.name() {
        let (found, expected) = (config.metadata.fleet.to_string(), fleet.name().to_string());
        return Err(CheckError::Fleet { file, found, expected }.into());
    }
    let passphrase = ask::passphrase_of(&fleet, dir.passphrase.passphrase_file.as_deref())?;
    let key = fleet.signing_key(passphrase.as_ref())?;
    let anew = replace || is_signed_by(&bytes, &fleet);
    let signed = if anew { replace_signature(&bytes, &key) } else { sign(&bytes, &key) };
    let signed = signed.map_err(|error| CheckError::Sign { file: file.clone(), error })?;
    let out = out.unwrap_or_else(|| file.clone());
    if out == Path::new("-") {
        return output::print(&String::from_utf8_lossy(&signed));
    }
    if may_replace(&out, &file) {
        files::replace(&out, &signed)?;
    } else {
        // A configuration may hold a cluster's token.
        files::write_new(&out, &signed, Access::Secret)?;
    }
    let key_id = machine_config::KeyId::of(&key.verifying_key()).to_string();
    format.show(&Signed { file: out, key_id, summary: Summary::of(&config) })
}

/// Whether the file carries a signature of this fleet: then signing it again is what everyone does after a change.
fn is_signed_by(bytes: &[u8], fleet: &Fleet) -> bool {
    let signed = std::str::from_utf8(bytes).ok().and_then(|text| Unverified::split(text).ok());
    signed.is_some_and(|signed| fleet.trust().keys.iter().any(|key| key.id() == *signed.claimed_key()))
}

/// Signed files are made again and again; nothing else that happens to be there is overwritten.
fn may_replace(out: &Path, input: &Path) -> bool {
    let same = out.canonicalize().is_ok_and(|out| input.canonicalize().is_ok_and(|input| input == out));
    let is_signed = |text: String| Unverified::split(&text).is_ok();
    same || files::read_text(out).is_ok_and(is_signed)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    file: PathBuf,
    valid: bool,
    key_id: String,
    digest: String,
    #[serde(flatten)]
    summary: Summary,
}

impl View for Verified {
    fn text(&self) -> String {
        let fields = self.summary.fields().add("key", &self.key_id).add("digest", &self.digest);
        format!("{} is valid and signed\n\n{}{}", self.file.display(), fields.text(), self.summary.warnings())
    }
}

fn verify(command: &ConfigVerify, format: Format) -> Result<(), Failure> {
    let file = &command.file;
    let bytes = files::read(file)?;
    let fleet = Fleet::open(&command.fleet)?;
    let verified = judge_for_fleet(&bytes, &fleet.trust().trust())
        .map_err(|refusal| CheckError::Refused { file: file.clone(), refusal: Box::new(refusal) })?;
    format.show(&Verified {
        file: file.clone(),
        valid: true,
        key_id: verified.key_id().to_string(),
        digest: verified.digest().to_string(),
        summary: Summary::of(verified.content()),
    })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Diff {
    changes: Vec<Change>,
    not_yet_in_effect: Vec<String>,
}

impl View for Diff {
    fn text(&self) -> String {
        if self.changes.is_empty() { "no change\n".into() } else { changes_table(&self.changes) }
    }
}

fn diff(old: &Path, new: &Path, format: Format) -> Result<(), Failure> {
    let old = check(old, &files::read(old)?)?;
    let new = check(new, &files::read(new)?)?;
    let changes = compare(Some(&old), &new).into_iter().map(|change| Change {
        path: change.path,
        old: change.old,
        new: change.new,
        effect: change.effect.to_string(),
    });
    format.show(&Diff { changes: changes.collect(), not_yet_in_effect: not_yet_in_effect(&new) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signed_files_and_the_input_itself_are_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (notes, input, absent) = (dir.path().join("notes"), dir.path().join("input"), dir.path().join("absent"));
        std::fs::write(&notes, "mine").unwrap();
        std::fs::write(&input, "kind: MachineConfig\n").unwrap();
        assert!(!may_replace(&notes, &input));
        assert!(!may_replace(&absent, &input));
        assert!(may_replace(&input, &input));
    }
}
