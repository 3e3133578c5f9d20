//! Recordings in a file of values with separators: CSV as spreadsheets write it. Its first row has the names of
//! the members.

use std::collections::HashSet;
use std::io::{self, BufRead, Read};

use assistant::catalogue::{Line, Members};
use csv::{Reader, ReaderBuilder, StringRecord};
use serde_json::{Value, json};

/// What may separate values: a comma, or what spreadsheets use where that is the decimal point.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// What separates the tags in a value.
const TAG_SEPARATORS: [char; 2] = [';', '|'];

/// The longest header of which the separator is found out, in bytes.
const MAX_HEADER: u64 = 64 * 1024;

/// What some programs write at the beginning of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The rows of a file, one by one.
pub(super) struct CsvLines<R> {
    reader: Reader<io::Chain<io::Cursor<Vec<u8>>, R>>,
    names: Vec<String>,
}

impl<R: BufRead> CsvLines<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(mut reader: R) -> Result<Self, String> {
        let mut header = Vec::new();
        let read = (&mut reader)
            .take(MAX_HEADER)
            .read_until(b'\n', &mut header);
        read.map_err(|error| error.to_string())?;
        if header.starts_with(BYTE_ORDER_MARK) {
            header.drain(..BYTE_ORDER_MARK.len());
        }
        let count = |separator: &u8| header.iter().filter(|byte| *byte == separator).count();
        let separator = SEPARATORS.into_iter().rev().max_by_key(count);
        let mut reader = ReaderBuilder::new()
            .delimiter(separator.unwrap_or(b','))
            .flexible(true)
            .from_reader(io::Cursor::new(header).chain(reader));
        let names = reader.headers().map_err(|error| describe(&error))?;
        let names = names.iter().map(|name| name.trim().to_lowercase());
        let names: Vec<String> = names.collect();
        if !names.iter().any(|name| name == "title") {
            return Err("its first row names no column `title`".into());
        }
        let mut seen = HashSet::new();
        if !names.iter().all(|name| seen.insert(name)) {
            return Err("its first row names a column twice".into());
        }
        Ok(Self { reader, names })
    }

    fn members(&self, row: &StringRecord) -> Result<Members, String> {
        if row.len() != self.names.len() {
            let (values, names) = (row.len(), self.names.len());
            return Err(format!(
                "has {values} values; the first row has {names} names"
            ));
        }
        let cells = self.names.iter().zip(row.iter());
        let cells = cells.map(|(name, cell)| (name, cell.trim()));
        cells
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(name, cell)| Ok((name.clone(), value(name, cell)?)))
            .collect()
    }
}

/// The value of a cell, in the type that the member has in JSON. What does not look like one stays a text, and
/// is refused as in a file of JSON.
fn value(name: &str, cell: &str) -> Result<Value, String> {
    let text = || Value::String(cell.to_owned());
    Ok(match name {
        "tags" => {
            let tags = cell.split(TAG_SEPARATORS).map(str::trim);
            tags.filter(|tag| !tag.is_empty()).collect()
        }
        "duration_seconds" => match cell.replace(',', ".").parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => json!(seconds),
            _ => text(),
        },
        "is_active" => match cell.to_lowercase().as_str() {
            "true" | "yes" | "1" => Value::Bool(true),
            "false" | "no" | "0" => Value::Bool(false),
            _ => text(),
        },
        "metadata" => {
            serde_json::from_str(cell).map_err(|_| "`metadata` is not JSON".to_owned())?
        }
        _ => text(),
    })
}

/// What is wrong with a file, in words that quote nothing of it.
fn describe(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".into(),
        csv::ErrorKind::Io(error) => error.to_string(),
        _ => "is not CSV".into(),
    }
}

