//! First pass: the document's shape without its types. Refuses what a configuration has no need of, and remembers where each path stands.

use std::collections::HashSet;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::characters;
use super::error::{ParseError, ParseProblem};
use crate::path::{is_child, is_within, join};

/// How deep values may be nested.
pub const MAX_DEPTH: usize = 24;

/// How many keys, list items and values a document may have.
pub const MAX_NODES: usize = 20_000;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

impl Position {
    fn of(span: &Span) -> Self {
        Self { line: span.start.line(), column: span.start.col() + 1 }
    }
}

/// One key or list item.
#[derive(Debug)]
struct Entry {
    path: String,
    position: Position,
    value: Shape,
}

/// What a key's or list item's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Text without quotes, which may be read as a number or a boolean.
    Plain,
    /// Text in quotes or as a block.
    Quoted,
    /// A mapping or list with something in it.
    Collection,
    /// `{}` or `[]`.
    EmptyCollection,
}

/// Where each path of a document stands, in the order of the text.
#[derive(Debug, Default)]
pub(super) struct Outline {
    entries: Vec<Entry>,
}

/// A mapping or list that is being read.
struct Frame {
    path: String,
    /// How many entries there were when it began; the one before is its own.
    begin: usize,
    content: Content,
}

/// How far a mapping or list has been read.
enum Content {
    Mapping { keys: HashSet<String>, pending: Option<String> },
    List { length: usize },
}

/// Reads events one by one; knows where it is.
struct Reader<'a> {
    text: &'a str,
    outline: Outline,
    frames: Vec<Frame>,
    nodes: usize,
    documents: usize,
}

impl Outline {
    /// Reads the shape of a whole text.
    pub(super) fn read(text: &str) -> Result<Self, ParseError> {
        characters::check(text)?;
        let options = granit_parser::options! {
            disallow_directives: true,
            emit_unresolved_aliases: true,
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH,
        };
        let mut parser = Parser::new_from_str_with_options(text, options);
        let mut reader = Reader { text, outline: Self::default(), frames: vec![], nodes: 0, documents: 0 };
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| reader.scan_error(&error))?;
            reader.event(&event, &span).map_err(|problem| reader.error(problem, Position::of(&span)))?;
        }
        if reader.nodes == 0 { Err(ParseError::of_whole(ParseProblem::Empty)) } else { Ok(reader.outline) }
    }

    /// Where a path stands, or else the nearest parent that is written down.
    pub(super) fn nearest(&self, path: &str) -> Option<Position> {
        let parents = self.entries.iter().filter(|entry| is_within(path, &entry.path));
        parents.max_by_key(|entry| entry.path.len()).map(|entry| entry.position)
    }

    /// The path of whatever stands at a position.
    pub(super) fn path_at(&self, position: Position) -> String {
        self.entry_at(position).map(|entry| entry.path.clone()).unwrap_or_default()
    }

    fn entry_at(&self, position: Position) -> Option<&Entry> {
        self.entries.iter().take_while(|entry| entry.position <= position).last()
    }

    /// The mapping or list that the key or item at a position is in, and where that one stands.
    pub(super) fn parent_at(&self, position: Position) -> (String, Position) {
        let top = (String::new(), Position { line: 1, column: 1 });
        let Some(entry) = self.entry_at(position) else { return top };
        let is_parent = |parent: &&Entry| is_child(&entry.path, &parent.path);
        self.entries.iter().rfind(is_parent).map_or(top, |parent| (parent.path.clone(), parent.position))
    }

    /// The mapping that misses a key, when the reader of types, which reports the last key it saw, reported this position: the last
    /// key's mapping; or, of a mapping without any key, that mapping.
    pub(super) fn incomplete_at(&self, position: Position) -> (String, Position) {
        match self.entry_at(position) {
            Some(entry) if entry.value == Shape::EmptyCollection => (entry.path.clone(), entry.position),
            Some(_) | None => self.parent_at(position),
        }
    }

    /// Where the value of a path stands, if it is in quotes.
    pub(super) fn quoted(&self, path: &str) -> Option<Position> {
        let quoted = |entry: &&Entry| entry.value == Shape::Quoted && entry.path == path;
        self.entries.iter().find(quoted).map(|entry| entry.position)
    }
}

