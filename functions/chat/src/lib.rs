//! `POST /chat`: one turn. Stores the user's message, asks the model, stores and returns the answer.

use std::sync::Arc;

use assistant::{Assistant, Delivery, TurnEnd};
use serde::Serialize;
use serde_json::Value;
use shared::http::endpoint::{Endpoint, Reply};
use shared::http::request::Request;
use shared::http::route::Route;
use shared::ids::new_id;
use shared::observed;
use shared::problem::Problem;
use shared::store::turns::Question;
use uuid::Uuid;

/// The longest `query`, in characters.
const MAX_QUERY_CHARACTERS: usize = 32_000;

/// The longest `metadata` and the longest `audio_files`, in bytes of JSON.
const MAX_JSON_BYTES: usize = 16 * 1024;

/// The function.
#[derive(Debug)]
pub struct Chat {
    assistant: Arc<Assistant>,
}

#[derive(Serialize)]
struct ChatReply<'a> {
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
#[derive(Serialize)]
struct UsageReply {
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
}

impl Chat {
    /// The function with its assistant.
    #[must_use]
    pub fn new(assistant: Arc<Assistant>) -> Self {
        Self { assistant }
    }
}

impl Endpoint for Chat {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ROUTES: &'static [Route] = &[Route::post("/chat")];

    /// # Errors
    /// Every problem of the contract except those of cursors.
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        let question = question(&request)?;
        observed::session(question.session_id);
        let end = self
            .assistant
            .turn(request.caller(), &question, Delivery::Whole)
            .await?;
        let reply = reply(&question, &end)?;
        Ok(if end.is_replayed {
            reply.replayed()
        } else {
            reply
        })
    }
}

fn question(request: &Request) -> Result<Question, Problem> {
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
    Ok(Question {
        content: fields.required_text("query", MAX_QUERY_CHARACTERS)?,
        session_id,
        message_id: message_id.unwrap_or_else(new_id),
        audio_files: fields.optional_objects("audio_files", MAX_JSON_BYTES)?,
        metadata: fields.optional_object("metadata", MAX_JSON_BYTES)?,
    })
}

fn reply(question: &Question, end: &TurnEnd) -> Result<Reply, Problem> {
    let answer = &end.answer;
    Reply::json(&ChatReply {
        response: &answer.content,
        query: &question.content,
        audio_files: &answer.audio_files,
        audio_provided: !answer.audio_files.is_empty(),
        // `seq` has no gaps.
        conversation_length: end.seq,
        session_id: question.session_id,
        message_id: question.message_id,
        response_id: answer.response_id,
        function_calls: &answer.function_calls,
        model: &answer.model,
        finish_reason: answer.finish_reason.as_deref(),
        usage: UsageReply {
            input_tokens: answer.usage.input_tokens,
            output_tokens: answer.usage.output_tokens,
        },
    })
}
