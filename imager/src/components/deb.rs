//! Reading Debian packages: an `ar` archive with a compressed tar archive inside.
//!
//! Never unpacks: it offers each entry, under a checked and normalised path, to whoever decides. Paths that are absolute, climb with `..` or are not UTF-8
//! are refused, as is everything that is not a file, link or folder.

use std::io::{self, Read};

/// What an entry of a package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; its bytes come with it.
    File {
        /// Whether somebody may run it. Set-user-id and set-group-id bits are dropped here.
        executable: bool,
    },
    /// A symbolic link.
    Symlink {
        /// What it points at, as stored.
        target: String,
    },
    /// Another name of an earlier file.
    HardLink {
        /// That file's path, normalised.
        target: String,
    },
}

/// Why a package cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// It is no package, or broken.
    #[error("it is not a Debian package, or broken")]
    Broken(#[source] io::Error),
    /// It has no data archive we can read.
    #[error("it holds no data.tar in xz, zstd or gzip form{found}")]
    NoData {
        /// What it holds instead, as the end of the message.
        found: String,
    },
    /// A path in it leaves the folder it is unpacked to.
    #[error("it holds the unsafe path `{path}`")]
    UnsafePath {
        /// As stored.
        path: String,
    },
    /// An entry that is neither file, link nor folder.
    #[error("it holds `{path}`, which is neither a file, a link nor a folder")]
    Special {
        /// Its path.
        path: String,
    },
}

/// Offers every file and link of a package to `visit`: path without leading `/` in merged-usr form, what it is, its bytes.
pub fn read<E: From<DebError>>(
    package: impl Read,
    mut visit: impl FnMut(&str, Kind, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut archive = ar::Archive::new(package);
    let mut others = Vec::new();
    while let Some(member) = archive.next_entry() {
        let member = member.map_err(DebError::Broken)?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        match name.as_str() {
            "data.tar.xz" => return read_tar(lzma_rust2::XzReader::new(member, true), &mut visit),
            "data.tar.zst" => return read_tar(zstd::Decoder::new(member).map_err(DebError::Broken)?, &mut visit),
            "data.tar.gz" => return read_tar(flate2::read::MultiGzDecoder::new(member), &mut visit),
            "data.tar" => return read_tar(member, &mut visit),
            other => others.push(other.to_owned()),
        }
    }
    let found = if others.is_empty() { String::new() } else { format!(", only {}", others.join(", ")) };
    Err(DebError::NoData { found }.into())
}

fn read_tar<E: From<DebError>>(
    data: impl Read,
    visit: &mut impl FnMut(&str, Kind, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut archive = tar::Archive::new(data);
    for entry in archive.entries().map_err(DebError::Broken)? {
        let mut entry = entry.map_err(DebError::Broken)?;
        let Some(path) = checked_path(&entry.path_bytes())? else { continue };
        let Some(kind) = kind_of(&entry, &path)? else { continue };
        visit(&path, kind, &mut entry)?;
    }
    // The tar's end comes before its compression's: only reading on shows whether the rest is there and its checksum right.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(DebError::Broken)?;
    Ok(())
}

fn kind_of<R: Read>(entry: &tar::Entry<'_, R>, path: &str) -> Result<Option<Kind>, DebError> {
    let target = || entry.link_name_bytes().unwrap_or_default();
    match entry.header().entry_type() {
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            let mode = entry.header().mode().map_err(DebError::Broken)?;
            Ok(Some(Kind::File { executable: mode & 0o111 != 0 }))
        }
        tar::EntryType::Symlink => Ok(Some(Kind::Symlink { target: utf8(&target())? })),
        tar::EntryType::Link => Ok(checked_path(&target())?.map(|target| Kind::HardLink { target })),
        tar::EntryType::Directory => Ok(None),
        _ => Err(DebError::Special { path: path.into() }),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, DebError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| DebError::UnsafePath { path: String::from_utf8_lossy(bytes).into_owned() })
}

/// The normalised, merged-usr form of a stored path; none: the root itself.
fn checked_path(stored: &[u8]) -> Result<Option<String>, DebError> {
    let stored = utf8(stored)?;
    let unsafe_path = || DebError::UnsafePath { path: stored.clone() };
    if stored.starts_with('/') || stored.contains('\0') {
        return Err(unsafe_path());
    }
    let parts: Vec<_> = stored.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(unsafe_path());
    }
    Ok(if parts.is_empty() { None } else { Some(merged_usr(&parts.join("/"))) })
}

