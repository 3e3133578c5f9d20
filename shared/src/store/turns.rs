//! A turn: a user's message and the assistant's answer, in both tables.
//!
//! Two statements, with nothing held in between. [`begin`] stores the message and takes a lease on
//! the session; [`finish`] stores the answer and releases the lease. If the process dies in
//! between, a message without an answer remains, and a lease that expires. Both are idempotent.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Store;
use crate::caller::Caller;
use crate::database::{DatabaseError, Parameter};
use crate::problem::Problem;

/// How often [`begin`] decides again because the session changed meanwhile. Each time another turn
/// got ahead, so after a few attempts the caller may as well be told that the session is busy.
const MAX_DECISIONS: usize = 5;

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

/// The right to work on a turn. A new one is made for every call, before the first statement.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Distinguishes this call from any other that works, or worked, on the same turn.
    pub lease_id: Uuid,
    /// After this time another call may take over the turn.
    pub duration: Duration,
}

/// A message before the question, for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextMessage {
    /// `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// How much of the earlier conversation is read for the model. The latest messages are taken first,
/// and only whole.
#[derive(Debug, Clone, Copy)]
pub struct ContextLimits {
    /// The maximum number of messages.
    pub messages: i64,
    /// The maximum number of characters in all of them together.
    pub characters: i64,
}

/// A turn in progress.
#[derive(Debug)]
pub struct Turn {
    /// The position of the question in its session.
    pub question_seq: i64,
    /// The messages before the question, oldest first.
    pub context: Vec<ContextMessage>,
}

impl Turn {
    fn read(row: &Row) -> Result<Self, DatabaseError> {
        let roles: Vec<String> = row
            .try_get::<_, Option<_>>("context_roles")?
            .unwrap_or_default();
        let contents: Vec<String> = row
            .try_get::<_, Option<_>>("context_contents")?
            .unwrap_or_default();
        let context = roles
            .into_iter()
            .zip(contents)
            .map(|(role, content)| ContextMessage { role, content })
            .collect();
        Ok(Self {
            question_seq: row.try_get("question_seq")?,
            context,
        })
    }
}

/// An assistant's message.
#[derive(Debug)]
pub struct Answer {
    /// Its id.
    pub response_id: Uuid,
    /// Its text.
    pub content: String,
    /// The recordings it recommends.
    pub audio_files: Vec<Value>,
    /// The calls the model made.
    pub function_calls: Vec<Value>,
    /// The model that wrote it.
    pub model: String,
    /// Tokens the model read.
    pub input_tokens: i64,
    /// Tokens the model wrote.
    pub output_tokens: i64,
}

impl Answer {
    fn read(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            response_id: row.try_get("response_id")?,
            content: row.try_get("content")?,
            audio_files: from_array(row.try_get("audio_files")?),
            function_calls: from_array(row.try_get("function_calls")?),
            // Answers from before models were recorded have none.
            model: row.try_get::<_, Option<_>>("model")?.unwrap_or_default(),
            input_tokens: row
                .try_get::<_, Option<_>>("input_tokens")?
                .unwrap_or_default(),
            output_tokens: row
                .try_get::<_, Option<_>>("output_tokens")?
                .unwrap_or_default(),
        })
    }
}

/// How a turn begins.
#[derive(Debug)]
pub enum TurnStart {
    /// The model has to be asked.
    Started(Turn),
    /// The question was answered before.
    Replayed {
        /// The stored answer.
        answer: Answer,
        /// The position of the answer in its session.
        seq: i64,
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
    for _ in 0..MAX_DECISIONS {
        let row = decide(store, caller, question, lease, context).await?;
        let outcome: String = row.try_get("outcome").map_err(DatabaseError::from)?;
        return match outcome.as_str() {
            "started" => Ok(TurnStart::Started(Turn::read(&row)?)),
            "answered" => Ok(TurnStart::Replayed {
                answer: Answer::read(&row)?,
                seq: row.try_get("answer_seq").map_err(DatabaseError::from)?,
            }),
            "not_found" => Err(Problem::SessionNotFound(question.session_id)),
            "reused" => Err(Problem::MessageIdReused),
            "inactive" => Err(Problem::SessionInactive),
            "busy" => Err(Problem::SessionBusy),
            _ => continue,
        };
    }
    Err(Problem::SessionBusy)
}

/// Stores the answer of a turn and releases its lease. Returns the position of the answer, which is
/// also the number of messages the session then has.
///
/// # Errors
/// [`Problem::SessionBusy`] when the lease expired and another call took over the turn; then
/// nothing is stored. Or a database problem.
pub async fn finish(
    store: &Store,
    caller: &Caller,
    session_id: Uuid,
    turn: &Turn,
    lease: Lease,
    answer: &Answer,
) -> Result<i64, Problem> {
    let audio_files = as_array(&answer.audio_files);
    let function_calls = as_array(&answer.function_calls);
    let audio_file_count = i64::try_from(answer.audio_files.len()).unwrap_or(i64::MAX);
    // The second attempt sees an answer that was stored by a statement whose own reply was lost and
    // that was still running when it was retried.
    for _ in 0..2 {
        let rows = store
            .query(
                caller,
                include_str!("sql/finish_turn.sql"),
                &[
                    (&session_id, Type::UUID),
                    (&caller.owner_key(), Type::TEXT),
                    (&lease.lease_id, Type::UUID),
                    (&turn.question_seq, Type::INT8),
                    (&answer.response_id, Type::UUID),
                    (&answer.content, Type::TEXT),
                    (&audio_files, Type::JSONB),
                    (&audio_file_count, Type::INT8),
                    (&function_calls, Type::JSONB),
                    (&answer.model, Type::TEXT),
                    (&answer.input_tokens, Type::INT8),
                    (&answer.output_tokens, Type::INT8),
                ],
            )
            .await?;
        if let Some(row) = rows.first() {
            return Ok(row.try_get("seq").map_err(DatabaseError::from)?);
        }
    }
    Err(Problem::SessionBusy)
}

/// Releases the lease of a turn that will not finish, so that it can be retried immediately.
///
/// # Errors
/// A database problem; then the lease expires by itself.
pub async fn abandon(
    store: &Store,
    caller: &Caller,
    session_id: Uuid,
    lease: Lease,
) -> Result<(), Problem> {
    let parameters: [Parameter<'_>; 3] = [
        (&session_id, Type::UUID),
        (&caller.owner_key(), Type::TEXT),
        (&lease.lease_id, Type::UUID),
    ];
    store
        .query(caller, include_str!("sql/abandon_turn.sql"), &parameters)
        .await?;
    Ok(())
}

async fn decide(
    store: &Store,
    caller: &Caller,
    question: &Question,
    lease: Lease,
    context: ContextLimits,
) -> Result<Row, DatabaseError> {
    let rows = store
        .query(
            caller,
            include_str!("sql/begin_turn.sql"),
            &[
                (&question.session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&question.message_id, Type::UUID),
                (&question.content, Type::TEXT),
                (&question.audio_files, Type::JSONB),
                (&question.metadata, Type::JSONB),
                (&lease.lease_id, Type::UUID),
                (&lease.duration.as_secs_f64(), Type::FLOAT8),
                (&context.messages, Type::INT8),
                (&context.characters, Type::INT8),
            ],
        )
        .await?;
    rows.into_iter()
        .next()
        .ok_or_else(|| DatabaseError::unexpected("no row of a turn's outcome"))
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
