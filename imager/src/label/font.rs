//! How wide Helvetica is, which every PDF reader brings and whose widths Arial and Liberation Sans share. One table for the plain and the bold face,
//! never narrower than either, so that what fits by it fits on paper.

use super::size::Length;

/// Stands for what was left out of a text.
pub const ELLIPSIS: char = '…';
/// Widths are in thousandths of the font's size.
const UNITS: i64 = 1000;

/// From the space to the tilde, the wider of Helvetica and Helvetica-Bold (Adobe's font metrics, Core 14).
const WIDTHS: [u16; 95] = [
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, // space to /
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611, // 0 to ?
    1015, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833, 722, 778, // @ to O
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, // P to _
    333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, // ` to o
    611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584, // p to ~
];

fn units(c: char) -> i64 {
    let index = u32::from(c).checked_sub(u32::from(' ')).and_then(|index| usize::try_from(index).ok());
    index.and_then(|index| WIDTHS.get(index)).map_or(UNITS, |width| i64::from(*width))
}

/// How wide a text is in a font of this size.
pub fn width(text: &str, size: Length) -> Length {
    Length(text.chars().map(units).sum::<i64>() * size.0 / UNITS)
}

/// The text in the largest size up to `largest` that fits into `room`, not below `smallest`: then the middle is left out, because names of one fleet
/// differ at their ends.
pub fn fit(text: &str, room: Length, largest: Length, smallest: Length) -> (String, Length) {
    let natural = width(text, largest).0.max(1);
    let size = Length((largest.0 * room.0 / natural).min(largest.0));
    if size >= smallest {
        return (text.to_owned(), size);
    }
    let chars: Vec<char> = text.chars().collect();
    let shortened = (1..chars.len()).rev().map(|kept| without_middle(&chars, kept));
    let fitting = shortened.into_iter().find(|text| width(text, smallest) <= room);
    (fitting.unwrap_or_else(|| ELLIPSIS.to_string()), smallest)
}

fn without_middle(chars: &[char], kept: usize) -> String {
    let head = kept.div_ceil(2);
    let tail = &chars[chars.len() - (kept - head)..];
    chars[..head].iter().chain([&ELLIPSIS]).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MM: i64 = 1000;

    #[test]
    fn long_texts_shrink_and_then_lose_their_middle() {
        let fit = |text: &str, room: i64| fit(text, Length(room * MM), Length(5 * MM), Length(2 * MM));
        assert_eq!(fit("box-1", 40), ("box-1".into(), Length(5 * MM)));
        let (text, size) = fit("store-0421-a.row-b", 30);
        assert_eq!(text, "store-0421-a.row-b");
        assert!(size < Length(5 * MM) && width(&text, size) <= Length(30 * MM), "{size:?}");
        let long = format!("store-{}-a", "x".repeat(50));
        let (text, size) = fit(&long, 20);
        assert!(text.starts_with("store-x") && text.ends_with("-a") && text.contains('…'), "{text}");
        assert!(size == Length(2 * MM) && width(&text, size) <= Length(20 * MM));
        assert_eq!(fit("WWWW", 0).0, "…");
    }

    #[test]
    fn every_character_has_a_width() {
        assert_eq!(width("Ai~", Length(1000)), Length(722 + 278 + 584));
        assert_eq!(width("é…", Length(1000)), Length(2000));
    }
}
