//! Finds out whether a drive has the capacity it claims, where the image alone would not reach far enough to tell.
//!
//! Counterfeit drives claim more than they have: what is written beyond their real end is lost, or lands on what was written before. So before the image
//! is written, a block that says its own address goes to every power of two beyond the image and to the end; they are read back at once (lost writes) and again
//! after the image (writes that landed elsewhere, also the image's own), then cleared. Fakes
//! ignore the upper bits of an address, so every power of two beyond what they have is their first block. What this does not find: a drive that loses
//! or moves only addresses between the probes.

use std::ops::Range;

use super::buffer::ALIGNMENT;
use crate::image::digest::Digest;

/// Bytes of a probe.
pub const PROBE_BYTES: u64 = ALIGNMENT as u64;

/// Where probes go on a drive of `drive` bytes for an image of `image` bytes: ascending, apart, all beyond the image.
pub fn places(image: u64, drive: u64) -> Vec<u64> {
    let last = drive / PROBE_BYTES * PROBE_BYTES;
    let Some(last) = last.checked_sub(PROBE_BYTES) else { return Vec::new() };
    let first = image.next_multiple_of(PROBE_BYTES);
    let powers = (0..u64::BITS).map(|bit| 1 << bit);
    // Three quarters of the way too: sizes of fakes are no powers of two either.
    let mut places: Vec<u64> = powers.flat_map(|power: u64| [power, power / 2 * 3]).collect();
    places.retain(|place| place.is_multiple_of(PROBE_BYTES) && (first..last).contains(place));
    if last >= first {
        places.push(last);
    }
    places.sort_unstable();
    places.dedup();
    places
}

/// What a probe holds: bytes that nothing else has, from the run's own random number and the address.
pub fn pattern(nonce: [u8; 16], place: u64) -> Vec<u8> {
    let seed = Digest::of_parts("skerry flash probe", [&nonce[..], &place.to_le_bytes()]);
    seed.as_bytes().iter().copied().cycle().take(ALIGNMENT).collect()
}

/// The probe at a place, as a range.
pub fn range(place: u64) -> Range<u64> {
    place..place + PROBE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_lie_beyond_the_image_and_reach_the_end() {
        const MIB: u64 = 1 << 20;
        assert_eq!(places(100 * MIB, 100 * MIB), Vec::<u64>::new());
        assert_eq!(places(0, 0), Vec::<u64>::new());
        assert_eq!(places(100 * MIB, 100 * MIB + 4096), [100 * MIB]);
        assert_eq!(places(100 * MIB, 512 * MIB + 512), [128 * MIB, 192 * MIB, 256 * MIB, 384 * MIB, 512 * MIB - 4096]);
        for place in places(7 * MIB, u64::MAX) {
            assert!(place.is_multiple_of(PROBE_BYTES) && place >= 7 * MIB);
        }
    }

    #[test]
    fn each_probe_says_its_own_address_and_run() {
        let one = pattern([1; 16], 4096);
        assert_eq!(one.len(), ALIGNMENT);
        assert_ne!(one, pattern([1; 16], 8192));
        assert_ne!(one, pattern([2; 16], 4096));
    }
}
