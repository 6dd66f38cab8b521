//! A diagnostic as terminal text, drawn under the source it speaks of.

use crate::events::{Diagnostic, Fix, Label, Severity, SourceId, Sources};
use crate::frontends::color::Look;
use crate::frontends::lines::wrapped;
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use std::ops::Range;

/// The whole diagnostic, without the last newline.
pub fn diagnostic(diagnostic: &Diagnostic, sources: &Sources, look: &Look) -> String {
    let narrow;
    let diagnostic = match look.live {
        true => {
            narrow = narrowed(diagnostic, look.width);
            &narrow
        }
        false => diagnostic,
    };
    let renderer = if look.color { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
    let decor = if look.unicode { DecorStyle::Unicode } else { DecorStyle::Ascii };
    renderer
        .term_width(look.width)
        .decor_style(decor)
        .render(&groups(diagnostic, sources))
        .trim_end()
        .to_string()
}

/// The same in lines that a person's terminal need not break.
fn narrowed(diagnostic: &Diagnostic, width: usize) -> Diagnostic {
    // Before the words stand `error[L0101]: `, `  ╰ note: ` and `help: `.
    let within = |text: &str, before: usize| {
        let lines = wrapped(text, width.saturating_sub(before));
        lines.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")
    };
    let mut narrowed = diagnostic.clone();
    narrowed.message = within(&diagnostic.message, 15);
    narrowed.notes.iter_mut().for_each(|note| *note = within(note, 12));
    narrowed.fixes.iter_mut().for_each(|fix| fix.title = within(&fix.title, 7));
    narrowed
}

/// What happened and where, then each fix as the change it makes.
fn groups<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Vec<Group<'a>> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut title = level.primary_title(diagnostic.message.as_str());
    if !diagnostic.code.is_empty() {
        title = title.id(diagnostic.code);
    }
    let mut main = Group::with_title(title);
    for source in mentioned(&diagnostic.labels) {
        main = main.element(snippet(source, diagnostic, sources));
    }
    for note in &diagnostic.notes {
        main = main.element(Level::NOTE.message(note.as_str()));
    }
    let fixes = diagnostic.fixes.iter().map(|fix| change(fix, sources));
    std::iter::once(main).chain(fixes).collect()
}

/// The sources of the labels, each once, that of the main place first.
fn mentioned(labels: &[Label]) -> Vec<SourceId> {
    let mut sources = vec![];
    for label in labels {
        if !sources.contains(&label.span.source) {
            sources.push(label.span.source);
        }
    }
    sources
}

fn snippet<'a>(
    source: SourceId,
    diagnostic: &'a Diagnostic,
    sources: &'a Sources,
) -> Snippet<'a, Annotation<'a>> {
    let shown = sources.get(source);
    let labels = diagnostic.labels.iter().enumerate().filter(|(_, label)| label.span.source == source);
    let annotations = labels.map(|(index, label)| {
        let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let annotation = kind.span(visible(&shown.text, label.span.range()));
        if label.text.is_empty() { annotation } else { annotation.label(label.text.as_str()) }
    });
    Snippet::source(shown.text.as_ref()).path(shown.name.as_str()).annotations(annotations)
}

fn change<'a>(fix: &'a Fix, sources: &'a Sources) -> Group<'a> {
    let shown = sources.get(fix.span.source);
    let patch = Patch::new(within(&shown.text, fix.span.range()), fix.replacement.as_str());
    let group = Group::with_title(Level::HELP.secondary_title(fix.title.as_str()));
    group.element(Snippet::source(shown.text.as_ref()).path(shown.name.as_str()).patch(patch))
}

/// The range moved onto whole characters of the text.
fn within(text: &str, range: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(range.start.min(text.len()));
    let end = text.ceil_char_boundary(range.end.min(text.len())).max(start);
    start..end
}

/// The range without the line end that a statement's span may reach over, which would be drawn on the next line.
fn visible(text: &str, range: Range<usize>) -> Range<usize> {
    let range = within(text, range);
    let kept = text[range.clone()].trim_end_matches(['\n', '\r']);
    range.start..range.start + kept.len()
}

