//! A recording from the members of an object, whichever kind of file it comes from.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Map, Value};
use shared::ids::parse_id;
use shared::store::recordings::Recording;
use uuid::Uuid;

use super::checks::check;
use super::location::{derived_id, filename};

/// Other names of members, as files for earlier versions have them: they count where the member itself is
/// missing.
const OTHER_NAMES: [(&str, &str); 3] = [
    ("location", "url"),
    ("filename", "file"),
    ("summary", "description"),
];

/// The members of a recording in a file.
pub type Members = Map<String, Value>;

/// A line of a file that holds a recording.
#[derive(Debug)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// Where it ends in the file, in bytes.
    pub end: u64,
    /// The recording, or what is wrong with it, in words that quote nothing of it.
    pub recording: Result<Recording, String>,
    /// The names of members that mean nothing here. They are kept in the recording's `metadata`.
    pub unknown: Vec<String>,
}

impl Line {
    /// A line with these members.
    #[must_use]
    pub fn of(number: usize, end: u64, members: Result<Members, String>) -> Self {
        let (recording, unknown) = match members.and_then(read) {
            Ok((recording, unknown)) => (Ok(recording), unknown),
            Err(why) => (Err(why), Vec::new()),
        };
        Self {
            number,
            end,
            recording,
            unknown,
        }
    }
}

/// Reads a recording. Returns also the names of the members that mean nothing here, which are kept in its
/// `metadata`. A member that is null counts as missing.
///
/// Without an `audio_id` it gets one that is derived from its location or else its filename, so that another
/// import finds it again.
///
/// # Errors
/// What is wrong with it, without quoting it.
pub fn read(mut members: Members) -> Result<(Recording, Vec<String>), String> {
    members.retain(|_, value| !value.is_null());
    for (name, other) in OTHER_NAMES {
        if !members.contains_key(name)
            && let Some(value) = members.remove(other)
        {
            members.insert(name.to_owned(), value);
        }
    }
    let title = text(&mut members, "title")?.ok_or("`title` is missing")?;
    let location = text(&mut members, "location")?;
    let filename = match text(&mut members, "filename")? {
        Some(filename) => filename,
        None => location
            .as_deref()
            .and_then(filename)
            .ok_or("`filename` is missing, and there is no `location` that ends in one")?,
    };
    let audio_id = match text(&mut members, "audio_id")? {
        Some(id) => parse_id(&id).ok_or("`audio_id` must be a UUID")?,
        None => derived_id(location.as_deref().unwrap_or(&filename)),
    };
    let recording = Recording {
        audio_id,
        filename,
        location,
        title,
        summary: text(&mut members, "summary")?,
        transcript: text(&mut members, "transcript")?,
        language: text(&mut members, "language")?,
        duration_seconds: duration(&mut members)?,
        tags: tags(&mut members)?,
        is_active: active(&mut members)?,
        metadata: None,
    };
    let unknown = members.keys().filter(|name| *name != "metadata");
    let unknown: Vec<String> = unknown.cloned().collect();
    let recording = Recording {
        metadata: metadata(members)?,
        ..recording
    };
    check(&recording)?;
    Ok((recording, unknown))
}

