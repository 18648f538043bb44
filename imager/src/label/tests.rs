//! Labels as others see them: rasterised by other people's renderers, their codes read by another's reader, their texts by another's parser.

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::content::Label;
use super::layout::{sheets, singles};
use super::page::Page;
use super::{font, pdf, svg};
use crate::flash::record::Device;
use crate::flash::record::testing::device;
use crate::oracle::ask;

/// What could break out of a file's syntax, in every field that takes it.
fn awkward() -> Device {
    let serial = Some("A)(\\<&>\"'é\u{202e}箱".to_owned());
    Device { serial, board: "b(o\\a)r<d>&".into(), hub: Some("https://hub.example:8443/".into()), ..device("box-1") }
}

fn pages(devices: &[Device]) -> Vec<Page> {
    let labels: Vec<Label> = devices.iter().map(Label::from).collect();
    singles(&labels, "62x29mm".parse().expect("a size")).expect("fits")
}

/// The codes on a page of a PDF with so many labels side by side and one below the other, as an independent reader reads them from an independent
/// renderer's picture.
fn codes(file: &Path, columns: usize, rows: usize) -> Option<Vec<String>> {
    let output = ask(Command::new("pdftoppm").args(["-gray", "-r", "300"]).arg(file))?;
    assert!(output.status.success(), "{output:?}");
    let (width, height, gray) = picture(&output.stdout);
    let (wide, high) = (width / columns, height / rows);
    let code = |index: usize| {
        let (left, top) = (index % columns * wide, index / columns * high);
        let dot = |x, y| gray[(top + y) * width + left + x];
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(wide, high, dot);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "label {index}");
        grids[0].decode().expect("read").1
    };
    Some((0..columns * rows).map(code).collect())
}

/// A picture in the form P5: a header of four words, then one byte per dot.
fn picture(bytes: &[u8]) -> (usize, usize, &[u8]) {
    let mut rest = bytes;
    let mut word = || {
        let end = rest.iter().position(u8::is_ascii_whitespace).expect("a header");
        let word = std::str::from_utf8(&rest[..end]).expect("text").to_owned();
        rest = &rest[end + 1..];
        word
    };
    assert_eq!(word(), "P5");
    let (width, height) = (word().parse().expect("a width"), word().parse().expect("a height"));
    assert_eq!(word(), "255");
    (width, height, rest)
}

#[test]
fn the_code_of_a_printed_pdf_says_the_address_and_its_texts_are_whole() {
    let folder = tempfile::tempdir().expect("temp folder");
    let file = folder.path().join("label.pdf");
    std::fs::write(&file, pdf::render(&pages(&[awkward()]))).expect("written");
    let Some(found) = codes(&file, 1, 1) else { return };
    assert_eq!(found, ["https://hub.example:8443/claim/serial/A%29%28%5C%3C%26%3E%22%27%C3%A9%E2%80%AE%E7%AE%B1"]);
    let Some(output) = ask(Command::new("pdftotext").arg("-layout").arg(&file).arg("-")) else { return };
    let text = String::from_utf8(output.stdout).expect("text");
    for part in ["box-1", "serial A)(\\<&>\"'é\\u{202e}\\u{7bb1}", "b(o\\a)r<d>&", "fleet acme", "hub.example:8443/claim"] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}

#[test]
fn an_svg_prints_as_the_pdf_does() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (file, printed) = (folder.path().join("label.svg"), folder.path().join("label.pdf"));
    std::fs::write(&file, svg::render(&pages(&[awkward()])[0])).expect("written");
    let Some(output) = ask(Command::new("rsvg-convert").args(["-f", "pdf", "-o"]).arg(&printed).arg(&file)) else { return };
    assert!(output.status.success(), "{output:?}");
    let Some(found) = codes(&printed, 1, 1) else { return };
    assert_eq!(found, [Label::from(&awkward()).claim]);
}

#[test]
fn every_code_of_a_full_sheet_can_be_read() {
    let folder = tempfile::tempdir().expect("temp folder");
    let file = folder.path().join("sheet.pdf");
    let labels: Vec<Label> = (0..24).map(|n| Label::from(&device(&format!("box-{n}")))).collect();
    std::fs::write(&file, pdf::render(&sheets(&labels, "3x8".parse().expect("a grid")).expect("fits"))).expect("written");
    let Some(found) = codes(&file, 3, 8) else { return };
    assert_eq!(found, labels.into_iter().map(|label| label.claim).collect::<Vec<_>>());
}

#[test]
fn the_same_labels_have_the_same_bytes() {
    let devices = [awkward(), device("box-2")];
    assert_eq!(pdf::render(&pages(&devices)), pdf::render(&pages(&devices)));
    let digest = |bytes: &[u8]| crate::image::digest::Digest::of(bytes).hex();
    let page = &pages(&[device("box-2")])[0];
    // When these change, so does what is printed.
    assert_eq!(digest(svg::render(page).as_bytes()), "85be246ec719dad44bf63e07a731c4b23386b0cd2db87f5384db8921814d122d");
    let printed = digest(&pdf::render(std::slice::from_ref(page)));
    assert_eq!(printed, "5671516663301e8656ee93c534da917d8c658ad1ab8ec4b470b2d565ccd96bcd");
}

proptest! {
    // Making a code takes its time without optimisation.
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever a firmware calls its serial number, and however long a name is.
    #[test]
    fn any_device_has_a_label_that_is_whole(serial in "\\PC{0,40}|[\\x00-\\x1f<&>()\\\\]{0,40}", name in "[a-z]{1,63}") {
        let device = Device { serial: Some(serial), ..device(&name) };
        let page = &pages(std::slice::from_ref(&device))[0];
        for text in &page.texts {
            prop_assert!(text.x.0 + font::width(&text.text, text.size).0 <= page.size.width.0, "{}", text.text);
        }
        let text = svg::render(page);
        prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
        prop_assert_eq!(text.matches('<').count(), text.matches('>').count());
        prop_assert!(pdf::render(std::slice::from_ref(page)).starts_with(b"%PDF-"));
    }
}

#[test]
fn an_svg_keeps_its_form_whatever_a_device_is_called() {
    let text = svg::render(&pages(&[awkward()])[0]);
    assert!(text.contains("serial A)(\\&lt;&amp;&gt;\"'é\\u{202e}\\u{7bb1}</text>"), "{text}");
    assert!(text.contains("width=\"62mm\" height=\"29mm\" viewBox=\"0 0 62000 29000\""), "{text}");
}
