//! The lines of an export, read.

use serde::Deserialize;
use serde_json::Value;
use shared::caller::Owner;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// The largest integer that is exact in JSON everywhere; more is no count.
const MAX_COUNT: i64 = 1 << 53;

/// A line: a session, or a message of the session before it.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line {
    Session(Box<SessionLine>),
    Message(Box<MessageLine>),
}

/// A session. What is not here is worked out from its messages.
#[derive(Debug, Deserialize)]
pub(super) struct SessionLine {
    pub session_id: Uuid,
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    pub pinned: bool,
    #[serde(default)]
    pub archived: bool,
    #[serde(default)]
    pub metadata: Option<Value>,
    pub created_at: Moment,
    #[serde(default)]
    pub updated_at: Option<Moment>,
    #[serde(default)]
    pub forked_from: Option<Origin>,
    /// Absent in what callers get.
    #[serde(default, with = "given")]
    pub owner: Option<Option<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Origin {
    pub session_id: Uuid,
    pub message_id: Uuid,
}

#[derive(Debug, Deserialize)]
pub(super) struct MessageLine {
    pub session_id: Uuid,
    pub seq: i64,
    #[serde(default)]
    pub reply_to_seq: Option<i64>,
    pub role: Role,
    pub content: String,
    pub message_id: Uuid,
    pub timestamp: Moment,
    #[serde(default)]
    pub audio_files: Option<Value>,
    #[serde(default)]
    pub function_calls: Option<Value>,
    #[serde(default)]
    pub metadata: Option<Value>,
    #[serde(default)]
    pub feedback: Option<Feedback>,
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub finish_reason: Option<String>,
    #[serde(default)]
    pub usage: Option<Usage>,
    #[serde(default)]
    pub latency_ms: Option<i32>,
    #[serde(default)]
    pub first_token_ms: Option<i32>,
    #[serde(default)]
    pub origin_message_id: Option<Uuid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    User,
    Assistant,
}

#[derive(Debug, Deserialize)]
pub(super) struct Feedback {
    pub rating: String,
    #[serde(default)]
    pub comment: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Usage {
    #[serde(default)]
    pub input_tokens: Option<i64>,
    #[serde(default)]
    pub cached_input_tokens: Option<i64>,
    #[serde(default)]
    pub output_tokens: Option<i64>,
}

/// A time in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Moment(pub OffsetDateTime);

impl TryFrom<String> for Moment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parsed = OffsetDateTime::parse(&text, &Rfc3339);
        parsed.map(Self).map_err(|_| "a time is not in RFC 3339")
    }
}

/// Tells null from absent.
mod given {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<String>>, D::Error> {
        Option::<String>::deserialize(deserializer).map(Some)
    }
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let line: Self = serde_json::from_slice(text).map_err(|error| match error.classify() {
            // The parser's text can quote the line.
            serde_json::error::Category::Data => {
                "is not a session or a message as `export` writes them".to_owned()
            }
            _ => format!("is not JSON at column {}", error.column()),
        })?;
        line.check()?;
        Ok(line)
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Session(session) => session.check(),
            Self::Message(message) => message.check(),
        }
    }
}

impl SessionLine {
    fn check(&self) -> Result<(), String> {
        refuse_nul("title", self.title.as_deref())?;
        check_object("metadata", self.metadata.as_ref())?;
        match self.owner.as_ref().and_then(Option::as_deref) {
            Some(key) if Owner::parse(key).is_none() => {
                Err("`owner` is not an owner such as jwt:alice".into())
            }
            _ => Ok(()),
        }
    }
}

impl MessageLine {
    fn check(&self) -> Result<(), String> {
        refuse_nul("content", Some(&self.content))?;
        refuse_nul("model", self.model.as_deref())?;
        refuse_nul("finish_reason", self.finish_reason.as_deref())?;
        check_object("metadata", self.metadata.as_ref())?;
        check_array("audio_files", self.audio_files.as_ref())?;
        check_array("function_calls", self.function_calls.as_ref())?;
        if let Some(feedback) = &self.feedback {
            if self.role == Role::User || !["up", "down"].contains(&feedback.rating.as_str()) {
                return Err("`feedback` must be a rating of an answer, up or down".into());
            }
            refuse_nul("comment", feedback.comment.as_deref())?;
        }
        let counts = self.usage.iter().flat_map(|usage| {
            [
                usage.input_tokens,
                usage.cached_input_tokens,
                usage.output_tokens,
            ]
        });
        if counts
            .flatten()
            .any(|count| !(0..=MAX_COUNT).contains(&count))
        {
            return Err("`usage` has a number that is no count".into());
        }
        match (self.role, self.reply_to_seq) {
            (Role::User, None) => Ok(()),
            (Role::User, Some(_)) => Err("a message of the user has `reply_to_seq`".into()),
            // Of the Python server, which could lose a question.
            (Role::Assistant, None) if self.model.is_none() => Ok(()),
            (Role::Assistant, None) => Err("an answer has no `reply_to_seq`".into()),
            (Role::Assistant, Some(question)) if (1..self.seq).contains(&question) => Ok(()),
            (Role::Assistant, Some(_)) => Err("an answer comes before its question".into()),
        }
    }
}