fn text(members: &mut Members, name: &str) -> Result<Option<String>, String> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` must be a text")),
    }
}

fn duration(members: &mut Members) -> Result<Option<f64>, String> {
    match members.remove("duration_seconds") {
        None => Ok(None),
        Some(Value::Number(seconds)) => Ok(seconds.as_f64()),
        Some(_) => Err("`duration_seconds` must be a number".into()),
    }
}

fn tags(members: &mut Members) -> Result<Vec<String>, String> {
    match members.remove("tags") {
        None => Ok(Vec::new()),
        Some(tags) => {
            serde_json::from_value(tags).map_err(|_| "`tags` must be an array of texts".to_owned())
        }
    }
}

fn active(members: &mut Members) -> Result<bool, String> {
    match members.remove("is_active") {
        None => Ok(true),
        Some(Value::Bool(is_active)) => Ok(is_active),
        Some(_) => Err("`is_active` must be true or false".into()),
    }
}

/// The metadata, with the members that are left over.
fn metadata(mut members: Members) -> Result<Option<Value>, String> {
    let mut metadata = match members.remove("metadata") {
        None => Members::new(),
        Some(Value::Object(metadata)) => metadata,
        Some(_) => return Err("`metadata` must be an object".into()),
    };
    for (name, value) in members {
        if metadata.contains_key(&name) {
            // Its name may be anything.
            return Err("a member is there twice: in `metadata` and beside it".into());
        }
        metadata.insert(name, value);
    }
    Ok((!metadata.is_empty()).then(|| sorted(Value::Object(metadata))))
}

/// The same value with the members of its objects in the order of their names, so that the order in a file
/// does not make a recording look changed.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| (name, sorted(value)))
                .collect();
            members.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => value,
    }
}

/// Finds recordings that are in a file twice: the second would replace the first.
#[derive(Debug, Default)]
pub struct Distinct(HashMap<Uuid, usize>);

impl Distinct {
    /// Refuses a line whose recording an earlier line had.
    pub fn check(&mut self, line: &mut Line) {
        let Ok(recording) = &line.recording else {
            return;
        };
        match self.0.entry(recording.audio_id) {
            Entry::Vacant(free) => {
                free.insert(line.number);
            }
            Entry::Occupied(earlier) => {
                let earlier = earlier.get();
                line.recording = Err(format!(
                    "is the same recording as line {earlier}: give them an `audio_id` each"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "01980000-0000-7000-8000-000000000001";

    fn members(value: Value) -> Members {
        serde_json::from_value(value).unwrap()
    }

    fn recording(value: Value) -> Recording {
        read(members(value)).unwrap().0
    }

    #[test]
    fn every_member_is_read_and_those_that_mean_nothing_are_kept() {
        let written = json!({
            "audio_id": ID, "filename": "a.mp3", "location": "s3://bucket/a.mp3", "title": "A",
            "summary": "B", "transcript": "C", "language": "de-AT", "duration_seconds": 60,
            "tags": ["d", "e"], "metadata": { "z": { "b": 1, "a": 2 } }, "is_active": false,
            "speaker": "F", "album": null,
        });
        let (recording, unknown) = read(members(written.clone())).unwrap();
        assert_eq!(unknown, ["speaker"]);
        let mut expected = written;
        expected["duration_seconds"] = json!(60.0);
        expected["metadata"]["speaker"] = json!("F");
        expected.as_object_mut().unwrap().remove("speaker");
        expected.as_object_mut().unwrap().remove("album");
        assert_eq!(serde_json::to_value(&recording).unwrap(), expected);
        let metadata = recording.metadata.unwrap().to_string();
        assert_eq!(metadata, r#"{"speaker":"F","z":{"a":2,"b":1}}"#);
    }

    #[test]
    fn a_title_and_a_place_are_enough_and_a_repetition_is_the_same_recording() {
        let read = recording(json!({ "title": "A", "location": "https://x.example/b/c.mp3" }));
        assert_eq!(read.filename, "c.mp3");
        assert!(read.is_active);
        let again = recording(json!({ "title": "New", "location": "https://x.example/b/c.mp3" }));
        assert_eq!(again.audio_id, read.audio_id);
        let by_name = recording(json!({ "title": "A", "filename": "c.mp3" }));
        assert_ne!(by_name.audio_id, read.audio_id);
    }

    #[test]
    fn members_of_earlier_versions_are_understood() {
        let read = recording(json!({
            "title": "A", "url": "https://x.example/c.mp3", "description": "D", "artist": "E",
        }));
        assert_eq!(read.location.as_deref(), Some("https://x.example/c.mp3"));
        assert_eq!(read.summary.as_deref(), Some("D"));
        assert_eq!(read.metadata, Some(json!({ "artist": "E" })));
        let read = recording(json!({ "title": "A", "file": "samples/sleep.mp3" }));
        assert_eq!(
            (read.filename.as_str(), read.location),
            ("samples/sleep.mp3", None)
        );
        let read = recording(json!({ "title": "A", "file": "a", "filename": "b" }));
        assert_eq!(read.metadata, Some(json!({ "file": "a" })));
    }

    #[test]
    fn a_bad_recording_is_refused_without_being_quoted() {
        let good = json!({ "title": "secret", "filename": "secret.mp3" });
        assert!(read(members(good.clone())).is_ok());
        let long = |characters: usize| json!("ü".repeat(characters));
        for (member, value, expected) in [
            ("title", Value::Null, "`title` is missing"),
            ("title", json!(7), "`title` must be a text"),
            ("title", json!(" "), "`title` must not be empty"),
            ("title", json!("secret\0"), "`title` contains U+0000"),
            (
                "title",
                long(501),
                "`title` has 501 characters; it may have 500 at most",
            ),
            ("filename", Value::Null, "`filename` is missing"),
            ("audio_id", json!("secret"), "`audio_id` must be a UUID"),
            ("summary", long(10_001), "`summary` has 10001 characters"),
            (
                "transcript",
                long(200_001),
                "`transcript` has 200001 characters",
            ),
            ("location", json!("javascript:secret"), "`location` must be"),
            ("language", json!("secret?"), "`language` must be"),
            (
                "duration_seconds",
                json!(-1),
                "`duration_seconds` must not be negative",
            ),
            (
                "duration_seconds",
                json!("60"),
                "`duration_seconds` must be a number",
            ),
            ("tags", json!("secret"), "`tags` must be an array of texts"),
            ("tags", json!(["secret", ""]), "`tags` must not be empty"),
            ("tags", json!(vec!["secret"; 51]), "`tags` are 51"),
            (
                "metadata",
                json!(["secret"]),
                "`metadata` must be an object",
            ),
            (
                "metadata",
                json!({ "a": [{ "secret\0": 1 }] }),
                "`metadata` contains U+0000",
            ),
            (
                "more",
                json!("x".repeat(70_000)),
                "`metadata` is longer than 65536 bytes",
            ),
            (
                "is_active",
                json!("yes"),
                "`is_active` must be true or false",
            ),
        ] {
            let mut written = members(good.clone());
            written.insert(member.to_owned(), value);
            let error = read(written).unwrap_err();
            assert!(error.starts_with(expected), "{member}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let longest = json!({
            "title": long(500), "filename": "a", "summary": long(10_000), "transcript": long(200_000),
            "tags": vec!["t"; 50], "duration_seconds": 0,
        });
        assert!(read(members(longest)).is_ok());
    }

    #[test]
    fn the_second_of_two_lines_with_the_same_recording_is_refused() {
        let mut distinct = Distinct::default();
        let mut line = |number, title: &str, filename: &str| {
            let members = members(json!({ "title": title, "filename": filename }));
            let mut line = Line::of(number, 0, Ok(members));
            distinct.check(&mut line);
            line.recording.map(|recording| recording.title)
        };
        assert!(line(1, "A", "a").is_ok());
        assert!(line(2, "B", "b").is_ok());
        let error = line(4, "C", "a").unwrap_err();
        assert!(error.contains("line 1"), "{error}");
    }
}
