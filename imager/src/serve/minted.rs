//! What is made for a machine (`auto` tokens and keys), the same after a restart: derived from one secret in the folder of records and the machine's
//! name. A machine that loads its image twice is one device, and what the hub was told of it stays true.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::image::digest::Digest;
use crate::stamp::plan::Purpose;

/// The secret's file in the folder of records.
pub const FILE: &str = "serve.key";
const SECRET_BYTES: usize = 32;
/// Parts the derivation from every other use of the hash.
const PURPOSE: &str = "skerry.dev/v1 minted for a machine";

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The file cannot be read or made.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("cannot use {}: it is not the secret that `imager serve` made; move it away, and machines get new tokens", path.display())]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing random.
    #[error("cannot make a secret: the system gives no random bytes")]
    Random(getrandom::Error),
}

/// The secret.
#[derive(Debug)]
pub struct Mint(Zeroizing<[u8; SECRET_BYTES]>);

impl Mint {
    /// The secret of a folder, made when there is none, readable by its owner only.
    ///
    /// # Errors
    /// See [`MintError`].
    pub fn open(folder: &Path) -> Result<Self, MintError> {
        let path = folder.join(FILE);
        match File::open(&path) {
            Ok(file) => Self::read(file, path),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::make(path),
            Err(source) => Err(MintError::File { path, source }),
        }
    }

    fn read(file: File, path: PathBuf) -> Result<Self, MintError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES + 1));
        let read = file.take(SECRET_BYTES as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|source| MintError::File { path: path.clone(), source })?;
        let secret = <[u8; SECRET_BYTES]>::try_from(bytes.as_slice()).map_err(|_| MintError::Form { path })?;
        Ok(Self(Zeroizing::new(secret)))
    }

    fn make(path: PathBuf) -> Result<Self, MintError> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        getrandom::fill(secret.as_mut_slice()).map_err(MintError::Random)?;
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
            file.write_all(secret.as_slice())?;
            file.sync_all()
        });
        written.map_err(|source| MintError::File { path, source })?;
        Ok(Self(secret))
    }

    /// A source of bytes for one machine: for each purpose the same bytes in the same order each time, whatever else is asked for, and other ones for
    /// every other machine and purpose.
    pub fn source(&self, name: &str) -> impl FnMut(Purpose, &mut [u8]) -> Result<(), getrandom::Error> {
        let secret = self.0.clone();
        let name = name.to_owned();
        let mut counts = BTreeMap::<Purpose, u64>::new();
        move |purpose, into| {
            let count = counts.entry(purpose).or_default();
            for chunk in into.chunks_mut(SECRET_BYTES) {
                let (purpose, number) = (purpose.as_str().as_bytes(), count.to_le_bytes());
                let digest = Digest::of_parts(PURPOSE, [secret.as_slice(), name.as_bytes(), purpose, &number]);
                chunk.copy_from_slice(&digest.as_bytes()[..chunk.len()]);
                *count += 1;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use machine_config::{DeviceId, SigningKey};

    use super::*;
    use crate::stamp::inventory;
    use crate::stamp::plan::{Facts, plan};
    use crate::stamp::testing::fleet;

    fn bytes(mint: &Mint, name: &str) -> [[u8; 48]; 2] {
        let mut source = mint.source(name);
        let mut next = || {
            let mut bytes = [0; 48];
            source(Purpose::Token, &mut bytes).expect("given");
            bytes
        };
        [next(), next()]
    }

    #[test]
    fn a_machine_gets_the_same_after_a_restart_and_no_other_machine_does() {
        let folder = tempfile::tempdir().expect("temp folder");
        let first = bytes(&Mint::open(folder.path()).expect("made"), "store-1");
        let again = Mint::open(folder.path()).expect("read");
        assert_eq!(bytes(&again, "store-1"), first);
        assert_ne!(bytes(&again, "store-2"), first);
        assert_ne!(first[0], first[1]);
        let mode = std::fs::metadata(folder.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = tempfile::tempdir().expect("temp folder");
        assert_ne!(bytes(&Mint::open(other.path()).expect("made"), "store-1"), first);
    }

    /// The token and the device's id of a row.
    fn minted(mint: &Mint, token: &str, identity: &str) -> (Option<String>, Option<DeviceId>) {
        let text =
            format!("name,board,hub,hub_pin,join_token,identity\nstore-1,nuc,https://h,{},{token},{identity}\n", "ab".repeat(32));
        let rows = inventory::parse(text.as_bytes()).expect("good rows");
        let facts = Facts {
            board: "nuc",
            k3s_roles: &[],
            fleet: &fleet(1),
            configs: &BTreeMap::new(),
            common_config: None,
            identities: &BTreeMap::new(),
        };
        let stamps = plan(&rows, &facts, mint.source("store-1")).expect("planned");
        let identity = stamps[0].facts.identity.clone();
        (stamps[0].made_token().map(|token| token.expose().to_owned()), identity.map(|identity| identity.device_id))
    }

    #[test]
    fn a_row_that_is_edited_later_never_shows_a_key_as_a_token() {
        let folder = tempfile::tempdir().expect("temp folder");
        let mint = Mint::open(folder.path()).expect("made");
        let (token, id) = minted(&mint, "auto", "auto");
        assert_eq!(minted(&mint, "auto", "none"), (token.clone(), None));
        assert_eq!(minted(&mint, "none", "auto"), (None, id.clone()), "and the device stays the same one");
        assert_eq!(minted(&mint, "none", "none"), (None, None));
        let token: [u8; 32] = hex::decode(token.expect("a token")).expect("hex").try_into().expect("32 bytes");
        assert_ne!(Some(DeviceId::of(&SigningKey::from_bytes(&token).verifying_key())), id);
    }

    #[test]
    fn what_is_no_secret_says_so() {
        let folder = tempfile::tempdir().expect("temp folder");
        std::fs::write(folder.path().join(FILE), "short").expect("written");
        assert!(Mint::open(folder.path()).expect_err("short").to_string().contains("move it away"));
        assert!(Mint::open(Path::new("/nowhere")).expect_err("no folder").to_string().contains("/nowhere/serve.key"));
    }
}
