//! The sink of Rust cells: lines leave at once, and what is more than a line is one output when the cell ends.
//!
//! evcxr's cells run in a process of their own, which hands rich output to the kernel between two marks on standard
//! output. Only the last of each kind that a cell prints is shown: so all tables and figures of a cell are printed
//! together, and printed again with what follows when the cell goes on.

use crate::events::{Event, Figure, Sink, Sources};
use crate::frontends::outlet::Outlet;
use crate::frontends::script::{ScriptSink, Volume};
use crate::frontends::{batches, html, tables};
use std::io::Write;

/// Whether this process runs the cells of evcxr.
pub fn is_cell() -> bool {
    std::env::var_os("EVCXR_IS_RUNTIME").is_some()
}

/// What a cell shows.
pub struct EvcxrSink {
    lines: ScriptSink,
    blocks: Vec<Block>,
    /// How many of the blocks have been printed.
    printed: usize,
}

/// Something that is more than a line, in every form that a notebook may want to show.
struct Block {
    text: String,
    html: String,
    /// A figure may also stand alone.
    svg: Option<String>,
}

impl Default for EvcxrSink {
    fn default() -> EvcxrSink {
        let out = Outlet::new(Box::new(std::io::stdout()), html::BESIDE);
        let err = Outlet::new(Box::new(std::io::stderr()), html::BESIDE);
        EvcxrSink { lines: ScriptSink::new(out, err, Volume::Normal), blocks: vec![], printed: 0 }
    }
}

impl EvcxrSink {
    /// Another cell begins, and nothing stands above it.
    pub fn begin_cell(&mut self) {
        self.lines.begin(None);
        self.blocks.clear();
        self.printed = 0;
    }

    /// Prints what is held back, and all blocks of the cell if there are new ones.
    pub fn end(&mut self) {
        self.lines.settle();
        if self.blocks.len() > self.printed {
            self.printed = self.blocks.len();
            // The reader of the output is evcxr; when it has gone, so is the cell.
            let _ = std::io::stdout().lock().write_all(outputs(&self.blocks).as_bytes());
        }
    }

    fn figure(&mut self, figure: &Figure, sources: &Sources) {
        match (html::chart(figure), html::figure(figure)) {
            (Ok(text), Ok(svg)) => {
                self.blocks.push(Block { text, html: format!("<div>{svg}</div>"), svg: Some(svg) });
            }
            (Err(error), _) | (_, Err(error)) => {
                self.lines.accept(&Event::Text { text: error.to_string() }, sources);
            }
        }
    }
}

impl Sink for EvcxrSink {
    fn accept(&mut self, event: &Event, sources: &Sources) {
        match event {
            Event::Table(table) => self.blocks.push(Block {
                text: tables::table(table, &html::BESIDE),
                html: html::table(table),
                svg: None,
            }),
            Event::Batch(batch) => self.blocks.push(Block {
                text: batches::batch(batch, &html::BESIDE),
                html: html::batch(batch),
                svg: None,
            }),
            Event::Figure { path, figure } => {
                if path.is_some() {
                    self.lines.accept(event, sources);
                }
                self.figure(figure, sources);
            }
            other => self.lines.accept(other, sources),
        }
    }
}

/// The blocks of a cell in the marks of evcxr: a single figure as itself, all else as one page; and as text.
fn outputs(blocks: &[Block]) -> String {
    let joined = |part: fn(&Block) -> &str, gap: &str| blocks.iter().map(part).collect::<Vec<_>>().join(gap);
    let text = output("text/plain", &joined(|block| &block.text, "\n\n"));
    match blocks {
        [Block { svg: Some(svg), .. }] => output("image/svg+xml", svg) + &text,
        _ => output("text/html", &joined(|block| &block.html, "\n")) + &text,
    }
}

fn output(mime: &str, content: &str) -> String {
    format!("EVCXR_BEGIN_CONTENT {mime}\n{content}\nEVCXR_END_CONTENT\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Table;

    fn block(text: &str, svg: Option<&str>) -> Block {
        Block { text: text.into(), html: format!("<b>{text}</b>"), svg: svg.map(String::from) }
    }

    #[test]
    fn a_figure_alone_is_a_picture_and_with_others_part_of_a_page() {
        let alone = outputs(&[block("chart", Some("<svg/>"))]);
        assert!(
            alone.starts_with("EVCXR_BEGIN_CONTENT image/svg+xml\n<svg/>\nEVCXR_END_CONTENT\n"),
            "{alone}"
        );
        assert!(alone.ends_with("EVCXR_BEGIN_CONTENT text/plain\nchart\nEVCXR_END_CONTENT\n"), "{alone}");
        let both = outputs(&[block("table", None), block("chart", Some("<svg/>"))]);
        assert!(
            both.contains("text/html\n<b>table</b>\n<b>chart</b>\n") && !both.contains("svg+xml"),
            "{both}"
        );
        assert!(both.contains("text/plain\ntable\n\nchart\n"), "{both}");
    }

    #[test]
    fn what_a_cell_has_shown_is_printed_again_only_with_something_new() {
        let mut sink = EvcxrSink::default();
        sink.accept(&Event::Table(Table::new("one", &["a"])), &Sources::default());
        assert_eq!((sink.blocks.len(), sink.printed), (1, 0));
        sink.printed = 1;
        sink.end();
        sink.accept(&Event::Table(Table::new("two", &["a"])), &Sources::default());
        assert_eq!(sink.blocks.len(), 2);
        sink.begin_cell();
        assert_eq!((sink.blocks.len(), sink.printed), (0, 0));
    }
}
