//! Where things stand on a label: the code at the left (above, on a label that is as high as wide), the texts beside it, as large as fits. Pure.

use super::content::Label;
use super::font;
use super::page::{Area, Drawing, Page, Text, Weight};
use super::qr::{Code, CodeError};
use super::size::{A4, Grid, Length, MILLIMETRE, Size};

/// No text comes nearer to the edge.
const MARGIN: Length = Length(3 * MILLIMETRE / 2);
/// A line's height, in tenths of its font's size.
const LINE_TENTHS: i64 = 12;
/// The name's font, in tenths of the other lines'.
const NAME_TENTHS: i64 = 16;
const LARGEST: Length = Length(16 * MILLIMETRE / 5);
const SMALLEST: Length = Length(6 * MILLIMETRE / 5);
/// The code takes at most this part of a label's width, in hundredths.
const CODE_HUNDREDTHS: i64 = 50;

/// Why a label is not printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// There is no code.
    #[error("cannot print the label of {name}")]
    Code {
        /// The device.
        name: String,
        /// Why.
        #[source]
        source: CodeError,
    },
    /// The code could not be read.
    #[error(
        "cannot print the label of {name} on {size}: its code needs {} mm in both directions and half of the label; choose a larger --size", needed.millimetres()
    )]
    Small {
        /// The device.
        name: String,
        /// The label.
        size: Size,
        /// The code's smallest side.
        needed: Length,
    },
}

/// One page per label.
///
/// # Errors
/// See [`LayoutError`].
pub fn singles(labels: &[Label], size: Size) -> Result<Vec<Page>, LayoutError> {
    labels.iter().map(|label| sheet(std::slice::from_ref(label), size, |_| (Length(0), Length(0)), size)).collect()
}

/// Sheets of A4, filled row by row.
///
/// # Errors
/// See [`LayoutError`].
pub fn sheets(labels: &[Label], grid: Grid) -> Result<Vec<Page>, LayoutError> {
    let cell = grid.cell();
    let place = |index: usize| {
        let (row, column) = (index / grid.columns as usize, index % grid.columns as usize);
        (Length(cell.width.0 * column as i64), Length(cell.height.0 * row as i64))
    };
    labels.chunks(grid.count()).map(|labels| sheet(labels, A4, place, cell)).collect()
}

fn sheet(labels: &[Label], size: Size, place: impl Fn(usize) -> (Length, Length), cell: Size) -> Result<Page, LayoutError> {
    let mut page = Page { size, texts: Vec::new(), drawings: Vec::new() };
    for (index, label) in labels.iter().enumerate() {
        let (x, y) = place(index);
        let (texts, drawing) = arrange(label, &Area { x, y, size: cell })?;
        page.texts.extend(texts);
        page.drawings.push(drawing);
    }
    Ok(page)
}

fn arrange(label: &Label, area: &Area) -> Result<(Vec<Text>, Drawing), LayoutError> {
    let name = || label.name.clone();
    let code = Code::of(&label.claim).map_err(|source| LayoutError::Code { name: name(), source })?;
    let (width, height) = (area.size.width.0, area.size.height.0);
    let beside = height * 5 < width * 4;
    let (along, across) = if beside { (width, height) } else { (height, width) };
    let side = Length(across.min(along * CODE_HUNDREDTHS / 100));
    let small = || LayoutError::Small { name: name(), size: area.size, needed: code.smallest_side() };
    let module = code.module(side).ok_or_else(small)?;
    let texts = if beside { beside_of(area, side) } else { below(area, side) };
    let code_size = Size { width: Length(module.0 * code.width as i64), height: Length(module.0 * code.width as i64) };
    let (frame_width, frame_height) = if beside { (side.0, height) } else { (width, side.0) };
    let x = Length(area.x.0 + (frame_width - code_size.width.0) / 2);
    let y = Length(area.y.0 + (frame_height - code_size.height.0) / 2);
    Ok((lines(label, &texts), Drawing { x, y, module, code }))
}

