//! The audit as a chain: every line carries the hash of the one before it, so that a line that was changed, removed, doubled or moved breaks
//! it. Pure. Lines taken from the end leave no gap: whoever must be sure of the end notes its hash elsewhere and asks for it.

use sha2::{Digest as _, Sha256};

use crate::model::{AuditEntry, By, Time};

/// Stands before every line in what is hashed.
const CONTEXT: &[u8] = b"skerry.dev/hub-audit/v1\0";

/// The end of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Number of the last line; 0: there is none.
    pub(crate) seq: i64,
    /// Its hash; zeros when there is none.
    pub(crate) hash: [u8; 32],
}

/// A line that is about to be written.
pub(crate) struct Line<'a> {
    pub(crate) seq: i64,
    pub(crate) by: &'a By,
    pub(crate) action: &'a str,
    pub(crate) device: Option<&'a str>,
    pub(crate) details: &'a str,
}

impl Line<'_> {
    /// Its hash, after the line with hash `previous`.
    pub(crate) fn hash(&self, previous: &[u8; 32]) -> [u8; 32] {
        let actor = self.by.actor.to_string();
        let texts = [&actor, self.action, self.device.unwrap_or(""), &self.by.address, self.details];
        hash(self.seq, self.by.at, texts, previous)
    }
}

/// Every text with its length before it, so that nothing can be moved from one to the next.
fn hash(seq: i64, at: Time, texts: [&str; 5], previous: &[u8; 32]) -> [u8; 32] {
    let mut hasher = Sha256::new_with_prefix(CONTEXT);
    hasher.update(seq.to_le_bytes());
    hasher.update(at.millis().to_le_bytes());
    for text in texts {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(previous);
    hasher.finalize().into()
}

/// Why an audit is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Another line stands where this one should.
    #[error("cannot trust the audit from line {expected} on: line {found} stands there; lines were removed, doubled or moved")]
    Place {
        /// Which should stand there.
        expected: i64,
        /// Which does.
        found: i64,
    },
    /// It was written after another line.
    #[error("cannot trust line {seq} of the audit: it was not written after the line before it")]
    Previous {
        /// The line.
        seq: i64,
    },
    /// It was changed.
    #[error("cannot trust line {seq} of the audit: it was changed after it was written")]
    Changed {
        /// The line.
        seq: i64,
    },
    /// The line that was asked for is gone.
    #[error("cannot trust the audit's end: no line has the hash {hash}; lines were taken from the end, or it is another hub's")]
    End {
        /// As asked for.
        hash: String,
    },
}

/// A chain that is read from its beginning.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    head: Head,
}

impl Chain {
    /// The next line.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn follow(&mut self, entry: &AuditEntry, details: &str) -> Result<(), ChainError> {
        let expected = self.head.seq + 1;
        if entry.seq != expected {
            return Err(ChainError::Place { expected, found: entry.seq });
        }
        if entry.previous != hex::encode(self.head.hash) {
            return Err(ChainError::Previous { seq: entry.seq });
        }
        let device = entry.device.as_ref().map_or("", |id| id.as_str());
        let texts = [entry.actor.as_str(), &entry.action, device, &entry.address, details];
        let hash = hash(entry.seq, entry.at, texts, &self.head.hash);
        if entry.hash != hex::encode(hash) {
            return Err(ChainError::Changed { seq: entry.seq });
        }
        self.head = Head { seq: entry.seq, hash };
        Ok(())
    }

    /// What the lines so far amount to.
    pub fn proof(&self) -> Proof {
        Proof { lines: self.head.seq, last_hash: hex::encode(self.head.hash) }
    }
}

/// What a verified audit amounts to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// How many lines it has.
    pub lines: i64,
    /// Hash of the last one: note it elsewhere and ask for it later.
    pub last_hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Actor;

    fn chain() -> Vec<(AuditEntry, String)> {
        let mut head = Head::default();
        let line = |head: &mut Head, action: &str, details: &str| {
            let by = By::new(Actor::User("kim".into()), "192.0.2.1", Time::from_millis(1000));
            let line = Line { seq: head.seq + 1, by: &by, action, device: None, details };
            let hash = line.hash(&head.hash);
            let entry = AuditEntry {
                seq: line.seq,
                at: by.at,
                actor: by.actor.to_string(),
                action: action.into(),
                device: None,
                address: by.address.clone(),
                details: serde_json::from_str(details).unwrap(),
                previous: hex::encode(head.hash),
                hash: hex::encode(hash),
            };
            *head = Head { seq: line.seq, hash };
            (entry, details.to_owned())
        };
        ["a", "b", "c"].map(|action| line(&mut head, action, "{}")).to_vec()
    }

    fn verify(lines: &[(AuditEntry, String)]) -> Result<Proof, ChainError> {
        let mut chain = Chain::default();
        lines.iter().try_for_each(|(entry, details)| chain.follow(entry, details))?;
        Ok(chain.proof())
    }

    #[test]
    fn a_whole_chain_holds() {
        let lines = chain();
        assert_eq!(verify(&lines), Ok(Proof { lines: 3, last_hash: lines[2].0.hash.clone() }));
        assert_eq!(verify(&[]), Ok(Proof { lines: 0, last_hash: "00".repeat(32) }));
    }

    #[test]
    fn removed_moved_and_doubled_lines_are_named() {
        let lines = chain();
        let pick = |places: &[usize]| places.iter().map(|place| lines[*place].clone()).collect::<Vec<_>>();
        assert_eq!(verify(&pick(&[0, 2])), Err(ChainError::Place { expected: 2, found: 3 }));
        assert_eq!(verify(&pick(&[1, 2])), Err(ChainError::Place { expected: 1, found: 2 }));
        assert_eq!(verify(&pick(&[0, 0, 1])), Err(ChainError::Place { expected: 2, found: 1 }));
        assert_eq!(verify(&pick(&[0, 2, 1])), Err(ChainError::Place { expected: 2, found: 3 }));
    }

    #[test]
    fn every_field_counts() {
        type Change = fn(&mut (AuditEntry, String));
        let changes: [Change; 6] = [
            |line| line.0.at = Time::from_millis(1001),
            |line| line.0.actor = "user:eve".into(),
            |line| line.0.action = "x".into(),
            |line| line.0.device = Some("ab".repeat(32).parse().unwrap()),
            |line| line.0.address = "192.0.2.2".into(),
            |line| line.1 = "{\"a\":1}".into(),
        ];
        for change in changes {
            let mut lines = chain();
            change(&mut lines[1]);
            assert_eq!(verify(&lines), Err(ChainError::Changed { seq: 2 }));
        }
        let mut lines = chain();
        lines[1].0.previous = "00".repeat(32);
        assert_eq!(verify(&lines), Err(ChainError::Previous { seq: 2 }));
    }

    /// A line whose hash was made anew breaks the next one.
    #[test]
    fn a_forger_must_write_the_rest_of_the_chain_anew() {
        let mut lines = chain();
        let by = By::new(Actor::User("eve".into()), "192.0.2.1", Time::from_millis(1000));
        let previous = hex::decode(&lines[0].0.hash).unwrap().try_into().unwrap();
        let hash = Line { seq: 2, by: &by, action: "b", device: None, details: "{}" }.hash(&previous);
        lines[1].0.actor = by.actor.to_string();
        lines[1].0.hash = hex::encode(hash);
        assert_eq!(verify(&lines), Err(ChainError::Previous { seq: 3 }));
    }
}
