//! The function with which a model finds recordings in the catalogue, and which of them are recommended.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use shared::caller::Caller;
use shared::store::Store;
use shared::store::recordings::{self, Found, Given, Recording, Search};

use super::call::{Definition, Recommendation, Returned};
use crate::catalogue::CatalogueFile;
use crate::embeddings::Embeddings;

/// The name of the function.
pub const FUNCTION_NAME: &str = "search_audio_resources";

/// Its purpose, as the model reads it.
const DESCRIPTION: &str = "Finds audio recordings that may help the user, the best first. Call it when \
    a recording would help, or when the user asks for one. Returns an empty list when none fits.";

/// How many recordings a call returns.
const MAX_FOUND: i32 = 5;

/// The longest query and the longest context, in characters.
const MAX_TEXT_CHARACTERS: usize = 2_000;

/// How much of a summary the model gets, in characters.
const MAX_SUMMARY_CHARACTERS: usize = 600;

/// Its parameters.
static PARAMETERS: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "type": "object",
        "properties": {
            "query": {
                "type": "string",
                "description": "What the recording should be about, in the language of the user",
            },
            "context": {
                "type": "string",
                "description": "What else is known of the user's situation, in a sentence",
            },
        },
        "required": ["query"],
    })
});

/// Invented recordings, for trying the product out.
static SAMPLES: LazyLock<Vec<Recording>> = LazyLock::new(|| {
    let lines = include_str!("../../samples/recordings.jsonl").lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
});

/// The search for recordings.
#[derive(Debug)]
pub struct Recordings {
    /// Recordings that are not imported yet.
    pub file: Option<CatalogueFile>,
    /// Who says what a query means; if nobody does, it is searched by its words alone.
    pub embeddings: Option<Embeddings>,
    /// Whether invented recordings are found.
    pub samples: Samples,
    /// What is returned and recommended.
    pub limits: Limits,
}

/// Whether invented recordings are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Samples {
    /// Never.
    Never,
    /// While the catalogue is empty.
    WhileEmpty,
}

/// Which of the recordings that were found are recommended.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The least relevance, from 0 to 1.
    pub min_relevance: f64,
    /// The maximum number with an answer.
    pub max_recommended: usize,
}

impl Recordings {
    /// Imports the recordings of the file, unless that is done.
    pub async fn prepare(&self, store: &Store) {
        if let Some(file) = &self.file {
            file.import(store, self.embeddings.as_ref()).await;
        }
    }

    /// The function as a model sees it; `None` if there is nothing to search.
    pub(super) fn definition(&self, has_recordings: bool) -> Option<Definition<'_>> {
        let has_others = self.samples == Samples::WhileEmpty || self.file.is_some();
        (has_recordings || has_others).then(|| Definition {
            name: FUNCTION_NAME,
            description: DESCRIPTION,
            parameters: &PARAMETERS,
        })
    }

    /// Runs the function on the arguments of a call. An error is a sentence for the model.
    pub(super) async fn search(
        &self,
        store: &Store,
        caller: &Caller,
        arguments: &Value,
    ) -> Result<Returned, String> {
        let query = text(arguments, "query")?.ok_or("`query` is missing")?;
        let context = text(arguments, "context")?;
        self.prepare(store).await;
        let embedding = match &self.embeddings {
            Some(embeddings) => embeddings.of_query(&query).await,
            None => None,
        };
        let given = match self.samples {
            Samples::Never => None,
            Samples::WhileEmpty => Some(Given {
                recordings: &SAMPLES,
                only_if_empty: true,
            }),
        };
        let search = Search {
            query: &query,
            context: context.as_deref(),
            embedding: embedding.as_ref(),
            given,
            limit: MAX_FOUND,
        };
        let found = recordings::search(store, caller, &search)
            .await
            .map_err(|problem| {
                tracing::warn!(code = problem.code(), "recordings cannot be searched");
                "the recordings cannot be searched at the moment".to_owned()
            })?;
        let relevant: Vec<Found> = found
            .into_iter()
            .filter(|found| found.relevance >= self.limits.min_relevance)
            .collect();
        Ok(Returned {
            result: relevant.iter().map(for_model).collect(),
            recordings: relevant.into_iter().map(recommendation).collect(),
        })
    }
}

/// A text among the arguments; `None` if it is not there or blank.
fn text(arguments: &Value, name: &str) -> Result<Option<String>, String> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let text: String = text.trim().chars().take(MAX_TEXT_CHARACTERS).collect();
            // PostgreSQL does not accept U+0000.
            let text = text.replace('\0', " ");
            Ok((!text.is_empty()).then_some(text))
        }
        Some(_) => Err(format!("`{name}` must be a text")),
    }
}

