//! The `.env` file of the project: settings that are not in the environment.

use std::cell::Cell;
use std::env;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::error::LocalError;

/// Loads `.env` from the current folder, otherwise from the project. Files in other parent folders are
/// ignored, because they may belong to someone else.
pub fn load() -> Result<(), LocalError> {
    let folders = [Some(PathBuf::new()), project()];
    for folder in folders.into_iter().flatten() {
        let path = folder.join(".env");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&path, &error.to_string())),
        };
        let text = text.trim_start_matches('\u{feff}');
        return dotenvy::from_read(text.as_bytes())
            .map_err(|error| unreadable(&path, &remedy(text, &error)));
    }
    Ok(())
}

/// The project's folder, even if `cargo run` was called in one of its subfolders.
pub fn project() -> Option<PathBuf> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    package.parent().map(PathBuf::from)
}

fn unreadable(path: &Path, cause: &str) -> LocalError {
    LocalError::new(format!("cannot read {}: {cause}", path.display()))
}

/// Says what to do, without quoting the line: it may hold a secret.
fn remedy(text: &str, error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(..) => format!(
            "line {} is not NAME=value; put a value with spaces, # or $ in single quotes",
            broken_line(text)
        ),
        other => other.to_string(),
    }
}

/// The number of the line where the first setting begins that cannot be parsed.
fn broken_line(text: &str) -> usize {
    let read = Cell::new(0);
    let lines = text.split_inclusive('\n').map(str::as_bytes);
    let mut settings = dotenvy::from_read_iter(LineByLine { lines, read: &read });
    let mut whole = 0;
    while let Some(Ok(_)) = settings.next() {
        whole = read.get();
    }
    let passed_over = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let between = text.lines().skip(whole).take_while(passed_over).count();
    whole + between + 1
}

/// Returns one line at a time and counts them.
struct LineByLine<'a, L> {
    lines: L,
    read: &'a Cell<usize>,
}

impl<'a, L: Iterator<Item = &'a [u8]>> Read for LineByLine<'a, L> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(line) = self.lines.next() else {
            return Ok(0);
        };
        self.read.set(self.read.get() + 1);
        // A line longer than the buffer is truncated: only the count matters here.
        let length = line.len().min(buffer.len());
        buffer[..length].copy_from_slice(&line[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_example_can_be_uncommented() {
        let example = include_str!("../../.env.example");
        let is_setting = |line: &&str| {
            let name = line.split('=').next().unwrap_or_default();
            line.contains('=') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        let settings: Vec<&str> = example
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(is_setting)
            .collect();
        assert!(settings.len() > 20, "{settings:?}");
        for setting in settings {
            let read = dotenvy::from_read_iter(setting.as_bytes()).next();
            let (name, value) = read.unwrap().unwrap_or_else(|_| panic!("{setting}"));
            let written = setting.strip_prefix(&format!("{name}=")).unwrap();
            assert_eq!(value, written.trim_matches('\''), "{name}");
        }
    }

    #[test]
    fn the_line_is_named_but_not_quoted() {
        let cases = [
            ("A=1\n\n# words\nB=hunter2 and more\n", "line 4"),
            ("A=1\r\nB='hunter2\nC=2\n", "line 2"),
            ("hunter2", "line 1"),
            ("A='1\n2'\n# words\nB=\"hunter2\n\n", "line 4"),
        ];
        for (text, expected) in cases {
            let error = dotenvy::from_read_iter(text.as_bytes())
                .find_map(Result::err)
                .unwrap();
            let remedy = remedy(text, &error);
            assert!(remedy.contains(expected), "{text}: {remedy}");
            assert!(!remedy.contains("hunter2"), "{text}: {remedy}");
        }
    }
}
