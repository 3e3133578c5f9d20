//! A turn's question as callers send it, and its answer as they get it: the same for every function that takes
//! turns.

use serde::Serialize;
use serde_json::Value;
use shared::http::request::Request;
use shared::ids::new_id;
use shared::observed;
use shared::problem::Problem;
use shared::store::turns::{Answer, Question};
use uuid::Uuid;

/// The longest `query`, in characters.
const MAX_QUERY_CHARACTERS: usize = 32_000;

/// The longest `metadata` and the longest `audio_files`, in bytes of JSON.
const MAX_JSON_BYTES: usize = 16 * 1024;

/// An answer as callers get it.
#[derive(Debug, Serialize)]
pub struct TurnReply<'a> {
    response: &'a str,
    query: &'a str,
    audio_files: &'a [Value],
    audio_provided: bool,
    conversation_length: i64,
    session_id: Uuid,
    message_id: Uuid,
    response_id: Uuid,
    function_calls: &'a [Value],
    model: &'a str,
    finish_reason: Option<&'a str>,
    usage: UsageReply,
}

/// Null where the provider gave no count.
#[derive(Debug, Serialize)]
struct UsageReply {
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
}

/// A question and the ids of its turn.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The session.
    pub session_id: Uuid,
    /// The question's id.
    pub message_id: Uuid,
    /// The question's text.
    pub query: &'a str,
}

impl<'a> From<&'a Question> for Asked<'a> {
    fn from(question: &'a Question) -> Self {
        Self {
            session_id: question.session_id,
            message_id: question.message_id,
            query: &question.content,
        }
    }
}

impl<'a> TurnReply<'a> {
    /// The answer to a question, with its id and its position in the session.
    #[must_use]
    pub fn new(asked: Asked<'a>, response_id: Uuid, answer: &'a Answer, seq: i64) -> Self {
        Self {
            response: &answer.content,
            query: asked.query,
            audio_files: &answer.audio_files,
            audio_provided: !answer.audio_files.is_empty(),
            // `seq` has no gaps.
            conversation_length: seq,
            session_id: asked.session_id,
            message_id: asked.message_id,
            response_id,
            function_calls: &answer.function_calls,
            model: &answer.model,
            finish_reason: answer.finish_reason.as_deref(),
            usage: UsageReply {
                input_tokens: answer.usage.input_tokens,
                output_tokens: answer.usage.output_tokens,
            },
        }
    }
}

/// Reads the question in a request's body, and notes its session for the log.
///
/// # Errors
/// [`Problem::InvalidJson`], [`Problem::InvalidRequest`], [`Problem::UnsupportedMediaType`].
pub fn question(request: &Request) -> Result<Question, Problem> {
    let fields = request.fields()?;
    let session_id = fields.optional_id("session_id")?;
    if let Some(session_id) = session_id {
        observed::session(session_id);
    }
    let message_id = fields.optional_id("message_id")?;
    let session_id = match (session_id, message_id) {
        (Some(session_id), _) => session_id,
        // The same session however often the call is repeated.
        (None, Some(message_id)) => request.caller().session_of(message_id),
        (None, None) => new_id(),
    };
    let question = Question {
        content: fields.required_text("query", MAX_QUERY_CHARACTERS)?,
        session_id,
        message_id: message_id.unwrap_or_else(new_id),
        audio_files: fields.optional_objects("audio_files", MAX_JSON_BYTES)?,
        metadata: fields.optional_object("metadata", MAX_JSON_BYTES)?,
    };
    observed::session(session_id);
    Ok(question)
}