/// A recording as the model gets it.
fn for_model(found: &Found) -> Value {
    let mut recording = Map::new();
    recording.insert("audio_id".to_owned(), json!(found.audio_id));
    recording.insert("title".to_owned(), json!(found.title));
    let summary = found.summary.as_ref().map(|summary| {
        let summary: String = summary.chars().take(MAX_SUMMARY_CHARACTERS).collect();
        summary
    });
    for (name, value) in [
        ("summary", json!(summary)),
        ("language", json!(found.language)),
        ("duration_seconds", json!(found.duration_seconds)),
    ] {
        if !value.is_null() {
            recording.insert(name.to_owned(), value);
        }
    }
    if !found.tags.is_empty() {
        recording.insert("tags".to_owned(), json!(found.tags));
    }
    recording.insert("relevance_score".to_owned(), score(found.relevance));
    Value::Object(recording)
}

/// A recording as callers get it with an answer.
fn recommendation(found: Found) -> Recommendation {
    let file_path = found.location.as_ref().unwrap_or(&found.filename);
    Recommendation {
        relevance: found.relevance,
        audio_file: json!({
            "audio_id": found.audio_id,
            "filename": found.filename,
            "file_path": file_path,
            "title": found.title,
            "summary": found.summary,
            "relevance_score": score(found.relevance),
        }),
    }
}

/// A relevance to three places: more would say nothing.
fn score(relevance: f64) -> Value {
    json!((relevance * 1000.0).round() / 1000.0)
}

/// The most relevant of the recordings that were found, each once.
#[derive(Debug)]
pub struct Recommended {
    limit: usize,
    best_first: Vec<Recommendation>,
}

impl Recommended {
    /// None yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limit: limits.max_recommended,
            best_first: Vec::new(),
        }
    }

    /// Adds recordings that were found. Of those that are as relevant, the one that was found first stays.
    pub fn add(&mut self, found: Vec<Recommendation>) {
        for recommendation in found {
            let audio_id = |other: &Recommendation| other.audio_file["audio_id"].clone();
            let same = audio_id(&recommendation);
            match self
                .best_first
                .iter_mut()
                .find(|known| audio_id(known) == same)
            {
                Some(known) if known.relevance >= recommendation.relevance => {}
                Some(known) => *known = recommendation,
                None => self.best_first.push(recommendation),
            }
        }
        self.best_first
            .sort_by(|one, other| other.relevance.total_cmp(&one.relevance));
        self.best_first.truncate(self.limit);
    }

    /// The recordings as they are in `audio_files`.
    #[must_use]
    pub fn audio_files(&self) -> Vec<Value> {
        let files = self.best_first.iter();
        files.map(|best| best.audio_file.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(audio_id: &str, relevance: f64) -> Recommendation {
        Recommendation {
            relevance,
            audio_file: json!({ "audio_id": audio_id, "relevance_score": relevance }),
        }
    }

    #[test]
    fn the_most_relevant_are_recommended_each_once() {
        let mut recommended = Recommended::new(Limits {
            min_relevance: 0.0,
            max_recommended: 2,
        });
        recommended.add(vec![found("a", 0.5), found("b", 0.4)]);
        recommended.add(vec![found("c", 0.9), found("a", 0.6)]);
        recommended.add(vec![found("a", 0.2), found("d", 0.6)]);
        let files = recommended.audio_files();
        let files: Vec<_> = files.iter().map(|file| file["audio_id"].as_str()).collect();
        assert_eq!(files, [Some("c"), Some("a")]);
    }

    #[test]
    fn arguments_that_are_no_texts_are_refused() {
        for (arguments, expected) in [
            (json!({ "query": "sleep" }), Ok(Some("sleep".to_owned()))),
            (json!({ "query": " a\0b " }), Ok(Some("a b".to_owned()))),
            (json!({ "query": " " }), Ok(None)),
            (json!({}), Ok(None)),
            (json!(7), Ok(None)),
            (
                json!({ "query": 7 }),
                Err("`query` must be a text".to_owned()),
            ),
        ] {
            assert_eq!(text(&arguments, "query"), expected, "{arguments}");
        }
    }

    #[test]
    fn the_samples_can_all_be_read() {
        let lines = include_str!("../../samples/recordings.jsonl").lines();
        assert_eq!(SAMPLES.len(), lines.count());
        assert!(SAMPLES.len() >= 24);
    }
}
