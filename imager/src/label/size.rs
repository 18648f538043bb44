//! Lengths on paper, in whole micrometres, so that the same label has the same bytes on every machine.

use std::fmt;
use std::str::FromStr;

/// Micrometres in a millimetre.
pub const MILLIMETRE: i64 = 1000;

/// A length in micrometres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(pub i64);

/// Width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// From left to right.
    pub width: Length,
    /// From top to bottom.
    pub height: Length,
}

/// The sheet that every office has.
pub const A4: Size = Size { width: Length(210 * MILLIMETRE), height: Length(297 * MILLIMETRE) };

/// How many labels stand on a sheet of A4, side by side without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Side by side.
    pub columns: u32,
    /// One below the other.
    pub rows: u32,
}

/// A text that is no size, or no grid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct SizeError {
    text: String,
    expected: &'static str,
}

impl Length {
    /// Whole and a fraction of millimetres, as SVG wants them.
    pub fn millimetres(self) -> String {
        let (whole, rest) = (self.0 / MILLIMETRE, self.0 % MILLIMETRE);
        let text = format!("{whole}.{rest:03}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

fn pair(text: &str) -> Option<(&str, &str)> {
    text.split_once('x').filter(|(one, other)| [one, other].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit())))
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let in_bounds = |text: &str| text.parse().ok().filter(|mm: &i64| (10..=500).contains(mm));
        let parsed = pair(text.strip_suffix("mm").unwrap_or(text));
        let parsed = parsed.and_then(|(width, height)| Some((in_bounds(width)?, in_bounds(height)?)));
        let expected = "WIDTHxHEIGHT in whole millimetres between 10 and 500, such as 62x29mm";
        let (width, height) = parsed.ok_or_else(|| SizeError { text: text.to_owned(), expected })?;
        Ok(Self { width: Length(width * MILLIMETRE), height: Length(height * MILLIMETRE) })
    }
}

impl FromStr for Grid {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let in_bounds = |text: &str| text.parse().ok().filter(|count: &u32| (1..=30).contains(count));
        let parsed = pair(text).and_then(|(columns, rows)| Some((in_bounds(columns)?, in_bounds(rows)?)));
        let expected = "COLUMNSxROWS, such as 3x8";
        let (columns, rows) = parsed.ok_or_else(|| SizeError { text: text.to_owned(), expected })?;
        Ok(Self { columns, rows })
    }
}

impl Grid {
    /// The size of one label.
    pub fn cell(self) -> Size {
        let Size { width, height } = A4;
        Size { width: Length(width.0 / i64::from(self.columns)), height: Length(height.0 / i64::from(self.rows)) }
    }

    /// How many there are on a sheet.
    pub fn count(self) -> usize {
        self.columns as usize * self.rows as usize
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}mm", self.width.millimetres(), self.height.millimetres())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_millimetres() {
        for text in ["62x29mm", "62x29"] {
            assert_eq!(text.parse::<Size>().expect("a size").to_string(), "62x29mm");
        }
        for text in ["", "62", "62x", "x29", "62x29cm", "6.2x29", "+62x29", "9x29mm", "62x501mm", "62x29x1", "62 x 29"] {
            let error = text.parse::<Size>().expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn a_grid_divides_a_sheet() {
        let grid: Grid = "3x8".parse().expect("a grid");
        assert_eq!((grid.count(), grid.cell().to_string()), (24, "70x37.125mm".to_owned()));
        for text in ["0x8", "3", "31x1", "3*8"] {
            assert!(text.parse::<Grid>().is_err(), "{text}");
        }
    }
}
