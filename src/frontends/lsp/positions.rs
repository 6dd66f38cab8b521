//! Places as an editor counts them: lines from zero, and in a line bytes or UTF-16 units, whichever was agreed.

use crate::events::{Lines, Span};
use lsp_types::{Position, PositionEncodingKind, Range, TextEdit};
use std::sync::Arc;

/// What the columns of a place count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    #[default]
    Utf16,
}

impl Encoding {
    /// Bytes where the editor can count them: nothing has to be converted then.
    pub fn agreed(offered: &[PositionEncodingKind]) -> Encoding {
        if offered.contains(&PositionEncodingKind::UTF8) { Encoding::Utf8 } else { Encoding::Utf16 }
    }

    pub fn kind(self) -> PositionEncodingKind {
        match self {
            Encoding::Utf8 => PositionEncodingKind::UTF8,
            Encoding::Utf16 => PositionEncodingKind::UTF16,
        }
    }

    pub fn length(self, text: &str) -> u32 {
        match self {
            Encoding::Utf8 => text.len() as u32,
            Encoding::Utf16 => text.encode_utf16().count() as u32,
        }
    }

    /// The byte of a line at which so many units have passed; its end when it has fewer.
    fn byte(self, line: &str, units: u32) -> usize {
        let units = units as usize;
        match self {
            Encoding::Utf8 => line.floor_char_boundary(units),
            Encoding::Utf16 => {
                let mut passed = 0;
                for (at, letter) in line.char_indices() {
                    passed += letter.len_utf16();
                    if passed > units {
                        return at;
                    }
                }
                line.len()
            }
        }
    }
}

/// A text whose places can be told.
#[derive(Clone, Debug)]
pub struct Text {
    pub text: Arc<str>,
    lines: Lines,
    encoding: Encoding,
}

impl Text {
    pub fn new(text: impl Into<Arc<str>>, encoding: Encoding) -> Text {
        let text = text.into();
        Text { lines: Lines::of(&text), text, encoding }
    }

    pub fn position(&self, at: usize) -> Position {
        let at = self.text.floor_char_boundary(at);
        let line = self.lines.line(at);
        let before = &self.text[self.lines.start(line).unwrap_or(0)..at];
        Position::new(line as u32, self.encoding.length(before))
    }

    pub fn range(&self, range: std::ops::Range<usize>) -> Range {
        Range::new(self.position(range.start), self.position(range.end.max(range.start)))
    }

    pub fn range_of(&self, span: Span) -> Range {
        self.range(span.range())
    }

    /// The byte at a place; behind the end of a line or of the text there is only that end.
    pub fn offset(&self, position: Position) -> usize {
        let line = position.line as usize;
        let Some(start) = self.lines.start(line) else { return self.text.len() };
        let end = self.lines.start(line + 1).unwrap_or(self.text.len());
        let content = self.text[start..end].trim_end_matches(['\n', '\r']);
        start + self.encoding.byte(content, position.character)
    }

    pub fn span(&self, range: Range) -> std::ops::Range<usize> {
        let start = self.offset(range.start);
        start..self.offset(range.end).max(start)
    }

    pub fn edit(&self, range: std::ops::Range<usize>, new_text: impl Into<String>) -> TextEdit {
        TextEdit { range: self.range(range), new_text: new_text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, proptest};

    #[test]
    fn columns_count_utf16_units_or_bytes() {
        let text = "a\u{1F600}é\r\nb\n";
        let at = |encoding, line, column| Text::new(text, encoding).offset(Position::new(line, column));
        assert_eq!(at(Encoding::Utf16, 0, 3), 5);
        assert_eq!(at(Encoding::Utf16, 0, 2), 1, "inside of a pair is before it");
        assert_eq!(at(Encoding::Utf8, 0, 5), 5);
        assert_eq!(at(Encoding::Utf8, 0, 3), 1);
        assert_eq!(at(Encoding::Utf16, 0, 99), 7, "the end of a line is before its newline");
        assert_eq!(at(Encoding::Utf16, 1, 1), 10);
        assert_eq!(at(Encoding::Utf16, 7, 0), text.len());
        assert_eq!(Text::new(text, Encoding::Utf16).position(7), Position::new(0, 4));
        assert_eq!(Text::new(text, Encoding::Utf8).position(7), Position::new(0, 7));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_place_survives_the_way_to_an_editor_and_back(text in any::<String>()) {
            for encoding in [Encoding::Utf8, Encoding::Utf16] {
                let told = Text::new(text.as_str(), encoding);
                for (at, letter) in text.char_indices().filter(|(_, letter)| !"\r\n".contains(*letter)) {
                    assert_eq!(told.offset(told.position(at)), at, "{letter:?}");
                }
            }
        }
    }
}
