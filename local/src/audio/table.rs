//! Tables for the terminal.

use comfy_table::{Cell, CellAlignment, Table, presets};

/// The longest text in a cell, in characters.
const MAX_CHARACTERS: usize = 60;

/// An empty table with these columns.
pub(super) fn table<const N: usize>(columns: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(columns);
    table
}

/// A text from a file or the catalogue: without what a terminal would obey, and cut off.
pub(super) fn text(text: &str) -> Cell {
    Cell::new(one_line(text, MAX_CHARACTERS))
}

/// A number.
pub(super) fn number(number: impl Into<String>) -> Cell {
    Cell::new(number.into()).set_alignment(CellAlignment::Right)
}

/// A text on one line, without characters that a terminal would obey, cut off after so many.
pub(super) fn one_line(text: &str, max_characters: usize) -> String {
    let mut characters = text
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it });
    let mut line: String = characters.by_ref().take(max_characters).collect();
    if characters.next().is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_that_a_terminal_only_shows() {
        assert_eq!(one_line("a\u{1b}[2J\nb\u{9b}c", 20), "a [2J b c");
        assert_eq!(one_line("Grüße", 5), "Grüße");
        assert_eq!(one_line("Grüße!", 5), "Grüße…");
    }
}
