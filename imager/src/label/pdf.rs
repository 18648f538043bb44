//! Pages as one PDF. Texts are in Helvetica, which every reader brings, so nothing is embedded; no date and no random id enter the file.

use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, Str};

use super::font::ELLIPSIS;
use super::page::{Page, Text, Weight};
use super::size::Length;

const CATALOG: Ref = Ref::new(1);
const TREE: Ref = Ref::new(2);
const PLAIN: (Name<'static>, Ref, Name<'static>) = (Name(b"Plain"), Ref::new(3), Name(b"Helvetica"));
const BOLD: (Name<'static>, Ref, Name<'static>) = (Name(b"Bold"), Ref::new(4), Name(b"Helvetica-Bold"));
/// Each page takes two numbers from here.
const FIRST_PAGE: i32 = 5;
/// Points in an inch.
const POINTS: f64 = 72.0;
/// Micrometres in an inch.
const MICROMETRES: f64 = 25_400.0;
/// The ellipsis in Windows-1252, PDF's WinAnsiEncoding.
const WINDOWS_ELLIPSIS: u8 = 0x85;

/// The file.
pub fn render(pages: &[Page]) -> Vec<u8> {
    let mut pdf = Pdf::new();
    let ids: Vec<(Ref, Ref)> =
        (0..).step_by(2).map(|n| (Ref::new(FIRST_PAGE + n), Ref::new(FIRST_PAGE + n + 1))).take(pages.len()).collect();
    pdf.catalog(CATALOG).pages(TREE);
    let count = i32::try_from(pages.len()).expect("fewer pages than a PDF may have");
    pdf.pages(TREE).kids(ids.iter().map(|(page, _)| *page)).count(count);
    for (_, id, font) in [PLAIN, BOLD] {
        pdf.type1_font(id).base_font(font).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    for (page, (id, content)) in pages.iter().zip(&ids) {
        put_page(&mut pdf, page, *id, *content);
    }
    pdf.finish()
}

fn put_page(pdf: &mut Pdf, page: &Page, id: Ref, content: Ref) {
    let mut entry = pdf.page(id);
    entry.parent(TREE).media_box(Rect::new(0.0, 0.0, points(page.size.width), points(page.size.height))).contents(content);
    let mut resources = entry.resources();
    let mut fonts = resources.fonts();
    for (name, font, _) in [PLAIN, BOLD] {
        fonts.pair(name, font);
    }
    fonts.finish();
    resources.finish();
    entry.finish();
    pdf.stream(content, &drawn(page));
}

/// What is drawn, in PDF's coordinates, which run from the lower left corner.
fn drawn(page: &Page) -> Vec<u8> {
    let mut content = Content::new();
    let from_bottom = |y: i64| points(Length(page.size.height.0 - y));
    for drawing in &page.drawings {
        for area in drawing.dark() {
            let (width, height) = (area.size.width, area.size.height);
            content.rect(points(area.x), from_bottom(area.y.0 + height.0), points(width), points(height));
        }
        content.fill_nonzero();
    }
    for text in &page.texts {
        content.begin_text().set_font(face(text), points(text.size));
        content.next_line(points(text.x), from_bottom(text.y.0)).show(Str(&windows_1252(&text.text))).end_text();
    }
    content.finish().to_vec()
}

fn face(text: &Text) -> Name<'static> {
    match text.weight {
        Weight::Plain => PLAIN.0,
        Weight::Bold => BOLD.0,
    }
}

/// To a thousandth of a point, so that the numbers stay short and the same everywhere.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "lengths on paper are small")]
fn points(length: Length) -> f32 {
    ((length.0 as f64 * POINTS / MICROMETRES * 1000.0).round() / 1000.0) as f32
}

/// Labels hold ASCII, the upper half of Latin-1, which Windows-1252 shares, and the ellipsis.
fn windows_1252(text: &str) -> Vec<u8> {
    let byte = |c: char| match c {
        ELLIPSIS => WINDOWS_ELLIPSIS,
        other => u8::try_from(u32::from(other)).unwrap_or(b'?'),
    };
    text.chars().map(byte).collect()
}
