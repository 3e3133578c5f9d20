//! A turn: a user's message and the assistant's answer, in both tables.
//!
//! Two statements, with nothing held in between. [`begin`] stores the message and takes a lease on
//! the session; [`finish`] stores the answer and releases the lease. If the process dies in
//! between, a message without an answer remains, and a lease that expires. Both are idempotent.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};
use uuid::Uuid;

use super::Store;
use super::derived::{characters, digest, json_bytes, title};
use super::statements::{ABANDON_TURN, BEGIN_TURN, FINISH_TURN};
use crate::caller::Caller;
use crate::database::DatabaseError;
use crate::problem::Problem;

/// A user's message that asks for an answer.
#[derive(Debug)]
pub struct Question {
    /// The session it belongs to; opened if the id is unused.
    pub session_id: Uuid,
    /// Its id; the same id in the same session is the same question.
    pub message_id: Uuid,
    /// The user's text.
    pub content: String,
    /// The audio the user sent.
    pub audio_files: Option<Value>,
    /// The caller's metadata.
    pub metadata: Option<Value>,
}

/// The right to work on a turn. A new one is made for every call, before the first statement. Its id becomes the
/// id of the answer, which so says under which lease it was written.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Distinguishes this call from any other that works, or worked, on the same turn.
    pub lease_id: Uuid,
    /// After this time another call may take over the turn.
    pub duration: Duration,
    /// Whether the answer is streamed, and can be read while it is being written.
    pub is_streamed: bool,
    /// How long a streamed turn that holds the session may be silent before this one takes its place.
    pub dead_after: Duration,
}

/// A message before the question, for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextMessage {
    /// `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// How much of the earlier conversation is read for the model. The latest messages are taken first, and
/// whole; one that is larger than all of it is shortened in the middle.
#[derive(Debug, Clone, Copy)]
pub struct ContextLimits {
    /// The maximum number of messages.
    pub messages: i64,
    /// The maximum number of tokens in all of them together, as `chat_tokens_v1` estimates them.
    pub tokens: f64,
}

/// How much of the earlier conversation the model was shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The number of earlier messages.
    pub messages: i64,
    /// How many earlier messages there are that it was not shown.
    pub left_out: i64,
    /// How many messages were shortened, the question included.
    pub shortened: i64,
}

impl Shown {
    /// What the answer's metadata says of it; none if the model was shown everything.
    fn metadata(self) -> Option<Value> {
        (self.left_out > 0 || self.shortened > 0).then(|| json!({ "context": self }))
    }
}

/// A turn in progress.
#[derive(Debug)]
pub struct Turn {
    /// The session.
    pub session_id: Uuid,
    /// The lease, which this turn holds; also the id of the answer.
    pub lease_id: Uuid,
    /// Whether the answer is streamed.
    pub is_streamed: bool,
    /// The position of the question in its session.
    pub question_seq: i64,
    /// The messages before the question, oldest first.
    pub context: Vec<ContextMessage>,
    /// Whether there is a recording to recommend.
    pub has_recordings: bool,
    /// Whether the oldest of them is shortened.
    pub context_is_shortened: bool,
}

impl Turn {
    fn read(row: &Row, session_id: Uuid, lease: Lease) -> Result<Self, DatabaseError> {
        let list = |name| Ok::<_, DatabaseError>(row.try_get::<_, Option<Vec<String>>>(name)?);
        let roles = list("context_roles")?.unwrap_or_default();
        let contents = list("context_contents")?.unwrap_or_default();
        let latest_first = roles.into_iter().zip(contents).rev();
        let context = latest_first
            .map(|(role, content)| ContextMessage { role, content })
            .collect();
        Ok(Self {
            session_id,
            lease_id: lease.lease_id,
            is_streamed: lease.is_streamed,
            question_seq: row.try_get("question_seq")?,
            context,
            has_recordings: row.try_get("has_recordings")?,
            context_is_shortened: row.try_get("context_is_shortened")?,
        })
    }
}

/// An assistant's message, without its id.
#[derive(Debug)]
pub struct Answer {
    /// Its text.
    pub content: String,
    /// The recordings it recommends.
    pub audio_files: Vec<Value>,
    /// The calls the model made.
    pub function_calls: Vec<Value>,
    /// The model that wrote it.
    pub model: String,
    /// Why the answer ended: `stop`, `length` or `content_filter` if the provider said so, `stopped` if the
    /// caller stopped it.
    pub finish_reason: Option<String>,
    /// What the provider counted.
    pub usage: Usage,
}