impl Reader<'_> {
    fn event(&mut self, event: &Event<'_>, span: &Span) -> Result<(), ParseProblem> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 { Err(ParseProblem::SeveralDocuments) } else { Ok(()) }
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => Err(ParseProblem::Alias),
            Event::Scalar(text, style, anchor, tag) => {
                check_properties(*anchor, tag.as_deref())?;
                self.scalar(text, *style, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                check_properties(*anchor, tag.as_deref())?;
                self.begin(Content::Mapping { keys: HashSet::new(), pending: None }, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_properties(*anchor, tag.as_deref())?;
                self.begin(Content::List { length: 0 }, span)
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.end();
                Ok(())
            }
            // Stream marks, document ends and comments say nothing about the shape; events of later scanner versions
            // are about presentation too, and the second pass reads the same text.
            _ => Ok(()),
        }
    }

    /// A key or a value that is one text.
    fn scalar(&mut self, text: &str, style: ScalarStyle, span: &Span) -> Result<(), ParseProblem> {
        self.count()?;
        let plain = style == ScalarStyle::Plain;
        if let Some(Frame { path, content: Content::Mapping { keys, pending: pending @ None }, .. }) = self.frames.last_mut() {
            if plain && text == "<<" {
                return Err(ParseProblem::MergeKey);
            }
            if !keys.insert(text.to_owned()) {
                return Err(ParseProblem::DuplicateKey { key: text.to_owned() });
            }
            let path = join(path, text);
            self.outline.entries.push(Entry { path: path.clone(), position: Position::of(span), value: Shape::Plain });
            *pending = Some(path);
            return Ok(());
        }
        let path = self.value(span, if plain { Shape::Plain } else { Shape::Quoted });
        if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Err(ParseProblem::NoValue {
                what: if path.is_empty() { "the document".into() } else { format!("`{path}`") },
            });
        }
        Ok(())
    }

    /// A mapping or list begins.
    fn begin(&mut self, content: Content, span: &Span) -> Result<(), ParseProblem> {
        self.count()?;
        if self.frames.len() == MAX_DEPTH {
            return Err(ParseProblem::TooDeep);
        }
        if let Some(Frame { content: Content::Mapping { pending: None, .. }, .. }) = self.frames.last() {
            return Err(ParseProblem::KeyNotText);
        }
        let path = self.value(span, Shape::Collection);
        self.frames.push(Frame { path, begin: self.outline.entries.len(), content });
        Ok(())
    }

    /// A mapping or list ends.
    fn end(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        if frame.begin == self.outline.entries.len()
            && let Some(own) = self.outline.entries.last_mut()
        {
            own.value = Shape::EmptyCollection;
        }
    }

    /// The path of a value that begins here; it fills the pending key, or lengthens the list.
    fn value(&mut self, span: &Span, shape: Shape) -> String {
        match self.frames.last_mut() {
            None => String::new(),
            Some(Frame { content: Content::Mapping { pending, .. }, .. }) => {
                self.outline.entries.last_mut().expect("its key came before").value = shape;
                pending.take().expect("a value follows its key")
            }
            Some(Frame { path, content: Content::List { length }, .. }) => {
                let path = format!("{path}[{length}]");
                *length += 1;
                self.outline.entries.push(Entry { path: path.clone(), position: Position::of(span), value: shape });
                path
            }
        }
    }

    fn count(&mut self) -> Result<(), ParseProblem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES { Err(ParseProblem::TooManyValues) } else { Ok(()) }
    }

    fn error(&self, problem: ParseProblem, position: Position) -> ParseError {
        // A missing value has no place of its own: point at the key it is missing from.
        let last_key = self.outline.entries.last().map(|entry| entry.position);
        let missing = matches!(problem, ParseProblem::NoValue { .. });
        let position = if missing { last_key.unwrap_or(position) } else { position };
        ParseError::new(problem, position, self.path(), self.text)
    }

    /// The path of the collection being read.
    fn path(&self) -> String {
        self.frames.last().map(|frame| frame.path.clone()).unwrap_or_default()
    }

    fn scan_error(&self, error: &ScanError) -> ParseError {
        let problem = match error.kind() {
            ErrorKind::RecursionLimitExceeded => ParseProblem::TooDeep,
            ErrorKind::DirectiveDisallowed => ParseProblem::Directive,
            ErrorKind::UndeclaredTagHandle => ParseProblem::Tag { tag: "!".into() },
            ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
                ParseProblem::Syntax { message: "a tab stands where YAML wants spaces".into() }
            }
            _ => ParseProblem::Syntax { message: error.info() },
        };
        let mark = error.marker();
        self.error(problem, Position { line: mark.line(), column: mark.col() + 1 })
    }
}

