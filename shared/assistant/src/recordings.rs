//! The recordings that can be recommended, and the function with which a model finds them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use shared::settings::SettingsError;

/// The name of the function a model calls.
pub const FUNCTION_NAME: &str = "recommend_audio";

/// The function's purpose, as the model reads it.
pub const FUNCTION_DESCRIPTION: &str =
    "Finds audio recordings to recommend to the user. Returns an empty list when none fits.";

/// How many recordings a call returns by default.
const DEFAULT_LIMIT: u64 = 3;

/// The maximum number of recordings a call returns.
const MAX_LIMIT: u64 = 10;

/// Shorter words of a topic ("a", "to", "for") say nothing about it.
const MIN_WORD_CHARACTERS: usize = 4;

/// The recordings of an installation. Each is an object with a `title` and whatever else callers
/// need, such as `url`, `description`, `tags` or `duration_seconds`.
#[derive(Debug)]
pub struct Catalogue(Vec<Value>);

impl Catalogue {
    /// Reads the JSON file at `path`: an array of objects with a `title`.
    ///
    /// # Errors
    /// [`SettingsError`] that says what to fix.
    pub fn read(path: &str) -> Result<Self, SettingsError> {
        let wrong = |why: String| SettingsError::new(format!("AUDIO_CATALOGUE ({path}): {why}"));
        let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let recordings: Vec<Map<String, Value>> = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("not an array of objects: {error}")))?;
        if !recordings
            .iter()
            .all(|recording| recording.get("title").is_some_and(Value::is_string))
        {
            return Err(wrong("every recording needs a `title`".into()));
        }
        Ok(Self(recordings.into_iter().map(Value::Object).collect()))
    }

    /// Recordings that exist only by name, for trying the product out with the built-in model.
    #[must_use]
    pub fn sample() -> Self {
        let sample = |title: &str, file: &str, seconds: u32, tags: &[&str]| {
            json!({
                "title": title,
                "file": format!("samples/{file}.mp3"),
                "duration_seconds": seconds,
                "tags": tags,
            })
        };
        Self(vec![
            sample(
                "Falling asleep with ease",
                "sleep",
                900,
                &["sleep", "evening", "calm"],
            ),
            sample(
                "Five minutes against stress",
                "stress",
                300,
                &["stress", "breathing", "work"],
            ),
            sample(
                "Clear focus",
                "focus",
                600,
                &["focus", "concentration", "study"],
            ),
        ])
    }

    /// The parameters of the function as a JSON schema.
    #[must_use]
    pub fn parameters() -> Value {
        json!({
            "type": "object",
            "properties": {
                "topic": { "type": "string", "description": "What the recordings should be about" },
                "limit": {
                    "type": "integer",
                    "description": "The maximum number of recordings",
                    "minimum": 1,
                    "maximum": MAX_LIMIT,
                },
            },
            "required": ["topic"],
        })
    }

    /// Runs the function on the arguments of a call: the recordings that share most words with the
    /// topic, best first.
    #[must_use]
    pub fn recommend(&self, arguments: &Value) -> Vec<Value> {
        let topic = words(
            arguments
                .get("topic")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        );
        let limit = arguments
            .get("limit")
            .and_then(Value::as_u64)
            .unwrap_or(DEFAULT_LIMIT);
        let mut ranked: Vec<(usize, &Value)> = self
            .0
            .iter()
            .map(|recording| {
                (
                    words(&recording.to_string()).intersection(&topic).count(),
                    recording,
                )
            })
            .filter(|(shared_words, _)| *shared_words > 0)
            .collect();
        ranked.sort_by_key(|(shared_words, _)| std::cmp::Reverse(*shared_words));
        let limit = usize::try_from(limit.clamp(1, MAX_LIMIT)).unwrap_or(usize::MAX);
        ranked
            .into_iter()
            .take(limit)
            .map(|(_, recording)| recording.clone())
            .collect()
    }

    /// The recording to offer when no topic is given.
    #[must_use]
    pub fn first(&self) -> Vec<Value> {
        self.0.iter().take(1).cloned().collect()
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| word.chars().count() >= MIN_WORD_CHARACTERS)
        .map(str::to_lowercase)
        .collect()
}

/// The recordings that these calls, as they are stored, found.
pub fn recommended(function_calls: &[Value]) -> Vec<Value> {
    let mut recordings = Vec::new();
    for call in function_calls {
        let found = call["result"].as_array();
        if call["name"] == FUNCTION_NAME {
            add_new(&mut recordings, found.into_iter().flatten());
        }
    }
    recordings
}

/// Adds those of the recordings that are not there yet.
pub fn add_new<'a>(recordings: &mut Vec<Value>, found: impl IntoIterator<Item = &'a Value>) {
    for recording in found {
        if !recordings.contains(recording) {
            recordings.push(recording.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recording_that_shares_most_words_comes_first() {
        let cases = [
            (
                "something for better sleep in the evening",
                "Falling asleep with ease",
            ),
            ("STRESS at work", "Five minutes against stress"),
            ("focus", "Clear focus"),
        ];
        for (topic, title) in cases {
            let found = Catalogue::sample().recommend(&json!({ "topic": topic }));
            assert_eq!(found[0]["title"], title, "{topic}");
        }
    }

    #[test]
    fn a_topic_nothing_fits_finds_nothing() {
        for arguments in [
            json!({ "topic": "gardening" }),
            json!({ "topic": 7 }),
            json!(null),
        ] {
            assert!(
                Catalogue::sample().recommend(&arguments).is_empty(),
                "{arguments}"
            );
        }
    }

    #[test]
    fn the_limit_is_kept() {
        let topic = "sleep stress focus";
        let found =
            |limit| Catalogue::sample().recommend(&json!({ "topic": topic, "limit": limit }));
        assert_eq!(found(2).len(), 2);
        assert_eq!(found(0).len(), 1);
    }
}
