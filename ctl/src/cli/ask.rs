//! Questions to the person at the terminal: passphrases, and "are you sure". Without a terminal nothing is asked and nothing assumed.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use crate::failure::{Exit, Explain, Failure, UsageError};
use crate::files;
use crate::fleet::{Fleet, Passphrase};

/// The question could not be asked or was not answered.
#[derive(Debug, thiserror::Error)]
enum AskError {
    /// The terminal cannot be read.
    #[error("cannot read the answer from the terminal")]
    Terminal(#[from] io::Error),
    /// Two entries of a new passphrase differ.
    #[error("the two passphrases differ")]
    Differ,
    /// The person said no.
    #[error("nothing was done: not confirmed")]
    NotConfirmed,
    /// The file's first line is empty.
    #[error("cannot use the passphrase file: its first line is empty")]
    Empty,
}

impl Explain for AskError {
    fn exit(&self) -> Exit {
        match self {
            Self::Terminal(_) | Self::NotConfirmed => Exit::Failure,
            Self::Differ | Self::Empty => Exit::Usage,
        }
    }
}

/// A passphrase for a new fleet: from the file, or entered twice; an empty entry means none.
pub(super) fn new_passphrase(file: Option<&Path>) -> Result<Option<Passphrase>, Failure> {
    if let Some(file) = file {
        return passphrase_from(file).map(Some);
    }
    if !io::stdin().is_terminal() {
        return Err(UsageError {
            message: "cannot ask for a passphrase: there is no terminal".into(),
            hint: "add --passphrase-file FILE, or --no-passphrase to leave the keys open".into(),
        }
        .into());
    }
    let first = rpassword::prompt_password("Passphrase for the fleet's keys (empty: none): ").map_err(AskError::from)?;
    let again = rpassword::prompt_password("Again: ").map_err(AskError::from)?;
    if first != again {
        return Err(AskError::Differ.into());
    }
    Ok(Passphrase::new(first))
}

/// The passphrase of an existing fleet, if it needs one and it can be had; else the fleet's own error says so.
pub(super) fn passphrase_of(fleet: &Fleet, file: Option<&Path>) -> Result<Option<Passphrase>, Failure> {
    match file {
        Some(file) => passphrase_from(file).map(Some),
        None if fleet.is_sealed() && io::stdin().is_terminal() => {
            let text = rpassword::prompt_password(format!("Passphrase of fleet {}: ", fleet.name())).map_err(AskError::from)?;
            Ok(Passphrase::new(text))
        }
        None => Ok(None),
    }
}

fn passphrase_from(file: &Path) -> Result<Passphrase, Failure> {
    let text = zeroize::Zeroizing::new(files::read_text(file)?);
    let line = text.lines().next().unwrap_or_default();
    Passphrase::new(line.to_owned()).ok_or_else(|| AskError::Empty.into())
}

/// Asks before something that stops workloads.
pub(super) fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(UsageError {
            message: format!("{what} needs to be confirmed and there is no terminal to ask on"),
            hint: "add --yes".into(),
        }
        .into());
    }
    eprint!("{what}? [y/N] ");
    io::stderr().flush().map_err(AskError::from)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(AskError::from)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(AskError::NotConfirmed.into()),
    }
}