/// The last line of a check: `2 errors, 1 warning`. `None` when there were neither.
pub fn summary(errors: usize, warnings: usize) -> Option<String> {
    let counted = |count: usize, noun: &str| crate::units::counted(count as u64, noun);
    match (errors, warnings) {
        (0, 0) => None,
        (0, warnings) => Some(counted(warnings, "warning")),
        (errors, 0) => Some(counted(errors, "error")),
        (errors, warnings) => Some(format!("{}, {}", counted(errors, "error"), counted(warnings, "warning"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Span;

    fn sources(text: &str) -> (Sources, SourceId) {
        let mut sources = Sources::default();
        let id = sources.add("first.ltune", text);
        (sources, id)
    }

    #[test]
    fn a_diagnostic_shows_its_place_its_notes_and_its_fix() {
        let text = "tune a {\n  model = base\n  epoch = 3\n}\n";
        let (sources, id) = sources(text);
        let found = Diagnostic::error("L0103", "`tune` has no setting `epoch`")
            .label(Span::new(id, 26, 31), "not known")
            .note("`help tune` lists its settings")
            .fix(Span::new(id, 26, 31), "epochs", "did you mean `epochs`?");
        let expected = "error[L0103]: `tune` has no setting `epoch`\n  ╭▸ first.ltune:3:3\n  │\n\
                        3 │   epoch = 3\n  │   ━━━━━ not known\n  │\n\
                        \u{20} ╰ note: `help tune` lists its settings\n\
                        help: did you mean `epochs`?\n  ╭╴\n3 │   epochs = 3\n  ╰╴       +";
        assert_eq!(diagnostic(&found, &sources, &Look::PLAIN), expected);
        let ascii = Look { unicode: false, ..Look::PLAIN };
        assert!(diagnostic(&found, &sources, &ascii).is_ascii());
    }

    #[test]
    fn a_diagnostic_without_a_place_is_one_line() {
        let found = Diagnostic::warning("L0501", "the disk is nearly full");
        let text = diagnostic(&found, &Sources::default(), &Look::PLAIN);
        assert_eq!(text, "warning[L0501]: the disk is nearly full");
    }

    #[test]
    fn spans_outside_the_text_or_inside_a_character_are_drawn() {
        let (sources, id) = sources("é");
        for (start, end) in [(0, 1), (1, 1), (2, 2), (5, 9), (0, 2)] {
            let found = Diagnostic::error("L0001", "odd").at(Span::new(id, start, end));
            assert!(diagnostic(&found, &sources, &Look::PLAIN).starts_with("error[L0001]: odd"));
        }
    }

    #[test]
    fn a_person_reads_whole_words_in_a_narrow_terminal() {
        let found =
            Diagnostic::warning("L0501", "the disk is nearly full and this is a long sentence about it")
                .note("make room, or write what you want to keep to another place")
                .fix(Span::new(SourceId(0), 0, 1), "b", "write `b`");
        let look = Look { width: 40, live: true, ..Look::PLAIN };
        let (sources, _) = sources("a");
        let text = diagnostic(&found, &sources, &look);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("nearly full\n") && text.contains("what you\n"), "{text}");
    }

    #[test]
    fn colour_adds_only_escapes() {
        let (sources, id) = sources("step a\n");
        let found = Diagnostic::error("L0101", "no run `a`").at(Span::new(id, 5, 6));
        let colored = diagnostic(&found, &sources, &Look { color: true, ..Look::PLAIN });
        assert!(colored.contains("\x1b["));
        let mut plain = String::new();
        let mut rest = colored.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            plain.push_str(before);
            rest = after.split_once('m').map_or("", |(_, after)| after);
        }
        plain.push_str(rest);
        assert_eq!(plain, diagnostic(&found, &sources, &Look::PLAIN));
    }

    #[test]
    fn the_summary_counts_both() {
        assert_eq!(summary(0, 0), None);
        assert_eq!(summary(2, 1).as_deref(), Some("2 errors, 1 warning"));
    }
}
