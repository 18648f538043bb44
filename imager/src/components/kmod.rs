//! What a kernel package says about its modules: their `.modinfo` sections, and the list of what is built in.
//!
//! This replaces depmod: names, aliases and dependencies come from the modules themselves, so they cannot be out of step with them.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;

use object::{Object as _, ObjectSection as _};
use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::extract::{Item, Items};

/// All modules of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelIndex {
    /// The kernel's version, as its module folder is named.
    pub version: String,
    /// Loadable modules by name (`_`, never `-`).
    pub modules: BTreeMap<String, Module>,
    /// Names of modules built into the kernel, with their aliases.
    pub builtin: BTreeMap<String, Vec<String>>,
}

/// One loadable module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Its path in the package.
    pub path: String,
    /// Names a device or a caller may ask for it by; may hold `*` and `?`.
    pub aliases: Vec<String>,
    /// Modules whose symbols it uses.
    pub depends: Vec<String>,
    /// Modules it wants loaded first, if they exist.
    pub softdeps_pre: Vec<String>,
}

/// Why a kernel package cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KmodError {
    /// The package has no modules, or those of several kernels.
    #[error("cannot tell the kernel's version: the package holds module folders of {found}")]
    Version {
        /// The versions found, joined by commas.
        found: String,
    },
    /// A file of the package cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file, in the cache.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A module is broken.
    #[error("cannot read the kernel module {module}: {reason}")]
    Module {
        /// Its path in the package.
        module: String,
        /// What is wrong.
        reason: String,
    },
}

const MODULES: &str = "usr/lib/modules/";

/// Reads every module among the files taken from a kernel package.
pub fn index(cache: &Cache, items: &Items) -> Result<KernelIndex, KmodError> {
    let version = version(items)?;
    let mut index = KernelIndex { version, ..KernelIndex::default() };
    for (path, item) in items {
        let Item::File { sha256, .. } = item else { continue };
        let bytes = || read(cache.path(*sha256));
        if let Some(name) = module_name(path) {
            let facts = module(path, &bytes()?).map_err(|reason| KmodError::Module { module: path.clone(), reason })?;
            index.modules.insert(name, facts);
        } else if path.ends_with("/modules.builtin") {
            add_builtin_names(&mut index.builtin, &String::from_utf8_lossy(&bytes()?));
        } else if path.ends_with("/modules.builtin.modinfo") {
            add_builtin_aliases(&mut index.builtin, &bytes()?);
        }
    }
    Ok(index)
}

fn version(items: &Items) -> Result<String, KmodError> {
    let mut versions: Vec<_> =
        items.keys().filter_map(|path| path.strip_prefix(MODULES)?.split_once('/')).map(|(version, _)| version).collect();
    versions.dedup();
    match versions.as_slice() {
        [version] => Ok((*version).to_owned()),
        [] => Err(KmodError::Version { found: "no kernel".into() }),
        several => Err(KmodError::Version { found: several.join(", ") }),
    }
}

/// The module's name if the path is one: `a/b-c.ko.xz` is `b_c`.
fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let (name, suffix) = file.split_once(".ko")?;
    matches!(suffix, "" | ".xz" | ".zst" | ".gz").then(|| normalised(name))
}

/// The kernel treats `-` and `_` in module names alike.
pub fn normalised(name: &str) -> String {
    name.trim().replace('-', "_")
}

fn module(path: &str, bytes: &[u8]) -> Result<Module, String> {
    let bytes = decompressed(path, bytes).map_err(|error| error.to_string())?;
    let file = object::File::parse(bytes.as_slice()).map_err(|error| error.to_string())?;
    let section = file.section_by_name(".modinfo").ok_or("it has no .modinfo")?;
    let data = section.data().map_err(|error| error.to_string())?;
    let mut module = Module { path: path.to_owned(), ..Module::default() };
    for (key, value) in strings(data).filter_map(|line| line.split_once('=')) {
        match key {
            "alias" => module.aliases.push(value.to_owned()),
            "depends" => module.depends = value.split(',').filter(|name| !name.is_empty()).map(normalised).collect(),
            "softdep" => module.softdeps_pre.extend(softdeps_pre(value)),
            _ => {}
        }
    }
    module.aliases.sort();
    module.aliases.dedup();
    Ok(module)
}

/// A module's bytes without compression.
pub fn plain(cache: &Cache, path: &str, item: &Item) -> Result<Vec<u8>, KmodError> {
    let broken = |reason: String| KmodError::Module { module: path.to_owned(), reason };
    let Item::File { sha256, .. } = item else { return Err(broken("it is a link".into())) };
    decompressed(path, &read(cache.path(*sha256))?).map_err(|error| broken(error.to_string()))
}

fn read(path: PathBuf) -> Result<Vec<u8>, KmodError> {
    std::fs::read(&path).map_err(|source| KmodError::Read { path, source })
}

fn decompressed(path: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    match path.rsplit('.').next() {
        Some("xz") => drop(lzma_rust2::XzReader::new(bytes, true).read_to_end(&mut plain)?),
        Some("zst") => drop(zstd::Decoder::new(bytes)?.read_to_end(&mut plain)?),
        Some("gz") => drop(flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain)?),
        Some(_) | None => plain.extend_from_slice(bytes),
    }
    Ok(plain)
}

