//! What a recording may be: lengths, and forms that callers and the database can work with.

use serde_json::Value;
use shared::store::recordings::{MAX_TRANSCRIPT_CHARACTERS, Recording};

/// The maximum number of tags.
pub const MAX_TAGS: usize = 50;

/// The longest texts, in characters.
const MAX_TITLE: usize = 500;
const MAX_SUMMARY: usize = 10_000;
const MAX_FILENAME: usize = 1_000;
const MAX_LOCATION: usize = 2_000;
const MAX_TAG: usize = 100;

/// The longest language tag: more than any registered one.
const MAX_LANGUAGE: usize = 35;

/// The largest metadata, in bytes of JSON.
const MAX_METADATA_BYTES: usize = 64 * 1024;

/// Checks a recording.
///
/// # Errors
/// What is wrong with it, without quoting it.
pub fn check(recording: &Recording) -> Result<(), String> {
    let Recording {
        audio_id: _,
        filename,
        location,
        title,
        summary,
        transcript,
        language,
        duration_seconds,
        tags,
        metadata,
        is_active: _,
    } = recording;
    filled("title", title, MAX_TITLE)?;
    filled("filename", filename, MAX_FILENAME)?;
    if let Some(location) = location {
        filled("location", location, MAX_LOCATION)?;
        check_location(location)?;
    }
    if let Some(summary) = summary {
        text("summary", summary, MAX_SUMMARY)?;
    }
    if let Some(transcript) = transcript {
        text("transcript", transcript, MAX_TRANSCRIPT_CHARACTERS)?;
    }
    if !language.as_deref().is_none_or(is_language_tag) {
        return Err("`language` must be a language tag such as en or de-AT".into());
    }
    if !duration_seconds.is_none_or(|seconds| seconds.is_finite() && seconds >= 0.0) {
        return Err("`duration_seconds` must not be negative".into());
    }
    if tags.len() > MAX_TAGS {
        let number = tags.len();
        return Err(format!(
            "`tags` are {number}; there may be {MAX_TAGS} at most"
        ));
    }
    tags.iter()
        .try_for_each(|tag| filled("tags", tag, MAX_TAG))?;
    metadata.as_ref().map_or(Ok(()), check_metadata)
}

fn filled(name: &str, value: &str, max_characters: usize) -> Result<(), String> {
    if value.trim().is_empty() {
        return Err(format!("`{name}` must not be empty"));
    }
    text(name, value, max_characters)
}

fn text(name: &str, value: &str, max_characters: usize) -> Result<(), String> {
    let characters = value.chars().count();
    if characters > max_characters {
        return Err(format!(
            "`{name}` has {characters} characters; it may have {max_characters} at most"
        ));
    }
    refuse_nul(name, value)
}

/// PostgreSQL stores U+0000 neither in text nor in jsonb.
fn refuse_nul(name: &str, value: &str) -> Result<(), String> {
    if value.contains('\0') {
        return Err(format!("`{name}` contains U+0000"));
    }
    Ok(())
}

/// A location is an address or a path. What a browser would run (`javascript:`, `data:`) has no `//`.
fn check_location(location: &str) -> Result<(), String> {
    let is_broken = |character: char| character.is_control() || character.is_whitespace();
    let (scheme, rest) = location.split_once(':').unwrap_or_default();
    let has_scheme = !scheme.is_empty() && !scheme.contains(['/', '?', '#']);
    let is_object = scheme.eq_ignore_ascii_case("s3");
    if has_scheme && !rest.starts_with("//") || location.contains(is_broken) && !is_object {
        return Err(
            "`location` must be an address such as https://… or s3://…, or a path, without white space"
                .into(),
        );
    }
    Ok(())
}

/// Whether a text looks like a tag of BCP 47: letters, then parts of letters and digits.
fn is_language_tag(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let is_language = parts.next().is_some_and(|language| {
        (2..=8).contains(&language.len()) && language.chars().all(|it| it.is_ascii_alphabetic())
    });
    let is_part = |part: &str| {
        (1..=8).contains(&part.len()) && part.chars().all(|it| it.is_ascii_alphanumeric())
    };
    is_language && tag.len() <= MAX_LANGUAGE && parts.all(is_part)
}

fn check_metadata(metadata: &Value) -> Result<(), String> {
    if !metadata.is_object() {
        return Err("`metadata` must be an object".into());
    }
    refuse_nul_inside(metadata)?;
    if metadata.to_string().len() > MAX_METADATA_BYTES {
        return Err(format!(
            "`metadata` is longer than {MAX_METADATA_BYTES} bytes"
        ));
    }
    Ok(())
}

fn refuse_nul_inside(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => refuse_nul("metadata", text),
        Value::Array(items) => items.iter().try_for_each(refuse_nul_inside),
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            refuse_nul("metadata", name)?;
            refuse_nul_inside(value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_an_address_or_a_path() {
        for (location, is_one) in [
            ("https://cdn.example/a.mp3?a=b:c", true),
            ("s3://bucket/a b.mp3", true),
            ("/audio/a.mp3", true),
            ("audio/at 10:30.mp3", false),
            ("audio/10:30.mp3", true),
            ("javascript:alert(1)", false),
            ("JavaScript:alert(1)", false),
            ("data:audio/mpeg;base64,AAAA", false),
            ("https://cdn.example/a b.mp3", false),
            ("https://cdn.example/a\n.mp3", false),
        ] {
            assert_eq!(check_location(location).is_ok(), is_one, "{location}");
        }
    }

    #[test]
    fn a_language_is_a_tag() {
        for (tag, is_one) in [
            ("en", true),
            ("de-AT", true),
            ("zh-Hant-TW", true),
            ("sl-rozaj-biske-1994", true),
            ("", false),
            ("e", false),
            ("de_AT", false),
            ("English (US)", false),
            ("de-", false),
            ("12", false),
            ("languages", false),
        ] {
            assert_eq!(is_language_tag(tag), is_one, "{tag}");
        }
    }
}
