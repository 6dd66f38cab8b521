//! A canvas of characters: lines drawn with the eight dots of braille, or with one mark a cell.

/// How a cell is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dots {
    /// Two by four dots a cell.
    Braille,
    /// One mark a cell, a different one for each series.
    Marks,
}

impl Dots {
    pub fn across(self) -> usize {
        match self {
            Dots::Braille => 2,
            Dots::Marks => 1,
        }
    }

    pub fn down(self) -> usize {
        match self {
            Dots::Braille => 4,
            Dots::Marks => 1,
        }
    }
}

/// One cell: its dots and the series that drew last in it.
#[derive(Clone, Copy, Default)]
struct Cell {
    dots: u8,
    color: usize,
}

/// So many cells; dots count from the top left.
pub struct Canvas {
    dots: Dots,
    columns: usize,
    cells: Vec<Cell>,
}

/// The mark of a series where there is no braille.
pub fn mark(color: usize) -> char {
    const MARKS: [char; 8] = ['*', 'o', '+', 'x', '#', '@', '%', '&'];
    MARKS[color % MARKS.len()]
}

impl Canvas {
    pub fn new(dots: Dots, columns: usize, rows: usize) -> Canvas {
        Canvas { dots, columns, cells: vec![Cell::default(); columns * rows] }
    }

    pub fn width(&self) -> usize {
        self.columns * self.dots.across()
    }

    pub fn height(&self) -> usize {
        self.rows() * self.dots.down()
    }

    fn rows(&self) -> usize {
        self.cells.len() / self.columns.max(1)
    }

    /// Sets one dot; outside the canvas nothing happens.
    pub fn dot(&mut self, (x, y): (i64, i64), color: usize) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x >= self.width() || y >= self.height() {
            return;
        }
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        let bit = match self.dots {
            Dots::Braille => BITS[y % 4][x % 2],
            Dots::Marks => 1,
        };
        let cell = &mut self.cells[y / self.dots.down() * self.columns + x / self.dots.across()];
        *cell = Cell { dots: cell.dots | bit, color };
    }

    /// A straight line of dots, both ends included.
    pub fn line(&mut self, from: (i64, i64), to: (i64, i64), color: usize) {
        let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs());
        for step in 0..=steps {
            let share = step as f64 / steps.max(1) as f64;
            let between = |from: i64, to: i64| from + ((to - from) as f64 * share).round() as i64;
            self.dot((between(from.0, to.0), between(from.1, to.1)), color);
        }
    }

    /// The characters of a row and the series each belongs to; `None` where nothing is drawn.
    pub fn row(&self, row: usize) -> Vec<(char, Option<usize>)> {
        let cells = &self.cells[row * self.columns..(row + 1) * self.columns];
        let character = |cell: &Cell| match (cell.dots, self.dots) {
            (0, _) => (' ', None),
            (dots, Dots::Braille) => {
                (char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' '), Some(cell.color))
            }
            (_, Dots::Marks) => (mark(cell.color), Some(cell.color)),
        };
        cells.iter().map(character).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_become_braille() {
        let mut canvas = Canvas::new(Dots::Braille, 2, 1);
        canvas.line((0, 3), (3, 0), 0);
        let text: String = canvas.row(0).into_iter().map(|(character, _)| character).collect();
        assert_eq!(text, "⡠⠊");
        canvas.dot((-1, 9), 0);
    }
}