fn strings(data: &[u8]) -> impl Iterator<Item = &str> {
    data.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok())
}

/// `pre: a b post: c` names a and b.
fn softdeps_pre(value: &str) -> Vec<String> {
    let mut pre = false;
    let mut names = Vec::new();
    for word in value.split_whitespace() {
        match word {
            "pre:" => pre = true,
            "post:" => pre = false,
            name if pre => names.push(normalised(name)),
            _ => {}
        }
    }
    names
}

fn add_builtin_names(builtin: &mut BTreeMap<String, Vec<String>>, list: &str) {
    for name in list.lines().filter_map(module_name) {
        builtin.entry(name).or_default();
    }
}

/// Lines are `module.key=value`, each ended by a NUL.
fn add_builtin_aliases(builtin: &mut BTreeMap<String, Vec<String>>, data: &[u8]) {
    for line in strings(data) {
        let Some((module, alias)) = line.split_once(".alias=") else { continue };
        builtin.entry(normalised(module)).or_default().push(alias.to_owned());
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Made-up kernel modules.

    /// A relocatable ELF file with one section `.modinfo`.
    pub(crate) fn ko(modinfo: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let table = 64 + names.len() + modinfo.len();
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend([1u16, 62].iter().flat_map(|half| half.to_le_bytes()));
        file.extend(1u32.to_le_bytes());
        file.extend([0u64, 0, table as u64].iter().flat_map(|word| word.to_le_bytes()));
        file.extend(0u32.to_le_bytes());
        file.extend([64u16, 56, 0, 64, 3, 2].iter().flat_map(|half| half.to_le_bytes()));
        file.extend_from_slice(names);
        file.extend_from_slice(modinfo.as_bytes());
        let mut section = |name: u32, kind: u32, offset: usize, length: usize| {
            file.extend([name, kind].iter().flat_map(|word| word.to_le_bytes()));
            file.extend([0u64, 0, offset as u64, length as u64].iter().flat_map(|word| word.to_le_bytes()));
            file.extend([0u32, 0].iter().flat_map(|word| word.to_le_bytes()));
            file.extend([1u64, 0].iter().flat_map(|word| word.to_le_bytes()));
        };
        section(0, 0, 0, 0);
        section(1, 1, 64 + names.len(), modinfo.len());
        section(10, 3, 64, names.len());
        file
    }
}

#[cfg(test)]
mod tests {
    use super::super::deb::testing::xz;
    use super::testing::ko;
    use super::*;

    const MODINFO: &str =
        "license=GPL\0alias=virtio:d00000002v*\0alias=fs-x\0depends=dm-mod,crc32c\0softdep=pre: a-b c post: d\0name=x\0";

    fn bench(files: &[(&str, Vec<u8>)]) -> Result<KernelIndex, KmodError> {
        let folder = tempfile::tempdir().expect("folder");
        let cache = Cache::at(folder.path());
        let store = |(path, bytes): &(&str, Vec<u8>)| {
            let sha256 = cache.put(bytes).expect("put");
            ((*path).to_owned(), Item::File { sha256, executable: false, elf: None })
        };
        index(&cache, &files.iter().map(store).collect())
    }

    #[test]
    fn modules_and_built_in_ones_are_read() {
        let index = bench(&[
            ("usr/lib/modules/6.12/kernel/fs/dm-x.ko.xz", xz(&ko(MODINFO))),
            ("usr/lib/modules/6.12/kernel/fs/plain.ko", ko("license=GPL\0depends=\0")),
            ("usr/lib/modules/6.12/modules.builtin", b"kernel/fs/ext4/ext4.ko\nkernel/a-b.ko\n".to_vec()),
            ("usr/lib/modules/6.12/modules.builtin.modinfo", b"ext4.license=GPL\0ext4.alias=fs-ext4\0".to_vec()),
        ])
        .expect("index");
        assert_eq!(index.version, "6.12");
        assert_eq!(
            index.modules["dm_x"],
            Module {
                path: "usr/lib/modules/6.12/kernel/fs/dm-x.ko.xz".into(),
                aliases: vec!["fs-x".into(), "virtio:d00000002v*".into()],
                depends: vec!["dm_mod".into(), "crc32c".into()],
                softdeps_pre: vec!["a_b".into(), "c".into()],
            }
        );
        assert_eq!(index.modules["plain"].depends, Vec::<String>::new());
        assert_eq!(index.builtin["ext4"], ["fs-ext4"]);
        assert!(index.builtin["a_b"].is_empty());
    }

    #[test]
    fn broken_modules_are_named() {
        for broken in [b"no ELF".to_vec(), ko(MODINFO)[..90].to_vec()] {
            let error = bench(&[("usr/lib/modules/6.12/kernel/x.ko", broken)]).expect_err("broken").to_string();
            assert!(error.contains("usr/lib/modules/6.12/kernel/x.ko"), "{error}");
        }
    }

    #[test]
    fn one_package_has_one_kernel() {
        let two = bench(&[("usr/lib/modules/6.1/x", vec![]), ("usr/lib/modules/6.2/x", vec![])]).expect_err("two");
        assert!(two.to_string().contains("6.1, 6.2"), "{two}");
        assert!(bench(&[("boot/vmlinuz", vec![])]).is_err());
    }
}
