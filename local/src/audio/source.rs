//! A file of recordings, whatever its form.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use assistant::catalogue::{Distinct, JsonLines, Line};

use super::csv::CsvLines;
use crate::error::LocalError;

/// The ends of names by which files of values with separators are known.
const SEPARATED: [&str; 2] = ["csv", "tsv"];

/// The lines of a file, one by one. Of two lines with the same recording the second is refused.
pub(super) struct Source {
    path: PathBuf,
    lines: Box<dyn Iterator<Item = Result<Line, String>>>,
    distinct: Distinct,
    /// The length of the file in bytes.
    pub(super) length: u64,
}

impl Source {
    /// Opens a file: CSV if its name says so, otherwise JSON.
    pub(super) fn open(path: &Path) -> Result<Self, LocalError> {
        let cannot =
            |why: String| LocalError::new(format!("cannot read {}: {why}", path.display()));
        let file = File::open(path).map_err(|error| cannot(error.to_string()))?;
        let metadata = file.metadata().map_err(|error| cannot(error.to_string()))?;
        if metadata.is_dir() {
            return Err(cannot("it is a folder".into()));
        }
        let reader = BufReader::new(file);
        let extension = path.extension().unwrap_or_default();
        let is_separated = SEPARATED
            .iter()
            .any(|it| extension.eq_ignore_ascii_case(it));
        let lines: Box<dyn Iterator<Item = Result<Line, String>>> = if is_separated {
            Box::new(CsvLines::new(reader).map_err(cannot)?)
        } else {
            Box::new(JsonLines::new(reader).map(|line| line.map_err(|it| it.to_string())))
        };
        Ok(Self {
            path: path.to_owned(),
            lines,
            distinct: Distinct::default(),
            length: metadata.len(),
        })
    }
}

impl Iterator for Source {
    type Item = Result<Line, LocalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        Some(match line {
            Ok(mut line) => {
                self.distinct.check(&mut line);
                Ok(line)
            }
            Err(why) => Err(LocalError::new(format!(
                "cannot read {}: {why}",
                self.path.display()
            ))),
        })
    }
}