/// Tokens, as far as the provider counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens the model read.
    pub input_tokens: Option<i64>,
    /// Those of them that it had read before.
    pub cached_input_tokens: Option<i64>,
    /// Tokens the model wrote.
    pub output_tokens: Option<i64>,
}

/// How long an answer took.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From asking the model until the end of the answer.
    pub latency: Duration,
    /// From asking the model until its first text, if the answer was streamed and has any.
    pub first_token: Option<Duration>,
}

impl Answer {
    fn read(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            content: row.try_get("content")?,
            audio_files: from_array(row.try_get("audio_files")?),
            function_calls: from_array(row.try_get("function_calls")?),
            // An answer that was taken along from elsewhere may name none.
            model: row
                .try_get::<_, Option<String>>("model")?
                .unwrap_or_else(|| "unknown".into()),
            finish_reason: row.try_get("finish_reason")?,
            usage: Usage {
                input_tokens: row.try_get("input_tokens")?,
                // Not part of a replayed answer.
                cached_input_tokens: None,
                output_tokens: row.try_get("output_tokens")?,
            },
        })
    }
}

/// An answer and where it is stored.
#[derive(Debug)]
pub struct StoredAnswer {
    /// The position of the question in its session.
    pub question_seq: i64,
    /// The id of the answer.
    pub response_id: Uuid,
    /// The answer.
    pub answer: Answer,
    /// The position of the answer in its session.
    pub seq: i64,
}

impl StoredAnswer {
    pub(super) fn read(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            question_seq: row.try_get("question_seq")?,
            response_id: row.try_get("response_id")?,
            answer: Answer::read(row)?,
            seq: row.try_get("answer_seq")?,
        })
    }
}

/// What went wrong in a turn that is given up, where the record keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnFailure {
    /// The model failed.
    ModelError {
        /// The position of the question.
        question_seq: i64,
    },
    /// The model took too long.
    ModelTimeout {
        /// The position of the question.
        question_seq: i64,
    },
}

/// How a turn begins.
#[derive(Debug)]
pub enum TurnStart {
    /// The model has to be asked.
    Started(Turn),
    /// The question was answered before.
    Replayed(StoredAnswer),
    /// The turn is in progress and streamed, and this call would stream it as well: the text is there to be read.
    Streaming {
        /// The position of the question.
        question_seq: i64,
        /// The id that the answer will have.
        response_id: Uuid,
    },
}