impl<R: BufRead> Iterator for CsvLines<R> {
    type Item = Result<Line, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut row = StringRecord::new();
        let before = self.reader.position().line();
        let read = self.reader.read_record(&mut row);
        let members = match read {
            Ok(false) => return None,
            Ok(true) => self.members(&row),
            Err(error) if error.is_io_error() => return Some(Err(describe(&error))),
            Err(error) => Err(describe(&error)),
        };
        let line = row.position().map_or(before, csv::Position::line);
        let number = usize::try_from(line).unwrap_or(usize::MAX);
        Some(Ok(Line::of(number, self.reader.position().byte(), members)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::store::recordings::Recording;

    type Row<T> = (usize, Result<T, String>);

    fn read(text: &[u8]) -> Result<Vec<Row<Recording>>, String> {
        CsvLines::new(text)?
            .map(|line| line.map(|line| (line.number, line.recording)))
            .collect()
    }

    fn recording(text: &str) -> Recording {
        read(text.as_bytes()).unwrap().remove(0).1.unwrap()
    }

    #[test]
    fn a_row_has_every_member_and_what_is_empty_is_missing() {
        let text = "\u{feff}Title, location ,tags,duration_seconds,is_active,metadata,speaker,summary\r\n\
            \"A, \"\"b\"\"\nc\",https://x.example/a.mp3,sleep; deep sleep |night;,12.5,no,\"{\"\"a\"\": 1}\",D,\r\n";
        let read = recording(text);
        assert_eq!(read.title, "A, \"b\"\nc");
        assert_eq!(read.filename, "a.mp3");
        assert_eq!(read.tags, ["sleep", "deep sleep", "night"]);
        assert_eq!(read.duration_seconds, Some(12.5));
        assert!(!read.is_active);
        assert_eq!(read.metadata, Some(json!({ "a": 1, "speaker": "D" })));
        assert_eq!(read.summary, None);
    }

    #[test]
    fn other_separators_are_found_out() {
        let read = recording("title;filename;tags;duration_seconds\nA, b;a.mp3;x|y;1,5\n");
        assert_eq!(
            (read.title.as_str(), read.duration_seconds),
            ("A, b", Some(1.5))
        );
        assert_eq!(read.tags, ["x", "y"]);
        assert_eq!(
            recording("title\tfilename\nA\ta,b;c.mp3\n").filename,
            "a,b;c.mp3"
        );
        assert!(read_titles("title\nA\n")[0].1.is_err(), "one column");
    }

    fn read_titles(text: &str) -> Vec<Row<String>> {
        let lines = read(text.as_bytes()).unwrap().into_iter();
        lines
            .map(|(number, read)| (number, read.map(|recording| recording.title)))
            .collect()
    }

    #[test]
    fn a_bad_row_is_named_by_the_line_it_begins_in_and_does_not_hide_the_others() {
        let text = "title,filename,is_active,duration_seconds,metadata\n\"A\nB\",a,,,\nC,c\nD,d,perhaps,,\nE,e,,long,\nF,f,,,{\nG,g,,,\n";
        let read = read_titles(text);
        let errors = [
            (2, Ok("A\nB")),
            (4, Err("has 2 values; the first row has 5 names")),
            (5, Err("`is_active` must be true or false")),
            (6, Err("`duration_seconds` must be a number")),
            (7, Err("`metadata` is not JSON")),
            (8, Ok("G")),
        ];
        let expected =
            errors.map(|(number, read)| (number, read.map(str::to_owned).map_err(str::to_owned)));
        assert_eq!(read, expected);
        let read = self::read(b"title,filename\nA,\xff\nB,b\n").unwrap();
        assert_eq!(read[0], (2, Err("is not UTF-8".into())));
        assert_eq!((read[1].0, read[1].1.is_ok()), (3, true));
    }

    #[test]
    fn a_file_without_titles_is_refused() {
        for (text, expected) in [
            ("", "names no column `title`"),
            ("name,filename\nA,a\n", "names no column `title`"),
            ("title,title\nA,a\n", "twice"),
        ] {
            let error = CsvLines::new(text.as_bytes()).err();
            assert!(
                error.is_some_and(|error| error.contains(expected)),
                "{text:?}"
            );
        }
    }
}
