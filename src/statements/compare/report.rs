//! A comparison as one HTML page that needs nothing beside it: style and pictures are in it, scripts are none. It holds no
//! time, so that the same numbers write the same page.

use crate::evaluate::comparison::{Change, changes};
use crate::events::Diagnostic;
use crate::language::codes;
use crate::plot::style::Style;
use crate::plot::svg::svg;
use crate::session::curves::{View, curves};
use crate::session::record::{Record, script};
use crate::session::run::Run;
use crate::session::{Session, sentence};
use crate::statements::compare::comparison::{Compared, Comparison, Sides};
use crate::statements::compare::differences;
use crate::statements::compare::table::{best, heading, is_share, shown, to_first, value_of};
use crate::units::{counted, grouped};
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// The width of pictures on a screen, and on a telephone.
const WIDTHS: [(&str, u32); 2] = [("wide", 872), ("narrow", 368)];

/// Characters of a prompt that are shown: the end of a long one says most.
const PROMPT: usize = 1200;

pub fn page(comparison: &Comparison, session: &Session) -> Result<String, Diagnostic> {
    let runs: Vec<&Run> =
        comparison.subjects.iter().filter_map(|compared| session.runs.get(&compared.name)).collect();
    let names = comparison.subjects.iter().map(|compared| compared.name.as_str());
    let title = format!("{} on {}", names.collect::<Vec<_>>().join(", "), comparison.data);
    let sections = [
        results(comparison),
        subjects(comparison),
        settings(&runs),
        loss_curves(&runs)?,
        changed(comparison),
        conditions(comparison, &runs),
        experiments(&runs),
    ];
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{}{}\
         <footer>ltune {}</footer>\n</main>\n</body>\n</html>\n",
        lede(comparison),
        sections.concat(),
        env!("CARGO_PKG_VERSION"),
        title = escaped(&title),
    ))
}

fn section(title: &str, body: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{body}</section>\n", escaped(title))
}

fn lede(comparison: &Comparison) -> String {
    let tokens = counted(comparison.first().evaluation.tokens, "supervised token");
    let rows = counted(comparison.rows as u64, "row");
    let mut text = format!("<p class=\"muted\">{rows}, {tokens}</p>\n");
    for line in comparison.in_words().lines() {
        let _ = writeln!(text, "<p>{}</p>", escaped(line));
    }
    text
}

fn results(comparison: &Comparison) -> String {
    let headings: String = comparison
        .metrics
        .iter()
        .map(|metric| format!("<th class=\"number\" scope=\"col\">{}</th>", escaped(&heading(metric))))
        .collect();
    let rows: String = (0..comparison.subjects.len()).map(|index| result(comparison, index)).collect();
    let table = format!(
        "<table class=\"results\">\n<thead><tr><th scope=\"col\">name</th>{headings}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n\
         <p class=\"muted\">Green is the best; the small numbers are the differences to {}.</p>\n",
        escaped(&comparison.first().name)
    );
    section("Results", &table)
}

fn result(comparison: &Comparison, index: usize) -> String {
    let compared = &comparison.subjects[index];
    let cells: String = comparison.metrics.iter().map(|metric| cell(comparison, index, metric)).collect();
    format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escaped(&compared.name))
}

fn cell(comparison: &Comparison, index: usize, metric: &str) -> String {
    let value = value_of(metric, &comparison.subjects[index].evaluation);
    let best = if best(comparison, metric).contains(&index) { " best" } else { "" };
    let bar = match is_share(metric) && value.is_finite() {
        true => format!("<i><b style=\"width:{:.1}%\"></b></i>", 100.0 * value.clamp(0.0, 1.0)),
        false => String::new(),
    };
    let difference = to_first(comparison, index, metric).unwrap_or_default();
    format!(
        "<td class=\"number{best}\" data-label=\"{}\"><span>{}</span><small>{difference}</small>{bar}</td>",
        escaped(&heading(metric)),
        shown(metric, value),
    )
}

/// What stands behind each name.
fn subjects(comparison: &Comparison) -> String {
    let row = |compared: &Compared| {
        let trained = compared.trained.map_or(String::new(), |trained| {
            format!(
                "<br><span class=\"muted\">trains {} parameters; the model has {}</span>",
                grouped(trained),
                grouped(compared.parameters)
            )
        });
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}{trained}</td></tr>\n",
            escaped(&compared.name),
            escaped(&compared.what)
        )
    };
    let rows: String = comparison.subjects.iter().map(row).collect();
    section("What was compared", &format!("<table><tbody>\n{rows}</tbody></table>\n"))
}

/// The settings in which the runs differ, side by side.
fn settings(runs: &[&Run]) -> String {
    if runs.len() < 2 {
        return String::new();
    }
    let found = differences::of_runs(runs);
    if found.is_empty() {
        return section("Settings", "<p>The runs have the same settings.</p>\n");
    }
    let cell = |tag: &str, text: &str| format!("<{tag}>{}</{}>", escaped(text), &tag[..2]);
    let names: String = runs.iter().map(|run| cell("th scope=\"col\"", &run.definition.name)).collect();
    let row = |found: &differences::Difference| {
        let values: String = found.values.iter().map(|value| cell("td", value)).collect();
        format!("<tr>{}{values}</tr>\n", cell("th scope=\"row\"", &found.setting))
    };
    let rows: String = found.iter().map(row).collect();
    let table = format!(
        "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">setting</th>{names}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n"
    );
    section("Settings that differ", &table)
}

