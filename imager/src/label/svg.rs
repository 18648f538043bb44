//! A page as SVG 1.1: one unit is a micrometre, the size on paper stands in millimetres. No script, no reference to anything outside.

use std::fmt::Write as _;

use super::page::{Drawing, Page, Text, Weight};

/// The fonts that share the widths we count with, then whatever there is.
const FONTS: &str = "Helvetica, Arial, 'Liberation Sans', sans-serif";

/// The file.
pub fn render(page: &Page) -> String {
    let (width, height) = (page.size.width, page.size.height);
    let mut svg = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"{}mm\" height=\"{}mm\" viewBox=\"0 0 {} {}\">\n\
         <rect width=\"{}\" height=\"{}\" fill=\"#fff\"/>\n",
        width.millimetres(),
        height.millimetres(),
        width.0,
        height.0,
        width.0,
        height.0
    );
    page.drawings.iter().for_each(|drawing| svg.push_str(&path(drawing)));
    page.texts.iter().for_each(|text| svg.push_str(&line(text)));
    svg + "</svg>\n"
}

/// One path for the whole code, so that no seams show between its modules.
fn path(drawing: &Drawing) -> String {
    let mut data = String::new();
    for area in drawing.dark() {
        let (width, height) = (area.size.width.0, area.size.height.0);
        write!(data, "M{} {}h{width}v{height}h-{width}z", area.x.0, area.y.0).expect("a text takes everything");
    }
    format!("<path fill=\"#000\" shape-rendering=\"crispEdges\" d=\"{data}\"/>\n")
}

fn line(text: &Text) -> String {
    let weight = match text.weight {
        Weight::Plain => "normal",
        Weight::Bold => "bold",
    };
    let (x, y, size, content) = (text.x.0, text.y.0, text.size.0, escaped(&text.text));
    format!(
        "<text x=\"{x}\" y=\"{y}\" font-family=\"{FONTS}\" font-size=\"{size}\" font-weight=\"{weight}\" xml:space=\"preserve\">{content}</text>\n"
    )
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut done, c| {
        match c {
            '&' => done.push_str("&amp;"),
            '<' => done.push_str("&lt;"),
            '>' => done.push_str("&gt;"),
            other => done.push(other),
        }
        done
    })
}