fn check_properties(anchor: usize, tag: Option<&Tag>) -> Result<(), ParseProblem> {
    if anchor != 0 {
        return Err(ParseProblem::Anchor);
    }
    match tag {
        Some(tag) => Err(ParseProblem::Tag { tag: tag.original() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        Outline::read(text).map_or_else(|error| error.code(), |_| "fine")
    }

    #[test]
    fn what_a_configuration_has_no_need_of_is_refused_by_name() {
        let deep_flow = format!("a: {}", "[".repeat(10_000));
        let deep_block: String = (0..MAX_DEPTH + 1).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let many: String = (0..MAX_NODES).map(|n| format!("k{n}: 1\n")).collect();
        let cases = [
            ("a: 1\n", "fine"),
            ("", "empty"),
            ("# only a comment\n", "empty"),
            ("---\n", "no-value"),
            ("a: &x 1\n", "anchor"),
            ("a: &x {b: 1}\n", "anchor"),
            ("a: &x [1]\n", "anchor"),
            ("&x a: 1\n", "anchor"),
            ("a: *x\n", "alias"),
            ("*x : 1\n", "alias"),
            ("<<: {a: 1}\n", "merge-key"),
            ("\"<<\": 1\n", "fine"),
            ("a: !!str 1\n", "tag"),
            ("a: !include x\n", "tag"),
            ("a: !<tag:x> {}\n", "tag"),
            ("a: !e!x 1\n", "tag"),
            ("%YAML 1.2\n---\na: 1\n", "directive"),
            ("a: 1\n---\nb: 1\n", "several-documents"),
            ("a: 1\n...\nb: 1\n", "several-documents"),
            ("a: 1\na: 2\n", "duplicate-key"),
            ("a: 1\n\"a\": 2\n", "duplicate-key"),
            ("{a: 1}: 2\n", "key-not-text"),
            ("? [a]\n: 2\n", "key-not-text"),
            ("a:\n", "no-value"),
            ("a: ~\n", "no-value"),
            ("a: [null]\n", "no-value"),
            ("a: \"\"\n", "fine"),
            ("a: 'null'\n", "fine"),
            ("a: [1\n", "syntax"),
            ("a:\n\tb: 1\n", "syntax"),
            ("a: \"x\n", "syntax"),
            ("\u{feff}a: 1\n", "character"),
            ("a: \0\n", "character"),
            ("a: 1\r\n", "character"),
            ("a: \u{202e}x\n", "character"),
            ("a: \u{85}x\n", "character"),
            (&deep_flow, "too-deep"),
            (&deep_block, "too-deep"),
            (&many, "too-many-values"),
        ];
        for (text, expected) in cases {
            assert_eq!(code(text), expected, "{}", text.chars().take(60).collect::<String>());
        }
    }

    #[test]
    fn every_path_is_found_again() {
        let text = "a: 1\nb:\n  - x: 1\n  - y: 2\n\"c.d\": 3\n";
        let outline = Outline::read(text).expect("well formed");
        let at = |path| outline.nearest(path).map(|position| (position.line, position.column));
        assert_eq!(at("a"), Some((1, 1)));
        assert_eq!(at("b[1].y"), Some((4, 5)));
        assert_eq!(at("b[1].z"), Some((4, 5)));
        assert_eq!(at("[\"c.d\"]"), Some((5, 1)));
        assert_eq!(at("ab"), None);
        assert_eq!(outline.path_at(Position { line: 3, column: 8 }), "b[0].x");
    }

    #[test]
    fn a_missing_value_is_shown_at_its_key() {
        let error = Outline::read("a: 1\nb:\nc: 2\n").expect_err("no value");
        assert_eq!((error.line(), error.column()), (2, 1));
    }
}
