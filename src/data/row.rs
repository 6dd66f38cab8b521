//! A row of a data file as a function of one's own sees it. It stands on nothing but the standard library: what compiles
//! `rust { … }` blocks gives this very text to them.

/// The columns of a row by name, in order. What is no text in the file, such as a number or a list of messages, is its
/// JSON, and stays so unless it is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    cells: Vec<(String, Cell)>,
}

/// What a column of a row holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Text(String),
    Json(String),
}

impl Row {
    pub fn new(cells: Vec<(String, Cell)>) -> Row {
        Row { cells }
    }

    /// What a column holds; nothing when it is empty or not there.
    pub fn get(&self, column: &str) -> &str {
        match self.cells.iter().find(|(name, _)| name == column) {
            Some((_, Cell::Text(text))) => text,
            Some((_, Cell::Json(json))) if json != "null" => json,
            _ => "",
        }
    }

    pub fn has(&self, column: &str) -> bool {
        self.cells.iter().any(|(name, _)| name == column)
    }

    /// Writes text into a column, which is added if it is not there.
    pub fn set(&mut self, column: &str, text: impl Into<String>) {
        self.put(column, Cell::Text(text.into()));
    }

    /// Writes a number, a list or messages into a column, as JSON.
    pub fn set_json(&mut self, column: &str, json: impl Into<String>) {
        self.put(column, Cell::Json(json.into()));
    }

    pub fn remove(&mut self, column: &str) {
        self.cells.retain(|(name, _)| name != column);
    }

    /// Gives a column another name; one that had it is gone.
    pub fn rename(&mut self, column: &str, new: &str) {
        if column != new && self.has(column) {
            self.remove(new);
            self.cells
                .iter_mut()
                .filter(|(name, _)| name == column)
                .for_each(|(name, _)| *name = new.to_string());
        }
    }

    /// The names of the columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().map(|(name, _)| name.as_str())
    }

    pub fn cells(&self) -> &[(String, Cell)] {
        &self.cells
    }

    fn put(&mut self, column: &str, cell: Cell) {
        match self.cells.iter_mut().find(|(name, _)| name == column) {
            Some((_, old)) => *old = cell,
            None => self.cells.push((column.to_string(), cell)),
        }
    }

    /// The row as bytes, on its way from one process to another.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        write_number(bytes, self.cells.len() as u64);
        for (name, cell) in &self.cells {
            let (sort, text) = match cell {
                Cell::Text(text) => (0, text),
                Cell::Json(json) => (1, json),
            };
            write_text(bytes, name);
            write_number(bytes, sort);
            write_text(bytes, text);
        }
    }

    /// The row at the beginning of these bytes, which are cut.
    pub fn read(bytes: &mut &[u8]) -> Option<Row> {
        let count = read_number(bytes)?;
        let cell = |bytes: &mut &[u8]| {
            let name = read_text(bytes)?;
            let sort = read_number(bytes)?;
            let text = read_text(bytes)?;
            Some((name, if sort == 0 { Cell::Text(text) } else { Cell::Json(text) }))
        };
        let cells: Option<Vec<(String, Cell)>> = (0..count).map(|_| cell(bytes)).collect();
        Some(Row { cells: cells? })
    }
}

pub fn write_number(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend(number.to_le_bytes());
}

pub fn write_text(bytes: &mut Vec<u8>, text: &str) {
    write_number(bytes, text.len() as u64);
    bytes.extend(text.as_bytes());
}

pub fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}

pub fn read_text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(read_number(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}
