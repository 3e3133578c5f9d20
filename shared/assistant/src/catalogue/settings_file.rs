//! The file of `AUDIO_CATALOGUE`, which is imported when a function starts.

use std::fs::File;
use std::io::BufReader;

use shared::causes::with_causes;
use shared::settings::SettingsError;
use shared::store::Store;
use shared::store::recordings::{self, Recording};
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use super::import::{ImportFailure, Importer, embed_missing};
use super::json::JsonLines;
use super::members::Distinct;
use crate::embeddings::Embeddings;

/// The variable with the file's path.
const AUDIO_CATALOGUE: &str = "AUDIO_CATALOGUE";

/// How long an import may take: Lambda gives a function 10 s for its start, and a caller may be waiting.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The recordings of the file, until they are in the database.
#[derive(Debug)]
pub struct CatalogueFile(Mutex<Option<Vec<Recording>>>);

impl CatalogueFile {
    /// Reads the file that `AUDIO_CATALOGUE` names, if it does.
    ///
    /// # Errors
    /// [`SettingsError`] that says what to fix: a line that cannot be used is one.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, SettingsError> {
        let Some(path) = variable(AUDIO_CATALOGUE) else {
            return Ok(None);
        };
        let wrong = |why: String| SettingsError::new(format!("{AUDIO_CATALOGUE} ({path}): {why}"));
        let file = File::open(&path).map_err(|error| wrong(error.to_string()))?;
        let metadata = file.metadata();
        if metadata.map_err(|error| wrong(error.to_string()))?.len() == 0 {
            return Err(wrong("it is empty; no recordings are `[]`".into()));
        }
        let mut distinct = Distinct::default();
        let mut recordings = Vec::new();
        for line in JsonLines::new(BufReader::new(file)) {
            let mut line = line.map_err(|error| wrong(error.to_string()))?;
            distinct.check(&mut line);
            let number = line.number;
            recordings.push(
                line.recording
                    .map_err(|why| wrong(format!("line {number}: {why}")))?,
            );
        }
        Ok(Some(Self(Mutex::new(Some(recordings)))))
    }

    /// Imports the recordings unless that is done. A failure is a warning in the log, and the next call tries
    /// again.
    pub async fn import(&self, store: &Store, embeddings: Option<&Embeddings>) {
        let mut waiting = self.0.lock().await;
        let Some(recordings) = waiting.as_ref() else {
            return;
        };
        let until = Instant::now() + TIMEOUT;
        match store_all(store, recordings, until).await {
            Ok(()) => *waiting = None,
            Err(error) => {
                tracing::warn!(
                    cause = with_causes(&error),
                    "the file of {AUDIO_CATALOGUE} is not imported"
                );
                return;
            }
        }
        drop(waiting);
        // Once: what is missing then is found by its words until `audio import` or another start goes on.
        if let Some(embeddings) = embeddings
            && let Err(error) = embed_missing(store, embeddings, Some(until), |_| {}).await
        {
            tracing::warn!(
                cause = with_causes(&error),
                "some recordings are found by their words alone"
            );
        }
    }
}

async fn store_all(
    store: &Store,
    recordings: &[Recording],
    until: Instant,
) -> Result<(), ImportFailure> {
    let mut importer = Importer::new(store, Some(until));
    for recording in recordings {
        importer.add(recording.clone()).await?;
    }
    if importer.finish().await?.has_changed_something() {
        recordings::index(store, until).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;

    fn read(text: &str) -> Result<usize, String> {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let variable = |name: &str| (name == AUDIO_CATALOGUE).then(|| path.to_owned());
        match CatalogueFile::read(variable) {
            Ok(read) => Ok(read.unwrap().0.try_lock().unwrap().as_ref().unwrap().len()),
            Err(error) => Err(error.to_string().replace(path, "FILE")),
        }
    }

    #[test]
    fn a_file_of_lines_and_one_of_an_array_are_read() {
        assert_eq!(
            read("{\"title\":\"A\",\"url\":\"https://x.example/a\"}"),
            Ok(1)
        );
        assert_eq!(
            read("[{\"title\":\"A\",\"file\":\"a\"},{\"title\":\"B\",\"file\":\"b\"}]"),
            Ok(2)
        );
        assert_eq!(read("[]"), Ok(0));
        assert!(CatalogueFile::read(|_| None).unwrap().is_none());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_an_error_that_names_the_line() {
        for (text, expected) in [
            ("", "it is empty"),
            ("\n{\"title\":\"A\"}", "line 2: `filename` is missing"),
            (
                "{\"title\":\"A\",\"file\":\"a\"}\n{\"title\":\"B\",\"file\":\"a\"}",
                "line 2: is the same",
            ),
            ("title,filename\nA,a\n", "line 1: is not JSON at column 2"),
        ] {
            let error = read(text).unwrap_err();
            let expected = format!("AUDIO_CATALOGUE (FILE): {expected}");
            assert!(error.starts_with(&expected), "{error}");
        }
        let missing = CatalogueFile::read(|_| Some("/does/not/exist".into()));
        let error = missing.unwrap_err().to_string();
        assert!(
            error.starts_with("AUDIO_CATALOGUE (/does/not/exist): No such file"),
            "{error}"
        );
    }
}
