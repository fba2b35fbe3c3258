//! Tables in Markdown, also readable as plain text.

use std::fmt;

pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; the first holds words, the others numbers.
    pub(crate) fn new(columns: &[&str]) -> Table {
        Table { rows: vec![columns.iter().map(|&column| column.to_owned()).collect()] }
    }

    pub(crate) fn add(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.rows[0].len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    fn write_row(f: &mut fmt::Formatter<'_>, cells: &[String], widths: &[usize]) -> fmt::Result {
        for (index, (cell, &width)) in cells.iter().zip(widths).enumerate() {
            match index {
                0 => write!(f, "| {cell:<width$} ")?,
                _ => write!(f, "| {cell:>width$} ")?,
            }
        }
        writeln!(f, "|")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = 0..self.rows[0].len();
        let widest = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = columns.map(|column| widest(column).unwrap_or(0).max(3)).collect();
        Table::write_row(f, &self.rows[0], &widths)?;
        for (index, &width) in widths.iter().enumerate() {
            let dashes = "-".repeat(width + 1);
            write!(
                f,
                "{}",
                if index == 0 { format!("|{dashes}-") } else { format!("|{dashes}:") }
            )?;
        }
        writeln!(f, "|")?;
        self.rows[1..].iter().try_for_each(|row| Table::write_row(f, row, &widths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["what", "µs"]);
        table.add(vec!["get".to_owned(), "1.25".to_owned()]);
        let expected = "| what |   µs |\n|------|-----:|\n| get  | 1.25 |\n";
        assert_eq!(table.to_string(), expected);
    }
}
