//! The line editor: rustyline with our keys, our helper and a history that outlives the session.

use crate::files::state;
use crate::frontends::color::Look;
use crate::frontends::repl::assistant::Assistant;
use crate::frontends::repl::keys;
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Behavior, ColorMode, CompletionType, Config, EditMode, Editor, ExternalPrinter};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a person did at the prompt.
pub enum Line {
    /// After so long.
    Entered(String, Duration),
    /// Ctrl-C.
    Cleared,
    /// Ctrl-D, or the terminal is gone.
    End,
}

pub struct LineEditor {
    editor: Editor<Assistant, FileHistory>,
    history: Option<PathBuf>,
    /// Never printed through: while it lives, the editor waits for keys and signals alike, whichever thread is told.
    _printer: Option<Box<dyn ExternalPrinter>>,
}

/// Entries that are remembered.
const REMEMBERED: usize = 10_000;
/// Candidates that are listed without asking.
const LISTED: usize = 100;

impl LineEditor {
    /// Opens the terminal and reads the history; the text says why there is none.
    pub fn open(look: Look) -> rustyline::Result<(LineEditor, Option<String>)> {
        let mut editor = Editor::with_config(configuration(look)?)?;
        let (bindings, closing) = keys::bindings();
        for (key, handler) in bindings {
            editor.bind_sequence(key, handler);
        }
        editor.set_helper(Some(Assistant::new(look, closing)));
        let (history, problem) = match history_file() {
            Ok(path) => (Some(path), None),
            Err(why) => (None, Some(format!("what is entered is not remembered: {why}"))),
        };
        if let Some(path) = &history {
            // The first session has none; what cannot be read is begun anew.
            let _ = editor.load_history(path);
        }
        let printer = editor.create_external_printer().ok();
        let _printer = printer.map(|printer| Box::new(printer) as Box<dyn ExternalPrinter>);
        Ok((LineEditor { editor, history, _printer }, problem))
    }

    /// Waits for a cell.
    pub fn read(&mut self, prompt: &str, initial: &str) -> Line {
        self.assistant(|assistant| assistant.prompt_width = prompt.len());
        let began = Instant::now();
        match self.editor.readline_with_initial(prompt, (initial, "")) {
            Ok(text) => Line::Entered(text, began.elapsed()),
            Err(ReadlineError::Interrupted) => Line::Cleared,
            Err(_) => Line::End,
        }
    }

    /// Remembers a cell, now and for later sessions.
    pub fn remember(&mut self, cell: &str) {
        let cell = cell.trim_end();
        if self.editor.add_history_entry(cell).unwrap_or(false)
            && let Some(path) = &self.history
        {
            // A full disk takes the memory, not the session.
            let _ = self.editor.append_history(path);
        }
    }

    pub fn assistant(&mut self, change: impl FnOnce(&mut Assistant)) {
        if let Some(assistant) = self.editor.helper_mut() {
            change(assistant);
        }
    }

    pub fn set_mode(&mut self, mode: EditMode) {
        self.editor.set_edit_mode(mode);
    }
}

fn configuration(look: Look) -> rustyline::Result<Config> {
    let color = if look.color { ColorMode::Forced } else { ColorMode::Disabled };
    Ok(Config::builder()
        .max_history_size(REMEMBERED)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .completion_prompt_limit(LISTED)
        .color_mode(color)
        .behavior(Behavior::PreferTerm)
        .bracketed_paste(true)
        .indent_size(keys::INDENT as u8)
        .build())
}

/// `history` in the user's folder for state.
fn history_file() -> Result<PathBuf, String> {
    Ok(state::folder()?.join("history"))
}
