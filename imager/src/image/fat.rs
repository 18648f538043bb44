//! A FAT32 file system, looked into. Every number is checked before it is used; what leads nowhere, in circles, or to more than there is, is refused.
//!
//! Places and names are those of Microsoft's FAT specification. Nothing is written here.

mod folder;

use std::fs::File;
use std::os::unix::fs::FileExt;

use folder::Content;
use machine_config::disk::SECTOR_BYTES;
use machine_config::ram_form::Extent;

/// Ends a chain of clusters, as it is written.
pub(crate) const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// What has this much or more in an allocation table ends a chain.
pub(crate) const LEAST_END: u32 = 0x0fff_fff8;
/// The first cluster there is.
pub(crate) const ROOT: u32 = 2;
/// The attribute of a folder.
pub(crate) const FOLDER: u8 = 0x10;
/// The attribute of a volume's label.
pub(crate) const VOLUME: u8 = 0x08;
/// Bytes of an entry in a folder.
pub(crate) const ENTRY_BYTES: usize = 32;
/// The upper bits of an entry in an allocation table are not part of it.
const ENTRY_MASK: u32 = END_OF_CHAIN;
/// Entries of an allocation table read at once.
const READ_ENTRIES: u64 = 1 << 16;
/// Clusters of a file system that is read whole: more than any boot partition has.
const MOST_CLUSTERS: u64 = 1 << 24;
/// Ours have some dozens of files and folders.
const MOST_ENTRIES: usize = 1000;

/// What was found, or what is wrong.
pub(crate) type Checked<T> = Result<T, &'static str>;

/// A file system that was looked at.
pub(crate) struct Fat<'a> {
    pub(crate) file: &'a File,
    pub(crate) offset: u64,
    table_at: u64,
    pub(crate) data_at: u64,
    /// Bytes of a cluster.
    pub(crate) cluster: u64,
    /// How many there are.
    pub(crate) clusters: u64,
    /// Where the root folder begins.
    pub(crate) root: u32,
}

/// A number of so many bytes, the least one first.
pub(crate) fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

impl<'a> Fat<'a> {
    /// The file system that lies in this part of a file.
    pub(crate) fn open(file: &'a File, fat: Extent) -> Checked<Self> {
        let mut sector = [0; SECTOR_BYTES as usize];
        file.read_exact_at(&mut sector, fat.offset).map_err(|_| "it is cut short")?;
        let (reserved, tables, table_sectors) = (number(&sector, 14, 2), number(&sector, 16, 1), number(&sector, 36, 4));
        let (per_cluster, sectors) = (number(&sector, 13, 1), number(&sector, 32, 4));
        let data = reserved + tables * table_sectors;
        let usual = sector[510..] == [0x55, 0xaa] && number(&sector, 11, 2) == SECTOR_BYTES && number(&sector, 22, 2) == 0;
        let whole = reserved > 0 && tables > 0 && data < sectors && sectors * SECTOR_BYTES <= fat.bytes;
        if !usual || !whole || !per_cluster.is_power_of_two() {
            return Err("its FAT file system is damaged");
        }
        let clusters = ((sectors - data) / per_cluster).min((table_sectors * SECTOR_BYTES / 4).saturating_sub(u64::from(ROOT)));
        Ok(Self {
            file,
            offset: fat.offset,
            table_at: fat.offset + reserved * SECTOR_BYTES,
            data_at: data * SECTOR_BYTES,
            cluster: per_cluster * SECTOR_BYTES,
            clusters,
            root: number(&sector, 44, 4) as u32,
        })
    }

    /// Where a cluster lies in the file; none: there is no such cluster.
    pub(crate) fn place(&self, cluster: u32) -> Option<u64> {
        let nth = u64::from(cluster.checked_sub(ROOT)?);
        (nth < self.clusters).then(|| self.offset + self.data_at + nth * self.cluster)
    }

    /// The first `count` entries of the allocation table from `first` on, or as many as are read at once.
    pub(crate) fn entries(&self, first: u64, count: u64) -> Checked<Vec<u32>> {
        let mut table = vec![0; READ_ENTRIES.min(count) as usize * 4];
        self.file.read_exact_at(&mut table, self.table_at + first * 4).map_err(|_| "it is cut short")?;
        Ok(table.chunks(4).map(|entry| number(entry, 0, 4) as u32 & ENTRY_MASK).collect())
    }

    /// The whole allocation table, by the number of the cluster.
    fn table(&self) -> Checked<Vec<u32>> {
        let end = self.clusters + u64::from(ROOT);
        if end > MOST_CLUSTERS {
            return Err("it is larger than any boot partition");
        }
        let mut table = Vec::new();
        while (table.len() as u64) < end {
            table.extend(self.entries(table.len() as u64, end - table.len() as u64)?);
        }
        Ok(table)
    }

    /// Every file, path and content, sorted by path.
    pub(super) fn files(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut walk = Walk { fat: self, table: self.table()? };
        let (mut files, mut folders, mut entries) = (Vec::new(), vec![(String::new(), self.root)], 0);
        while let Some((parent, first)) = folders.pop() {
            let named = |why: &str| if parent.is_empty() { why.to_owned() } else { format!("{parent}: {why}") };
            let content = walk.chain(first, None).map_err(named)?;
            for entry in folder::entries(&content).map_err(named)? {
                entries += 1;
                if entries > MOST_ENTRIES {
                    return Err(format!("it has more than {MOST_ENTRIES} entries"));
                }
                let path = if parent.is_empty() { entry.name } else { format!("{parent}/{}", entry.name) };
                match entry.content {
                    Content::Folder => folders.push((path, entry.first)),
                    Content::File(bytes) => {
                        let content = walk.chain(entry.first, Some(bytes)).map_err(|why| format!("{path}: {why}"))?;
                        files.push((path, content));
                    }
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

/// The way through all files. Each cluster is part of one of them at most, so no way goes in circles.
struct Walk<'a> {
    fat: &'a Fat<'a>,
    /// What follows each cluster; [`TAKEN`] where that was read.
    table: Vec<u32>,
}

/// No chain leads to a cluster of this number.
const TAKEN: u32 = 1;

impl Walk<'_> {
    /// What lies in the clusters from `first` on: so many bytes, or all to the chain's end.
    fn chain(&mut self, first: u32, bytes: Option<u64>) -> Checked<Vec<u8>> {
        let (mut content, mut cluster) = (Vec::new(), first);
        while cluster < LEAST_END && bytes.is_none_or(|bytes| (content.len() as u64) < bytes) {
            let place = self.fat.place(cluster).ok_or("it leads nowhere")?;
            cluster = std::mem::replace(&mut self.table[cluster as usize], TAKEN);
            if cluster == TAKEN {
                return Err("it has clusters in common with another file or folder, or with itself");
            }
            let start = content.len();
            content.resize(start + self.fat.cluster as usize, 0);
            self.fat.file.read_exact_at(&mut content[start..], place).map_err(|_| "it is cut short")?;
        }
        if bytes.is_some_and(|bytes| (content.len() as u64) < bytes) {
            return Err("it is cut short");
        }
        content.truncate(bytes.map_or(content.len(), |bytes| bytes as usize));
        Ok(content)
    }
}