/// The quiet zone of the code keeps the texts away from it; at the other edges there is a margin.
fn beside_of(area: &Area, side: Length) -> Area {
    let size = Size { width: Length(area.size.width.0 - side.0 - MARGIN.0), height: Length(area.size.height.0 - 2 * MARGIN.0) };
    Area { x: Length(area.x.0 + side.0), y: Length(area.y.0 + MARGIN.0), size }
}

fn below(area: &Area, side: Length) -> Area {
    let size = Size { width: Length(area.size.width.0 - 2 * MARGIN.0), height: Length(area.size.height.0 - side.0 - MARGIN.0) };
    Area { x: Length(area.x.0 + MARGIN.0), y: Length(area.y.0 + side.0), size }
}

/// The texts, as one block in the middle of its height.
fn lines(label: &Label, area: &Area) -> Vec<Text> {
    let tenths = NAME_TENTHS + 10 * label.lines.len() as i64;
    let plain = Length((area.size.height.0 * 100 / (tenths * LINE_TENTHS)).min(LARGEST.0));
    let name = Length(plain.0 * NAME_TENTHS / 10);
    let block = tenths * plain.0 * LINE_TENTHS / 100;
    let mut y = area.y.0 + (area.size.height.0 - block) / 2;
    let rows = std::iter::once((&label.name, Weight::Bold, name));
    let rows = rows.chain(label.lines.iter().map(|line| (line, Weight::Plain, plain)));
    let mut texts = Vec::new();
    for (text, weight, largest) in rows {
        let (text, size) = font::fit(text, area.size.width, largest, SMALLEST.min(largest));
        // The base line stands at the font's size below the row's top.
        texts.push(Text { x: area.x, y: Length(y + largest.0), size, weight, text });
        y += largest.0 * LINE_TENTHS / 10;
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::record::testing::device;

    fn inside(page: &Page, text: &Text) -> bool {
        let right = text.x.0 + font::width(&text.text, text.size).0;
        text.x.0 >= 0 && right <= page.size.width.0 && text.y.0 - text.size.0 >= 0 && text.y.0 <= page.size.height.0
    }

    fn apart(text: &Text, drawing: &Drawing) -> bool {
        let end = drawing.module.0 * drawing.code.width as i64;
        text.x.0 >= drawing.x.0 + end || text.y.0 - text.size.0 >= drawing.y.0 + end
    }

    #[test]
    fn everything_stands_on_the_label_and_off_the_code() {
        for size in ["62x29mm", "40x40mm", "30x60mm", "100x50mm", "50x20mm"] {
            for name in ["a", "store-0421-a", &"w".repeat(63)] {
                let label = Label::from(&device(name));
                let pages = singles(&[label], size.parse().expect("a size")).expect("fits");
                let [page] = pages.as_slice() else { panic!("one page") };
                assert!(page.texts.iter().all(|text| inside(page, text) && apart(text, &page.drawings[0])), "{size} {page:?}");
                let ends: Vec<i64> = page.texts.iter().map(|text| text.y.0).collect();
                assert!(ends.is_sorted(), "{ends:?}");
            }
        }
    }

    #[test]
    fn a_label_too_small_for_its_code_is_not_printed() {
        let error = singles(&[Label::from(&device("box"))], "18x10mm".parse().expect("a size")).expect_err("too small");
        let text = error.to_string();
        assert!(text.contains("box on 18x10mm: its code needs 9.25 mm") && text.contains("--size"), "{text}");
    }

    #[test]
    fn a_sheet_is_filled_row_by_row_and_then_the_next() {
        let labels: Vec<Label> = (0..25).map(|n| Label::from(&device(&format!("box-{n}")))).collect();
        let pages = sheets(&labels, "3x8".parse().expect("a grid")).expect("fits");
        assert_eq!(pages.iter().map(|page| page.drawings.len()).collect::<Vec<_>>(), [24, 1]);
        assert_eq!(pages[0].size, A4);
        let place = |index: usize| (pages[0].drawings[index].x.0 / 70_000, pages[0].drawings[index].y.0 / 37_125);
        assert_eq!([0, 1, 2, 3, 23].map(place), [(0, 0), (1, 0), (2, 0), (0, 1), (2, 7)]);
        assert!(pages[0].texts.iter().all(|text| inside(&pages[0], text)));
    }
}