/// The losses of those runs that took steps.
fn loss_curves(runs: &[&Run]) -> Result<String, Diagnostic> {
    let records: Vec<(&str, &Record)> =
        runs.iter().map(|run| (run.definition.name.as_str(), &run.record)).collect();
    if records.iter().all(|(_, record)| record.steps.is_empty()) {
        return Ok(String::new());
    }
    let untitled = View { title: Some(String::new()), ..View::default() };
    let figure = curves(&["loss"], &records, &untitled)?;
    let mut pictures = String::new();
    for (class, width) in WIDTHS {
        let picture = svg(&figure, &Style { width, ..Style::default() })
            .map_err(|error| Diagnostic::error(codes::PLOT, sentence(&error)))?;
        let _ =
            writeln!(pictures, "<figure class=\"{class}\" aria-label=\"loss by step\">\n{picture}</figure>");
    }
    Ok(section("Loss while training", &pictures))
}

fn changed(comparison: &Comparison) -> String {
    let others = comparison.subjects[1..].iter();
    let parts: String = others.filter_map(|compared| changed_by(comparison, compared)).collect();
    if parts.is_empty() { String::new() } else { section("Examples that changed side", &parts) }
}

fn changed_by(comparison: &Comparison, compared: &Compared) -> Option<String> {
    let Sides { gained, lost, .. } = comparison.sides(compared)?;
    let first = &comparison.first().name;
    let changes = changes(&comparison.first().verdicts, &compared.verdicts);
    let shown = comparison.examples.min(changes.len());
    if shown == 0 {
        return None;
    }
    let all = if shown < changes.len() {
        format!(", {shown} of {} shown", grouped(changes.len() as u64))
    } else {
        String::new()
    };
    let mut text = format!(
        "<h3>{} against {}: {} gained, {} lost{all}</h3>\n",
        escaped(&compared.name),
        escaped(first),
        grouped(gained),
        grouped(lost)
    );
    for change in &changes[..shown] {
        text.push_str(&example(change, first, &compared.name));
    }
    Some(text)
}

fn example(change: &Change, first: &str, name: &str) -> String {
    let side = if change.is_gain() { "gained" } else { "lost" };
    let verdict = |right: bool| if right { "right" } else { "wrong" };
    let line = |what: &str, class: &str, text: &str| {
        format!("<dt>{}</dt><dd class=\"{class}\">{}</dd>\n", escaped(what), escaped(text))
    };
    format!(
        "<article class=\"{side}\">\n<header><b>{side}</b><code>{}</code></header>\n<dl>\n{}{}{}{}</dl>\n</article>\n",
        escaped(&change.before.place),
        line("prompt", "", &end_of(change.before.prompt.trim(), PROMPT)),
        line("wanted", "", change.before.wanted.trim()),
        line(first, verdict(change.before.right), change.before.given.trim()),
        line(name, verdict(change.after.right), change.after.given.trim()),
    )
}

/// The last characters of a text.
fn end_of(text: &str, longest: usize) -> String {
    let left_out = text.chars().count().saturating_sub(longest);
    if left_out == 0 {
        return text.to_string();
    }
    format!("… {}", text.chars().skip(left_out).collect::<String>())
}

/// What the numbers depend on besides the settings.
fn conditions(comparison: &Comparison, runs: &[&Run]) -> String {
    let mut rows = vec![];
    if let Some(found) = &comparison.conditions {
        rows.extend([
            ("ltune", found.ltune.clone()),
            ("libtorch", found.libtorch.clone()),
            ("device", found.device.clone()),
            ("processor", found.capability.clone()),
            ("threads", found.threads.to_string()),
            ("math mode", found.math.clone()),
        ]);
    }
    let seeds: Vec<String> =
        runs.iter().map(|run| format!("{} {}", run.definition.name, run.trainer.recipe().seed)).collect();
    if !seeds.is_empty() {
        rows.push(("seed", seeds.join(", ")));
    }
    let row = |(what, text): &(&str, String)| {
        format!("<tr><th scope=\"row\">{what}</th><td>{}</td></tr>\n", escaped(text))
    };
    let rows: String = rows.iter().map(row).collect();
    section("Conditions", &format!("<table><tbody>\n{rows}</tbody></table>\n"))
}

/// The definitions of the runs, which define them again.
fn experiments(runs: &[&Run]) -> String {
    let one = |run: &&Run| {
        format!(
            "<details><summary>{}</summary>\n<pre><code>{}</code></pre></details>\n",
            escaped(&run.definition.name),
            escaped(script(&run.definition).trim_end())
        )
    };
    let all: String = runs.iter().map(one).collect();
    if all.is_empty() { String::new() } else { section("The runs as they were defined", &all) }
}

/// Text that no reader takes for markup, within an element or an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_taken_for_markup() {
        assert_eq!(
            escaped("<b onclick='x'>\"a\" & b</b>\u{0}\n"),
            "&lt;b onclick=&#39;x&#39;&gt;&quot;a&quot; &amp; b&lt;/b&gt;\u{fffd}\n"
        );
    }

    #[test]
    fn of_a_long_prompt_the_end_is_shown() {
        assert_eq!(end_of("abc", 3), "abc");
        assert_eq!(end_of("日本の言葉", 2), "… 言葉");
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains("</"));
    }
}
