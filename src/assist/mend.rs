//! A text with the fixes of its diagnostics made.

use crate::events::Fix;

/// The text after all fixes that do not touch each other; none when there are none.
pub fn mended<'a>(text: &str, fixes: impl IntoIterator<Item = &'a Fix>) -> Option<String> {
    let fixes = side_by_side(text, fixes);
    let mut mended = String::with_capacity(text.len());
    let mut at = 0;
    for fix in &fixes {
        mended.push_str(text.get(at..fix.span.start as usize)?);
        mended.push_str(&fix.replacement);
        at = fix.span.end as usize;
    }
    mended.push_str(text.get(at..)?);
    (!fixes.is_empty()).then_some(mended)
}

/// The fixes that can be made at once, in the order of the text: of those that touch each other, the first.
pub fn side_by_side<'a>(text: &str, fixes: impl IntoIterator<Item = &'a Fix>) -> Vec<&'a Fix> {
    let mut fixes: Vec<&Fix> = fixes.into_iter().collect();
    fixes.sort_by_key(|fix| (fix.span.start, fix.span.end));
    let mut chosen: Vec<&Fix> = vec![];
    for fix in fixes {
        let (range, at) = (fix.span.range(), chosen.last().map_or(0, |last| last.span.end as usize));
        let overlaps = range.start < at || (!chosen.is_empty() && range.start == at && range.is_empty());
        if !overlaps && text.get(range).is_some() {
            chosen.push(fix);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{SourceId, Span};

    fn fix(start: usize, end: usize, replacement: &str) -> Fix {
        Fix {
            span: Span::new(SourceId(0), start, end),
            replacement: replacement.into(),
            title: String::new(),
        }
    }

    #[test]
    fn all_fixes_are_made_at_once() {
        let fixes = [fix(9, 14, "epochs"), fix(0, 4, "tune")];
        assert_eq!(mended("tuen a { epoch = 1 }", &fixes).as_deref(), Some("tune a { epochs = 1 }"));
    }

    #[test]
    fn fixes_that_touch_each_other_or_nothing_are_left_out() {
        let fixes = [fix(0, 4, "x"), fix(2, 6, "y"), fix(40, 50, "z")];
        assert_eq!(mended("abcdef", &fixes).as_deref(), Some("xef"));
        assert_eq!(mended("abc", &[]), None);
    }
}
