//! Whether a calling device is one that was expected. Everything that is known of the place must fit, and nobody else may have taken it.

use machine_config::DeviceId;
use machine_config::types::MacAddress;

use crate::model::Expected;

/// How a device was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised<'a> {
    /// The place.
    pub place: &'a Expected,
    /// By its key: the strongest there is. Else by what it says of itself.
    pub by_key: bool,
}

/// What a device is compared by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) id: &'a DeviceId,
    pub(super) serials: &'a [String],
    pub(super) macs: &'a [MacAddress],
    pub(super) board: &'a str,
}

/// The place of this device among `places`: one by key before one by claims, and of those the one that fits in more.
pub(super) fn recognise<'a>(shown: Shown<'_>, places: &'a [Expected]) -> Option<Recognised<'a>> {
    let fitting = places
        .iter()
        .filter(|place| is_free(place, shown.id))
        .filter_map(|place| fits(place, shown).map(|points| (points, place)));
    let (_, place) = fitting.max_by_key(|(points, _)| *points)?;
    Some(Recognised { place, by_key: place.device_id.is_some() })
}

/// A place of this device that another one has taken: two boxes with one serial number, or one that pretends.
pub(super) fn rival<'a>(shown: Shown<'_>, places: &'a [Expected]) -> Option<&'a DeviceId> {
    places
        .iter()
        .filter(|place| fits(place, shown).is_some())
        .find_map(|place| place.taken_by.as_ref().filter(|id| *id != shown.id))
}

fn is_free(place: &Expected, id: &DeviceId) -> bool {
    place.taken_by.as_ref().is_none_or(|taken| taken == id)
}

/// How much of what is known fits; none: something does not, or nothing is known but a name.
fn fits(place: &Expected, shown: Shown<'_>) -> Option<u8> {
    let mut points = 0;
    let mut compare = |known: bool, same: bool, worth: u8| {
        points += if known && same { worth } else { 0 };
        !known || same
    };
    let all = compare(place.device_id.is_some(), place.device_id.as_ref() == Some(shown.id), 4)
        && compare(place.serial.is_some(), place.serial.as_ref().is_some_and(|serial| shown.serials.contains(serial)), 2)
        && compare(place.mac.is_some(), place.mac.as_ref().is_some_and(|mac| shown.macs.contains(mac)), 1)
        && (place.board.is_empty() || shown.board.is_empty() || place.board == shown.board);
    (all && points > 0).then_some(points)
}
