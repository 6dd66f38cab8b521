//! A text with the fixes of its diagnostics made.

use crate::events::Fix;

/// The text after all fixes that do not touch each other; none when there are none.
pub fn mended<'a>(text: &str, fixes: impl IntoIterator<Item = &'a Fix>) -> Option<String> {
    let mut fixes: Vec<&Fix> = fixes.into_iter().collect();
    fixes.sort_by_key(|fix| (fix.span.start, fix.span.end));
    let mut mended = String::with_capacity(text.len());
    let mut at = 0;
    let mut made = 0;
    for fix in fixes {
        let range = fix.span.range();
        let overlaps = range.start < at || (made > 0 && range.start == at && range.is_empty());
        let Some(between) = text.get(at..range.start).filter(|_| !overlaps && range.end <= text.len()) else {
            continue;
        };
        mended.push_str(between);
        mended.push_str(&fix.replacement);
        at = range.end;
        made += 1;
    }
    mended.push_str(text.get(at..)?);
    (made > 0).then_some(mended)
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
