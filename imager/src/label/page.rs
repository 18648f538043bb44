//! What is on a page: texts and codes, each at its place. Lengths run from the upper left corner.

use super::qr::Code;
use super::size::{Length, Size};

/// How heavy a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Helvetica.
    Plain,
    /// Helvetica-Bold.
    Bold,
}

/// A line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Where it begins.
    pub x: Length,
    /// Its base line.
    pub y: Length,
    /// The font's size.
    pub size: Length,
    /// How heavy it is.
    pub weight: Weight,
    /// What it says.
    pub text: String,
}

/// A code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    /// Left edge of its first column.
    pub x: Length,
    /// Upper edge of its first row.
    pub y: Length,
    /// Size of a module.
    pub module: Length,
    /// What is drawn.
    pub code: Code,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its size.
    pub size: Size,
    /// Its texts.
    pub texts: Vec<Text>,
    /// Its codes.
    pub drawings: Vec<Drawing>,
}

/// A rectangle to fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Left edge.
    pub x: Length,
    /// Upper edge.
    pub y: Length,
    /// Width and height.
    pub size: Size,
}

impl Drawing {
    /// The dark rectangles of the code.
    pub fn dark(&self) -> impl Iterator<Item = Area> + '_ {
        let at = |begin: Length, modules: usize| Length(begin.0 + self.module.0 * modules as i64);
        self.code.runs.iter().map(move |run| Area {
            x: at(self.x, run.column),
            y: at(self.y, run.row),
            size: Size { width: at(Length(0), run.count), height: self.module },
        })
    }
}
