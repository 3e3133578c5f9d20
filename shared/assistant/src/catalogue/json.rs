//! Recordings in a file of JSON: an object in each line (JSON Lines), or one array of objects.

use std::io::{self, BufRead, Read};

use serde_json::value::RawValue;

use super::members::{Line, Members};

/// The longest line, in bytes. The largest recording takes a quarter of it, even if all of it is escaped.
const MAX_LINE: u64 = 8 * 1024 * 1024;

/// The largest array, in bytes: it is read whole.
const MAX_ARRAY: u64 = 512 * 1024 * 1024;

/// What some programs write at the beginning of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a file, one by one.
#[derive(Debug)]
pub struct JsonLines<R> {
    reader: R,
    number: usize,
    end: u64,
    /// The elements of an array that are left, the last one first, if the file is one.
    array: Option<Vec<Line>>,
    has_begun: bool,
}

impl<R: BufRead> JsonLines<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            number: 0,
            end: 0,
            array: None,
            has_begun: false,
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.begins_with_array()? {
            self.array = Some(self.read_array()?);
        }
        Ok(())
    }

    /// Passes over a byte order mark and white space; whether an array begins there.
    fn begins_with_array(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.reader.fill_buf()?;
            let skipped = match bytes {
                [] => return Ok(false),
                [b'[', ..] => return Ok(true),
                [b'\n', ..] => {
                    self.number += 1;
                    1
                }
                [first, ..] if first.is_ascii_whitespace() => 1,
                _ if self.end == 0 && bytes.starts_with(BYTE_ORDER_MARK) => BYTE_ORDER_MARK.len(),
                _ => return Ok(false),
            };
            self.reader.consume(skipped);
            self.end += u64::try_from(skipped).unwrap_or(0);
        }
    }

    /// The elements of the array that begins here, the last one first.
    fn read_array(&mut self) -> io::Result<Vec<Line>> {
        let mut text = Vec::new();
        let read = (&mut self.reader).take(MAX_ARRAY).read_to_end(&mut text)?;
        let (number, offset) = (self.number + 1, self.end);
        self.end += u64::try_from(read).unwrap_or(0);
        if read >= usize::try_from(MAX_ARRAY).unwrap_or(usize::MAX) {
            let why =
                format!("the array has more than {MAX_ARRAY} bytes; write an object in each line");
            return Ok(vec![Line::of(number, self.end, Err(why))]);
        }
        let whole: Vec<&RawValue> = match serde_json::from_slice(&text) {
            Ok(elements) => elements,
            Err(error) => {
                let number = number + error.line().saturating_sub(1);
                return Ok(vec![Line::of(number, self.end, Err(not_json(&error)))]);
            }
        };
        let mut lines = Vec::with_capacity(whole.len());
        let (mut number, mut counted) = (number, 0);
        for element in whole {
            // Where an element is says in which line it begins.
            let begin = element.get().as_ptr().addr() - text.as_ptr().addr();
            number += text[counted..begin]
                .iter()
                .filter(|it| **it == b'\n')
                .count();
            counted = begin;
            let end = offset + u64::try_from(begin + element.get().len()).unwrap_or(0);
            lines.push(Line::of(number, end, members(element.get().as_bytes())));
        }
        lines.reverse();
        Ok(lines)
    }

    /// The next line that is not blank.
    fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut text = Vec::new();
            let read = (&mut self.reader)
                .take(MAX_LINE)
                .read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.end += u64::try_from(read).unwrap_or(0);
            let members = if text.ends_with(b"\n") || read < usize::try_from(MAX_LINE).unwrap_or(0)
            {
                if text.trim_ascii().is_empty() {
                    continue;
                }
                members(text.trim_ascii())
            } else {
                let skipped = self.reader.skip_until(b'\n')?;
                self.end += u64::try_from(skipped).unwrap_or(0);
                Err(format!("is longer than {MAX_LINE} bytes"))
            };
            return Ok(Some(Line::of(self.number, self.end, members)));
        }
    }
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.has_begun {
            self.has_begun = true;
            if let Err(error) = self.begin() {
                return Some(Err(error));
            }
        }
        match &mut self.array {
            Some(left) => left.pop().map(Ok),
            None => self.next_line().transpose(),
        }
    }
}

fn members(text: &[u8]) -> Result<Members, String> {
    serde_json::from_slice(text).map_err(|error| not_json(&error))
}

/// What is wrong with a text. The parser's own words can quote it.
fn not_json(error: &serde_json::Error) -> String {
    if error.is_data() {
        "is not an object".into()
    } else {
        format!("is not JSON at column {}", error.column())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, Result<String, String>)> {
        JsonLines::new(text.as_bytes())
            .map(|line| {
                let line = line.unwrap();
                let title = line.recording.map(|recording| recording.title);
                (line.number, title)
            })
            .collect()
    }

    fn good(number: usize, title: &str) -> (usize, Result<String, String>) {
        (number, Ok(title.to_owned()))
    }

    #[test]
    fn lines_and_the_elements_of_an_array_have_the_numbers_of_the_file() {
        let lines = "\u{feff}\n{\"title\":\"A\",\"filename\":\"a\"}\r\n\n{\"title\":\"B\",\"filename\":\"b\"}";
        assert_eq!(read(lines), [good(2, "A"), good(4, "B")]);
        let array = "\u{feff}\n [ {\"title\":\"A\",\n\"filename\":\"a\"},\n\n {\"title\":\"B\",\"filename\":\"b\"}\n]\n";
        assert_eq!(read(array), [good(2, "A"), good(5, "B")]);
        for nothing in ["", "\n\n", "[]", " [\n]\n"] {
            assert_eq!(read(nothing), [], "{nothing:?}");
        }
    }

    #[test]
    fn a_bad_line_does_not_hide_the_others() {
        let text = "{\"title\":\"A\",\"filename\":\"a\"}\n{\"title\":\n7\n{\"title\":\"B\",\"filename\":\"b\"}\n";
        let lines = read(text);
        assert_eq!(lines.len(), 4);
        assert_eq!((&lines[0], &lines[3]), (&good(1, "A"), &good(4, "B")));
        assert_eq!(lines[1], (2, Err("is not JSON at column 9".into())));
        assert_eq!(lines[2], (3, Err("is not an object".into())));

        let lines = read("[{\"title\":\"A\",\"filename\":\"a\"},\n7,\n{\"title\":8}]");
        assert_eq!(lines[1], (2, Err("is not an object".into())));
        assert_eq!(lines[2], (3, Err("`title` must be a text".into())));
        let lines = read("[\n{\"title\":\"A\"\n");
        assert_eq!(lines.len(), 1);
        assert!(lines[0].1.as_ref().is_err_and(|it| it.contains("not JSON")));
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let long = "x".repeat(usize::try_from(MAX_LINE).unwrap() + 10);
        let lines = read(&format!("{long}\n{{\"title\":\"B\",\"filename\":\"b\"}}\n"));
        assert!(lines[0].1.as_ref().is_err_and(|it| it.contains("longer")));
        assert_eq!(lines[1..], [good(2, "B")]);
    }
}