/// Debian's older packages still ship `bin/x` for what is `usr/bin/x` on every merged-usr system.
pub fn merged_usr(path: &str) -> String {
    let moved = ["bin/", "sbin/", "lib/", "lib64/"].iter().any(|folder| path.starts_with(folder));
    if moved { format!("usr/{path}") } else { path.to_owned() }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Made-up packages.

    use std::io::Write as _;

    /// How a made-up package's data is compressed.
    #[derive(Debug, Clone, Copy)]
    pub(crate) enum Form {
        Plain,
        Xz,
        Zstd,
        Gzip,
    }

    /// One entry: stored path, mode, and content or link target.
    pub(crate) type Entry<'a> = (&'a str, u32, tar::EntryType, &'a [u8]);

    /// A package of such entries; paths are stored as they are, also when no honest tool would.
    pub(crate) fn deb(form: Form, entries: &[Entry<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, mode, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            let data: &[u8] = match kind {
                tar::EntryType::Regular => content,
                _ => {
                    header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content);
                    &[]
                }
            };
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, data).expect("appended");
        }
        let tar = builder.into_inner().expect("tar");
        let (name, data) = match form {
            Form::Plain => ("data.tar", tar),
            Form::Zstd => ("data.tar.zst", zstd::encode_all(tar.as_slice(), 1).expect("zstd")),
            Form::Xz => ("data.tar.xz", xz(&tar)),
            Form::Gzip => ("data.tar.gz", gzip(&tar)),
        };
        archive(&[("debian-binary", b"2.0\n"), ("control.tar", b""), (name, &data)])
    }

    pub(crate) fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, data) in members {
            builder.append(&ar::Header::new(name.as_bytes().to_vec(), data.len() as u64), *data).expect("appended");
        }
        builder.into_inner().expect("ar")
    }

    pub(crate) fn xz(data: &[u8]) -> Vec<u8> {
        let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).expect("xz");
        writer.write_all(data).expect("written");
        writer.finish().expect("finished")
    }

    pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(data).expect("written");
        writer.finish().expect("finished")
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Form, archive, deb};
    use super::*;
    use proptest::prelude::*;
    use tar::EntryType::{Block, Directory, Link, Regular, Symlink};

    fn list(package: &[u8]) -> Result<Vec<(String, Kind, String)>, DebError> {
        let mut found = Vec::new();
        read(package, |path, kind, bytes| {
            let mut text = String::new();
            bytes.read_to_string(&mut text).map_err(DebError::Broken)?;
            found.push((path.to_owned(), kind, text));
            Ok::<_, DebError>(())
        })?;
        Ok(found)
    }

    proptest! {
        #[test]
        fn damaged_packages_are_errors_never_panics(
            form in prop::sample::select(vec![Form::Plain, Form::Xz, Form::Zstd, Form::Gzip]),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        ) {
            let mut package = deb(form, &[("./usr/bin/x", 0o755, Regular, b"x"), ("./usr/bin/y", 0o777, Symlink, b"x")]);
            for (at, byte) in changes {
                let at = at.index(package.len());
                package[at] = byte;
            }
            let mut paths = Vec::new();
            let _ = read(package.as_slice(), |path, _, _| {
                paths.push(path.to_owned());
                Ok::<_, DebError>(())
            });
            prop_assert!(paths.iter().all(|path| !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))));
        }
    }

    #[test]
    fn every_compression_is_read() {
        for form in [Form::Plain, Form::Xz, Form::Zstd, Form::Gzip] {
            let package = deb(
                form,
                &[
                    ("./", 0o755, Directory, b""),
                    ("./bin/mount", 0o4755, Regular, b"m"),
                    ("./usr/share/x", 0o644, Regular, b"x"),
                    ("./usr/bin/link", 0o777, Symlink, b"../../bin/mount"),
                    ("./usr/bin/hard", 0o755, Link, b"./bin/mount"),
                ],
            );
            let file = |path: &str, executable, text: &str| (path.to_owned(), Kind::File { executable }, text.to_owned());
            let link = |path: &str, kind| (path.to_owned(), kind, String::new());
            assert_eq!(
                list(&package).expect("readable"),
                [
                    file("usr/bin/mount", true, "m"),
                    file("usr/share/x", false, "x"),
                    link("usr/bin/link", Kind::Symlink { target: "../../bin/mount".into() }),
                    link("usr/bin/hard", Kind::HardLink { target: "usr/bin/mount".into() }),
                ]
            );
        }
    }

    #[test]
    fn paths_that_climb_are_refused() {
        for path in ["../etc/passwd", "./usr/../../x", "/etc/passwd", "usr/.."] {
            let package = deb(Form::Plain, &[(path, 0o644, Regular, b"x")]);
            assert!(matches!(list(&package), Err(DebError::UnsafePath { .. })), "{path}");
        }
        let package = deb(Form::Plain, &[("./usr/hard", 0o644, Link, b"../../etc/shadow")]);
        assert!(matches!(list(&package), Err(DebError::UnsafePath { .. })));
    }

    #[test]
    fn devices_and_non_packages_are_refused() {
        let package = deb(Form::Plain, &[("./dev/sda", 0o644, Block, b"")]);
        assert!(matches!(list(&package), Err(DebError::Special { .. })));
        assert!(matches!(list(b"not an archive"), Err(DebError::Broken(_))));
        assert!(matches!(list(&archive(&[("data.tar.lzma", b"")])), Err(DebError::NoData { .. })));
        let whole = deb(Form::Xz, &[("./a", 0o644, Regular, &[7; 5000])]);
        assert!(list(&whole[..whole.len() - 30]).is_err());
    }
}