/// PostgreSQL stores U+0000 neither in text nor in jsonb.
fn refuse_nul(name: &str, text: Option<&str>) -> Result<(), String> {
    match text {
        Some(text) if text.contains('\0') => Err(format!("`{name}` contains U+0000")),
        _ => Ok(()),
    }
}

fn check_object(name: &str, value: Option<&Value>) -> Result<(), String> {
    match value {
        None => Ok(()),
        Some(value @ Value::Object(_)) => refuse_nul_inside(name, value),
        Some(_) => Err(format!("`{name}` is not an object")),
    }
}

fn check_array(name: &str, value: Option<&Value>) -> Result<(), String> {
    match value {
        None => Ok(()),
        Some(value @ Value::Array(_)) => refuse_nul_inside(name, value),
        Some(_) => Err(format!("`{name}` is not an array")),
    }
}

fn refuse_nul_inside(name: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => refuse_nul(name, Some(text)),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| refuse_nul_inside(name, item)),
        Value::Object(members) => members.iter().try_for_each(|(key, item)| {
            refuse_nul(name, Some(key))?;
            refuse_nul_inside(name, item)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "01980000-0000-7000-8000-000000000001";

    fn read(value: &Value) -> Result<Line, String> {
        Line::read(value.to_string().as_bytes())
    }

    #[test]
    fn a_session_of_a_caller_has_no_owner_and_one_of_the_terminal_has() {
        let line = |owner: Option<Value>| {
            let mut line = json!({
                "type": "session", "session_id": ID, "created_at": "2026-01-01T00:00:00.000001Z",
                "message_count": 2, "unknown": 1,
            });
            if let Some(owner) = owner {
                line["owner"] = owner;
            }
            match read(&line) {
                Ok(Line::Session(session)) => session.owner,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(line(None), None);
        assert_eq!(line(Some(Value::Null)), Some(None));
        assert_eq!(line(Some(json!("jwt:a"))), Some(Some("jwt:a".into())));
    }

    #[test]
    fn a_bad_line_is_refused_without_being_quoted() {
        let message = json!({
            "type": "message", "session_id": ID, "seq": 2, "reply_to_seq": 1, "role": "assistant",
            "content": "secret", "message_id": ID, "timestamp": "2026-01-01T00:00:00Z", "model": "m",
        });
        assert!(read(&message).is_ok());
        for (member, value, reason) in [
            ("type", json!("secret"), "another type"),
            ("content", json!("secret\0"), "NUL"),
            ("content", json!(["secret"]), "no text"),
            ("role", json!("secret"), "another role"),
            ("seq", json!("secret"), "no position"),
            ("message_id", json!("secret"), "no id"),
            ("timestamp", json!("secret"), "no time"),
            ("reply_to_seq", Value::Null, "an answer to nothing"),
            ("reply_to_seq", json!(2), "an answer to itself"),
            ("role", json!("user"), "a question that answers"),
            ("metadata", json!("secret"), "no object"),
            ("metadata", json!({ "a": ["secret\0"] }), "NUL inside"),
            ("audio_files", json!({ "a": "secret" }), "no array"),
            ("feedback", json!({ "rating": "secret" }), "another rating"),
            ("usage", json!({ "input_tokens": -1 }), "a negative count"),
        ] {
            let mut line = message.clone();
            line[member] = value;
            let error = read(&line).unwrap_err();
            assert!(!error.contains("secret"), "{reason}: {error}");
        }
        for text in ["", "{", "[]", "7", "{\"type\": \"message\", \"secret"] {
            let error = Line::read(text.as_bytes()).unwrap_err();
            assert!(!error.contains("secret"), "{text}: {error}");
        }
    }
}
