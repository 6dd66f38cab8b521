//! `ltune samples`: the known samples; with names, fetches them.

use crate::events::{Diagnostic, Event, Out, Table};
use crate::files::samples::{self, SAMPLES};
use crate::session::load::sample_path;
use crate::units::{Bytes, grouped};

/// Lists every sample, or fetches the named ones.
pub fn list_or_fetch(names: &[String], out: &mut Out) -> Result<(), Diagnostic> {
    for name in names {
        let path = sample_path(name, out)?;
        out.text(format!("{name}: {}", path.display()));
    }
    if names.is_empty() {
        out.emit(Event::Table(table()));
        out.text("write `from = \"NAME\"` in a `model` or `data`, or fetch now with `ltune samples NAME`");
    }
    Ok(())
}

fn table() -> Table {
    let mut table = Table::new("", &["name", "what", ">rows", ">download", "licence", "here"]);
    for sample in SAMPLES {
        table.row([
            sample.name.to_string(),
            sample.what.to_string(),
            if sample.rows == 0 { "–".to_string() } else { grouped(sample.rows) },
            Bytes(sample.download).to_string(),
            sample.licence.to_string(),
            if samples::cached(sample.name).is_some() { "yes" } else { "no" }.to_string(),
        ]);
    }
    table
}
