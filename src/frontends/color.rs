//! What a terminal can show: colour, Unicode, live lines and its width; asked once, passed down as a value.

use crate::frontends::width::terminal_size;
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// The answer to `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// Colour on a terminal, unless `NO_COLOR` is set or the terminal is dumb.
    #[default]
    Auto,
    Always,
    Never,
}

/// How a stream is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns to stay within.
    pub width: usize,
    /// Rows of the terminal.
    pub height: usize,
    /// ANSI colours may be used.
    pub color: bool,
    /// Rules, braille and ellipses may be used; else ASCII.
    pub unicode: bool,
    /// A line may be redrawn in place: progress bars.
    pub live: bool,
}

impl Look {
    /// A file or a pipe: no colour, nothing live, 80 columns.
    pub const PLAIN: Look = Look { width: 80, height: 24, color: false, unicode: true, live: false };

    /// What the stream and the environment allow.
    pub fn detect(stream: &(impl IsTerminal + AsFd), choice: ColorChoice) -> Look {
        let variable = |name: &str| std::env::var(name).ok();
        Look::decide(choice, stream.is_terminal(), terminal_size(stream), &variable)
    }

    fn decide(
        choice: ColorChoice,
        terminal: bool,
        size: Option<(usize, usize)>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Look {
        let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        let dumb = variable("TERM").is_some_and(|value| value == "dumb");
        let color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !dumb && !set("NO_COLOR"),
        };
        let columns = || variable("COLUMNS").and_then(|text| text.parse().ok());
        let width = size.map(|(columns, _)| columns).or_else(columns).unwrap_or(80).clamp(40, 200);
        let height = size.map_or(24, |(_, rows)| rows);
        Look { width, height, color, unicode: !dumb, live: terminal && !dumb }
    }

    /// Said more quietly.
    pub fn faint(&self, text: &str) -> String {
        self.painted(text, "2")
    }

    /// A title.
    pub fn bold(&self, text: &str) -> String {
        self.painted(text, "1")
    }

    /// In a shade of the terminal's own, by its ANSI code; an empty code is the plain one.
    pub fn painted(&self, text: &str, code: &str) -> String {
        if self.color && !text.is_empty() && !code.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(choice: ColorChoice, terminal: bool, variables: &[(&str, &str)]) -> Look {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string())
        };
        Look::decide(choice, terminal, terminal.then_some((100, 30)), &variable)
    }

    #[test]
    fn a_terminal_gets_colour_and_a_pipe_does_not() {
        assert!(decide(ColorChoice::Auto, true, &[("TERM", "xterm")]).color);
        assert!(!decide(ColorChoice::Auto, false, &[("TERM", "xterm")]).color);
        assert!(decide(ColorChoice::Always, false, &[]).color);
        assert!(!decide(ColorChoice::Never, true, &[]).color);
    }

    #[test]
    fn no_color_and_dumb_terminals_are_respected() {
        assert!(!decide(ColorChoice::Auto, true, &[("NO_COLOR", "1")]).color);
        assert!(decide(ColorChoice::Auto, true, &[("NO_COLOR", "")]).color);
        let dumb = decide(ColorChoice::Auto, true, &[("TERM", "dumb")]);
        assert_eq!((dumb.color, dumb.unicode, dumb.live), (false, false, false));
    }

    #[test]
    fn the_width_is_the_terminal_s_or_what_columns_says_or_80() {
        assert_eq!(decide(ColorChoice::Auto, true, &[]).width, 100);
        assert_eq!(decide(ColorChoice::Auto, false, &[("COLUMNS", "120")]).width, 120);
        assert_eq!(decide(ColorChoice::Auto, false, &[("COLUMNS", "wide")]).width, 80);
    }
}
