//! The EFI system partition: FAT32 in memory, with fixed times and a volume id derived from the content.

use std::io::Cursor;

use lamfat::{FatType, FileSystem, FormatVolumeOptions, FsOptions, NullTimeProvider, StdIoWrapper, format_volume};

use super::fat::Fat;
use super::window::Window;

const SECTOR_BYTES: u64 = 512;
/// FAT32 begins at this many clusters; a margin covers what the tables themselves take.
const FAT32_LEAST_CLUSTERS: u64 = 65_525 + 2_048;
/// Larger clusters bring nothing to firmware.
const LARGEST_CLUSTER: u64 = 4096;
const LABEL: [u8; 11] = *b"SKERRY-ESP ";

/// A file for the ESP.
#[derive(Debug, Clone, Copy)]
pub struct EspFile<'a> {
    /// Path with `/`, folders included.
    pub path: &'a str,
    /// Content.
    pub bytes: &'a [u8],
}

/// Why an ESP cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// FAT32 needs more.
    #[error("cannot make an ESP of {bytes} bytes: FAT32 needs at least {least}; raise `esp-mib` in the board file")]
    Small {
        /// Asked for.
        bytes: u64,
        /// The least.
        least: u64,
    },
    /// The files do not fit.
    #[error("cannot put {path} ({bytes} bytes) into the ESP: it is full; raise `esp-mib` in the board file")]
    Full {
        /// The file.
        path: String,
        /// Its size.
        bytes: usize,
    },
    /// FAT refuses a file.
    #[error("cannot write {path} into the ESP: {reason}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The partition is not FAT, or damaged.
    #[error("cannot read the ESP: {reason}")]
    Read {
        /// Why.
        reason: String,
    },
}