/// Begins a turn, or finds the stored answer if the question was answered before.
///
/// # Errors
/// [`Problem::SessionNotFound`], [`Problem::MessageIdReused`], [`Problem::SessionInactive`],
/// [`Problem::SessionBusy`], or a database problem.
pub async fn begin(
    store: &Store,
    caller: &Caller,
    question: &Question,
    lease: Lease,
    context: ContextLimits,
) -> Result<TurnStart, Problem> {
    let rows = store
        .query(
            caller,
            BEGIN_TURN,
            &[
                (&question.session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&title(&question.content), Type::TEXT),
                (&question.message_id, Type::UUID),
                (&question.content, Type::TEXT),
                (&digest(&question.content), Type::BYTEA),
                (&characters(&question.content), Type::INT4),
                (&json_bytes(&question.content)?, Type::INT8),
                (&question.audio_files, Type::JSONB),
                (&length(question.audio_files.as_ref()), Type::INT4),
                (&question.metadata, Type::JSONB),
                (&lease.lease_id, Type::UUID),
                (&lease.duration.as_secs_f64(), Type::FLOAT8),
                (&lease.is_streamed, Type::BOOL),
                (&lease.dead_after.as_secs_f64(), Type::FLOAT8),
                (&context.messages, Type::INT8),
                (&context.tokens, Type::FLOAT8),
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| DatabaseError::unexpected("no row of a turn's outcome"))?;
    let outcome: String = column(row, "outcome")?;
    match outcome.as_str() {
        "started" => Ok(TurnStart::Started(Turn::read(
            row,
            question.session_id,
            lease,
        )?)),
        "answered" => Ok(TurnStart::Replayed(StoredAnswer::read(row)?)),
        "streaming" => Ok(TurnStart::Streaming {
            question_seq: column(row, "question_seq")?,
            response_id: column(row, "response_id")?,
        }),
        "not_found" => Err(Problem::SessionNotFound(question.session_id)),
        "reused" => Err(Problem::MessageIdReused),
        "inactive" => Err(Problem::SessionInactive),
        "busy" => Err(Problem::SessionBusy),
        _ => Err(DatabaseError::unexpected("an unknown outcome of a turn's begin").into()),
    }
}

/// Stores the answer of a turn under the id of its lease, and releases the lease. Returns the position of the answer, which is also the number of messages the session then has.
///
/// # Errors
/// [`Problem::SessionBusy`] when the lease expired and another call took over the turn,
/// [`Problem::SessionNotFound`] when the session was erased meanwhile; then nothing is stored. Or a
/// database problem.
pub async fn finish(
    store: &Store,
    caller: &Caller,
    turn: &Turn,
    answer: &Answer,
    timing: Timing,
    shown: Shown,
) -> Result<i64, Problem> {
    let audio_files = as_array(&answer.audio_files);
    let rows = store
        .query(
            caller,
            FINISH_TURN,
            &[
                (&turn.session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&turn.lease_id, Type::UUID),
                (&turn.question_seq, Type::INT8),
                (&turn.lease_id, Type::UUID),
                (&answer.content, Type::TEXT),
                (&characters(&answer.content), Type::INT4),
                (&json_bytes(&answer.content)?, Type::INT8),
                (&audio_files, Type::JSONB),
                (&length(audio_files.as_ref()), Type::INT4),
                (&as_array(&answer.function_calls), Type::JSONB),
                (&shown.metadata(), Type::JSONB),
                (&answer.model, Type::TEXT),
                (&answer.finish_reason, Type::TEXT),
                (&answer.usage.input_tokens, Type::INT8),
                (&answer.usage.cached_input_tokens, Type::INT8),
                (&answer.usage.output_tokens, Type::INT8),
                (&milliseconds(Some(timing.latency)), Type::INT4),
                (&milliseconds(timing.first_token), Type::INT4),
                (&turn.is_streamed, Type::BOOL),
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| DatabaseError::unexpected("no row of a turn's end"))?;
    let outcome: String = column(row, "outcome")?;
    match outcome.as_str() {
        "finished" => Ok(column(row, "seq")?),
        "busy" => Err(Problem::SessionBusy),
        "not_found" => Err(Problem::SessionNotFound(turn.session_id)),
        _ => Err(DatabaseError::unexpected("an unknown outcome of a turn's end").into()),
    }
}

/// Releases the lease of a turn that will not finish, so that it can be retried immediately, and
/// records its failure if there is one.
///
/// # Errors
/// A database problem; then the lease expires by itself.
pub async fn abandon(
    store: &Store,
    caller: &Caller,
    session_id: Uuid,
    lease_id: Uuid,
    failure: Option<TurnFailure>,
) -> Result<(), Problem> {
    let (kind, question_seq) = match failure {
        None => (None, None),
        Some(TurnFailure::ModelError { question_seq }) => (Some("model_error"), Some(question_seq)),
        Some(TurnFailure::ModelTimeout { question_seq }) => {
            (Some("model_timeout"), Some(question_seq))
        }
    };
    store
        .query(
            caller,
            ABANDON_TURN,
            &[
                (&session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&lease_id, Type::UUID),
                (&kind, Type::TEXT),
                (&question_seq, Type::INT8),
            ],
        )
        .await?;
    Ok(())
}

fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &str) -> Result<T, DatabaseError> {
    Ok(row.try_get(name)?)
}

fn milliseconds(duration: Option<Duration>) -> Option<i32> {
    i32::try_from(duration?.as_millis()).ok()
}

/// The number of items in an array; 0 for anything else.
fn length(array: Option<&Value>) -> i32 {
    let items = array.and_then(Value::as_array).map_or(0, Vec::len);
    i32::try_from(items).unwrap_or(i32::MAX)
}

/// An empty list is stored as null, not as an empty array.
fn as_array(items: &[Value]) -> Option<Value> {
    (!items.is_empty()).then(|| Value::Array(items.to_vec()))
}

fn from_array(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}
