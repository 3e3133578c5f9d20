//! An answer as it appears on standard output.

use std::io::{self, IsTerminal, Stdout, Write, stdout};

/// Said where an answer is not the continuation of what was shown.
const ANEW: &str = "\n(The answer begins anew.)\n";

/// One answer: what is known of it, and what of that was shown.
pub(super) struct Sheet<W = Stdout> {
    out: W,
    /// Whether control characters are left out: a terminal would obey them.
    is_terminal: bool,
    known: String,
    shown: String,
}

impl Sheet {
    /// An empty one on standard output.
    pub(super) fn new() -> Self {
        Self::on(stdout(), stdout().is_terminal())
    }
}

impl<W: Write> Sheet<W> {
    fn on(out: W, is_terminal: bool) -> Self {
        Self {
            out,
            is_terminal,
            known: String::new(),
            shown: String::new(),
        }
    }

    /// The text goes on.
    pub(super) fn add(&mut self, text: &str) -> io::Result<()> {
        self.known.push_str(text);
        self.show(false)
    }

    /// The text begins again and is this so far. What was shown stays as it is if the text turns out to be the
    /// same.
    pub(super) fn begin_again(&mut self, text: &str) -> io::Result<()> {
        text.clone_into(&mut self.known);
        self.show(false)
    }

    /// The text is complete, and this.
    pub(super) fn complete(&mut self, text: &str) -> io::Result<()> {
        text.clone_into(&mut self.known);
        self.show(true)?;
        self.end()
    }

    /// Ends the line if something was shown.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if !self.shown.is_empty() && !self.shown.ends_with('\n') {
            writeln!(self.out)?;
        }
        self.shown.clear();
        self.known.clear();
        self.out.flush()
    }

    fn show(&mut self, is_complete: bool) -> io::Result<()> {
        let is_behind = self.shown.starts_with(&self.known);
        if !self.known.starts_with(&self.shown) && (is_complete || !is_behind) {
            self.out.write_all(ANEW.as_bytes())?;
            self.shown.clear();
        }
        if let Some(rest) = self.known.strip_prefix(&self.shown) {
            if self.is_terminal {
                self.out.write_all(printable(rest).as_bytes())?;
            } else {
                self.out.write_all(rest.as_bytes())?;
            }
            self.out.flush()?;
            self.shown.push_str(rest);
        }
        Ok(())
    }
}

/// Text without the control characters that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    let is_text = |character: &char| !character.is_control() || "\n\t".contains(*character);
    text.chars().filter(is_text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(is_terminal: bool, write: impl FnOnce(&mut Sheet<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        write(&mut Sheet::on(&mut out, is_terminal));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_that_begins_again_and_stays_the_same_is_not_shown_twice() {
        let text = written(false, |sheet| {
            sheet.add("one two ").unwrap();
            sheet.begin_again("").unwrap();
            sheet.add("one ").unwrap();
            sheet.add("two three").unwrap();
            sheet.complete("one two three").unwrap();
        });
        assert_eq!(text, "one two three\n");
    }

    #[test]
    fn another_text_is_shown_from_its_beginning_once_it_differs() {
        let text = written(false, |sheet| {
            sheet.add("one two ").unwrap();
            sheet.begin_again("one ").unwrap();
            sheet.add("2").unwrap();
            sheet.complete("one 2").unwrap();
        });
        assert_eq!(text, "one two \n(The answer begins anew.)\none 2\n");
        let shorter = written(false, |sheet| {
            sheet.add("one two").unwrap();
            sheet.begin_again("one").unwrap();
            sheet.complete("one").unwrap();
        });
        assert_eq!(shorter, "one two\n(The answer begins anew.)\none\n");
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let said = "a\u{1b}[2J\tb\u{7}\r\n\u{9b}c";
        let at = |is_terminal| written(is_terminal, |sheet| sheet.complete(said).unwrap());
        assert_eq!(at(true), "a[2J\tb\nc\n");
        assert_eq!(at(false), format!("{said}\n"));
    }
}