/// Makes a FAT32 file system of `bytes` bytes with `files` in it.
pub fn build(bytes: u64, volume_id: u32, files: &[EspFile<'_>]) -> Result<Vec<u8>, EspError> {
    let mut disk = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    format(&mut disk, volume_id)?;
    let fs =
        FileSystem::new(Cursor::new(&mut disk), FsOptions::new().time_provider(NullTimeProvider::new())).map_err(read_error)?;
    for file in files {
        write_file(&fs, file)?;
    }
    fs.unmount().map_err(read_error)?;
    Ok(disk)
}

fn format(disk: &mut [u8], volume_id: u32) -> Result<(), EspError> {
    let bytes = disk.len() as u64;
    let clusters_of = |size: &u64| bytes / size >= FAT32_LEAST_CLUSTERS;
    let sizes = std::iter::successors(Some(LARGEST_CLUSTER), |size| Some(size / 2)).take_while(|size| *size >= SECTOR_BYTES);
    let Some(cluster) = sizes.into_iter().find(clusters_of) else {
        return Err(EspError::Small { bytes, least: FAT32_LEAST_CLUSTERS * SECTOR_BYTES });
    };
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(cluster as u32)
        .volume_id(volume_id)
        .volume_label(LABEL);
    format_volume(&mut StdIoWrapper::new(Cursor::new(disk)), options).map_err(read_error)
}

type Fs<'a> = FileSystem<StdIoWrapper<Cursor<&'a mut Vec<u8>>>, NullTimeProvider>;

fn write_file(fs: &Fs<'_>, file: &EspFile<'_>) -> Result<(), EspError> {
    let failed = |error: lamfat::Error<std::io::Error>| match error {
        lamfat::Error::NotEnoughSpace => EspError::Full { path: file.path.into(), bytes: file.bytes.len() },
        other => EspError::Write { path: file.path.into(), reason: other.to_string() },
    };
    for (end, _) in file.path.match_indices('/') {
        fs.root_dir().create_dir(&file.path[..end]).map_err(failed)?;
    }
    let mut handle = fs.root_dir().create_file(file.path).map_err(failed)?;
    handle.truncate().map_err(failed)?;
    lamfat::Write::write_all(&mut handle, file.bytes).map_err(failed)
}

fn read_error(error: lamfat::Error<std::io::Error>) -> EspError {
    EspError::Read { reason: error.to_string() }
}

/// Reads every file of the ESP seen through `window`: path and bytes, sorted by path.
///
/// # Errors
/// [`EspError::Read`]: it is no FAT32 file system, or a damaged one.
pub fn read(window: Window<'_>) -> Result<Vec<(String, Vec<u8>)>, EspError> {
    let (file, place) = window.place();
    let files = Fat::open(file, place).map_err(str::to_owned).and_then(|fat| fat.files());
    files.map_err(|reason| EspError::Read { reason })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::process::Command;

    use super::*;
    use crate::oracle;

    const FILES: [EspFile<'static>; 3] = [
        EspFile { path: "EFI/BOOT/BOOTX64.EFI", bytes: b"loader" },
        EspFile { path: "EFI/Linux/skerry-a.efi", bytes: &[7; 3_000_000] },
        EspFile { path: "loader/loader.conf", bytes: b"timeout 0\n" },
    ];

    #[test]
    fn fsck_finds_no_fault_at_any_size() {
        for mib in [36u64, 64, 128, 300] {
            let folder = tempfile::tempdir().expect("temp folder");
            let path = folder.path().join("esp");
            std::fs::write(&path, build(mib << 20, 0x1234_5678, &FILES).expect("built")).expect("written");
            let Some(output) = oracle::ask(Command::new("/usr/sbin/fsck.fat").arg("-nv").arg(&path)) else { return };
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("32 bit"), "{mib} MiB: {text}");
        }
    }

    #[test]
    fn files_read_back_and_bytes_repeat() {
        let one = build(36 << 20, 1, &FILES).expect("built");
        assert!(one == build(36 << 20, 1, &FILES).expect("built"));
        let file = tempfile::tempfile().expect("temp file");
        file.write_all_at(&one, 0).expect("written");
        let read = read(Window::new(&file, 0, one.len() as u64)).expect("read");
        let expected: Vec<_> = FILES.iter().map(|file| (file.path.to_owned(), file.bytes.to_vec())).collect();
        assert!(read == expected);
    }

    #[test]
    fn too_small_and_too_full_are_told_apart() {
        assert!(matches!(build(16 << 20, 1, &FILES), Err(EspError::Small { .. })));
        let big = vec![1; 40 << 20];
        let result = build(36 << 20, 1, &[EspFile { path: "EFI/Linux/skerry-a.efi", bytes: &big }]);
        assert!(matches!(result, Err(EspError::Full { .. })), "{result:?}");
    }

    #[test]
    fn what_is_not_fat_is_refused() {
        let file = tempfile::tempfile().expect("temp file");
        file.set_len(1 << 20).expect("sized");
        assert!(matches!(read(Window::new(&file, 0, 1 << 20)), Err(EspError::Read { .. })));
    }

    /// A small file system in a file: the table of a large one, and few of its clusters.
    fn small() -> (std::fs::File, Vec<u8>) {
        const CLUSTERS: u32 = 64;
        let files = [EspFile { path: "EFI/Linux/skerry-a.efi", bytes: &[7; 3000] }, EspFile { path: "config.txt", bytes: b"x" }];
        let mut bytes = build(36 << 20, 1, &files).expect("built");
        let number = |at: usize, length: usize| {
            bytes[at..at + length].iter().rev().fold(0, |number, byte| (number << 8) | u32::from(*byte))
        };
        let data = number(14, 2) + number(16, 1) * number(36, 4);
        let sectors = data + CLUSTERS * number(13, 1);
        bytes[32..36].copy_from_slice(&sectors.to_le_bytes());
        bytes.truncate(sectors as usize * 512);
        let file = tempfile::tempfile().expect("temp file");
        file.write_all_at(&bytes, 0).expect("written");
        (file, bytes)
    }

    #[test]
    fn a_damaged_file_system_is_an_error_or_read_and_never_a_defect() {
        let (file, whole) = small();
        let look = || read(Window::new(&file, 0, whole.len() as u64));
        assert_eq!(look().expect("whole").len(), 2);
        let (table, data) = (usize::from(whole[14]) * 512, whole.len() - 64 * usize::from(whole[13]) * 512);
        let (mut errors, mut others) = (0, 0);
        for at in (0..96).chain(table..table + 128).chain(data..data + 8 * 512) {
            for value in [0, 1, 0x10, 0x7f, 0xff, !whole[at]] {
                file.write_all_at(&[value], at as u64).expect("written");
                match look() {
                    Ok(files) => {
                        others += 1;
                        assert!(files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= 64 * 4096, "byte {at}: {value}");
                    }
                    Err(error) => {
                        errors += 1;
                        assert!(matches!(error, EspError::Read { .. }), "byte {at}: {error}");
                    }
                }
            }
            file.write_all_at(&whole[at..=at], at as u64).expect("written");
        }
        assert!(errors > 500 && others > 500, "{errors} {others}");
    }

    #[test]
    fn a_file_system_that_goes_in_circles_or_is_cut_short_says_which_file() {
        let (file, whole) = small();
        let table = usize::from(whole[14]) * 512;
        let entry = |cluster: usize| table + 4 * cluster;
        let first = (2..64)
            .find(|cluster| whole[entry(*cluster)..][..4] == (*cluster as u32 + 1).to_le_bytes())
            .expect("a file of several");
        for (entry_of, value, part) in
            [(first + 1, first as u32, "clusters in common"), (first, 0x0fff_ffff, "is cut short"), (first, 99, "leads nowhere")]
        {
            file.write_all_at(&whole, 0).expect("written");
            file.write_all_at(&value.to_le_bytes(), entry(entry_of) as u64).expect("written");
            let text = read(Window::new(&file, 0, whole.len() as u64)).expect_err(part).to_string();
            assert!(text.starts_with("cannot read the ESP: EFI/Linux/skerry-a.efi: ") && text.contains(part), "{text}");
        }
        // The root folder leads back to itself.
        file.write_all_at(&whole, 0).expect("written");
        file.write_all_at(&2_u32.to_le_bytes(), entry(2) as u64).expect("written");
        let error = read(Window::new(&file, 0, whole.len() as u64)).expect_err("a circle").to_string();
        assert!(error.contains("clusters in common"), "{error}");
    }
}
