//! Memory, from /proc/meminfo.

use api::v1::Memory;

use super::source::field;

/// Reads the four figures; a missing one is 0.
pub(super) fn parse(meminfo: &str) -> Memory {
    let bytes = |key: &str| {
        let value = field(meminfo, key, ':').and_then(|value| value.strip_suffix(" kB")).and_then(|kib| kib.trim().parse().ok());
        value.map_or(0, |kib: u64| kib.saturating_mul(1024))
    };
    Memory {
        total_bytes: bytes("MemTotal"),
        available_bytes: bytes("MemAvailable"),
        free_bytes: bytes("MemFree"),
        cached_bytes: bytes("Cached"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_in_kibibytes() {
        let text = "MemTotal:        2018000 kB\nMemFree:          100 kB\nMemAvailable:    1500000 kB\nCached:  7 kB\nSwapCached: 9 kB\n";
        let memory = parse(text);
        assert_eq!((memory.total_bytes, memory.free_bytes), (2_066_432_000, 102_400));
        assert_eq!((memory.available_bytes, memory.cached_bytes), (1_536_000_000, 7168));
        assert_eq!(parse("MemTotal: many kB"), Memory::default());
    }
}
