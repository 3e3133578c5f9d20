//! Queries whose right answers are known: a JSON object in each line.

use std::path::Path;

use serde::Deserialize;
use uuid::Uuid;

use crate::error::LocalError;

/// A query, and the recordings that are right for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// What somebody says.
    pub query: String,
    /// What was said before.
    #[serde(default)]
    pub context: Option<String>,
    /// The recording that fits best; `None` if none should be recommended.
    pub audio_id: Option<Uuid>,
    /// Others that are right as well.
    #[serde(default)]
    also: Vec<Uuid>,
}

impl Query {
    /// Whether this recording is right.
    pub(super) fn is_right(&self, audio_id: Uuid) -> bool {
        self.audio_id == Some(audio_id) || self.also.contains(&audio_id)
    }
}

/// Reads a file of queries.
pub(super) fn read(path: &Path) -> Result<Vec<Query>, LocalError> {
    let cannot = |why: String| LocalError::new(format!("cannot read {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    let queries = parse(&text).map_err(cannot)?;
    if queries.is_empty() {
        return Err(cannot("it has no queries".into()));
    }
    Ok(queries)
}

fn parse(text: &str) -> Result<Vec<Query>, String> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let bad = |why: &str| format!("line {}: {why}", index + 1);
            let query: Query = serde_json::from_str(line).map_err(|_| {
                bad(r#"is not an object with "query", "context", "audio_id" (null if none fits) and "also""#)
            })?;
            if query.query.trim().is_empty() {
                return Err(bad("`query` must not be empty"));
            }
            if query.audio_id.is_none() && !query.also.is_empty() {
                return Err(bad("`also` has recordings, but `audio_id` has none"));
            }
            Ok(query)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01980000-0000-7000-8000-000000000001";

    #[test]
    fn a_query_says_which_recordings_are_right() {
        let id = Uuid::try_parse(ID).unwrap();
        let text = format!(
            "{{\"query\": \"a\", \"audio_id\": \"{ID}\"}}\n\n{{\"query\": \"b\", \"audio_id\": null, \"context\": null}}"
        );
        let queries = parse(&text).unwrap();
        let right: Vec<bool> = queries.iter().map(|query| query.is_right(id)).collect();
        assert_eq!(right, [true, false]);
        let text = format!(
            "{{\"query\": \"a\", \"audio_id\": \"{}\", \"also\": [\"{ID}\"]}}",
            Uuid::nil()
        );
        assert!(parse(&text).unwrap()[0].is_right(id));
    }

    #[test]
    fn a_line_that_is_no_query_is_named() {
        for line in [
            "7".to_owned(),
            "{\"query\": \"a\", \"audio_id\": \"x\"}".to_owned(),
            "{\"query\": \" \", \"audio_id\": null}".to_owned(),
            "{\"query\": \"a\", \"audio_id\": null, \"contxt\": \"b\"}".to_owned(),
            format!("{{\"query\": \"a\", \"audio_id\": null, \"also\": [\"{ID}\"]}}"),
        ] {
            let error = parse(&format!("\n{line}\n")).unwrap_err();
            assert!(error.starts_with("line 2: "), "{line}: {error}");
        }
    }
}
