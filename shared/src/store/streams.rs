//! The table `chat_streams`: the answer of a streamed turn while it is being written. The turn writes it in
//! pieces and learns from each write whether it is to stop; readers follow it from wherever they are.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Store;
use super::statements::{READ_STREAM, STOP_STREAM, WRITE_STREAM};
use super::turns::{StoredAnswer, Turn};
use crate::caller::Caller;
use crate::database::DatabaseError;
use crate::problem::Problem;

/// The next part of a text that is being written.
#[derive(Debug, Clone, Copy)]
pub struct StreamPiece<'a> {
    /// Its position among the pieces, from 1; the same number again replaces the piece.
    pub number: i32,
    /// Its text.
    pub text: &'a str,
    /// How many characters the text has up to the end of this piece.
    pub characters_through: i32,
}

/// What a turn learns when it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is stored.
    Kept,
    /// It is stored, and the caller wants the turn to stop.
    StopRequested,
    /// The server lost the pieces: the text has to be written again from the beginning, as piece 1.
    Emptied,
    /// The turn does not hold its lease any more.
    Lost,
    /// The session was erased.
    Erased,
}

/// A place in the text of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The question.
    pub question_seq: i64,
    /// The answer: its id is the lease under which it is written.
    pub response_id: Uuid,
    /// How many characters of it are before this place.
    pub characters: i32,
}

/// How far a turn is.
#[derive(Debug)]
pub enum Progress {
    /// No streamed turn is in progress.
    None,
    /// It is in progress, and its text is read.
    Streaming(Streamed),
    /// It is in progress, but not streamed.
    Waiting(Asked),
    /// It is not in progress any more and has no answer.
    Interrupted(Option<Asked>),
    /// It was answered.
    Answered {
        /// The question's id.
        message_id: Uuid,
        /// The question's text.
        query: String,
        /// The answer.
        stored: Box<StoredAnswer>,
    },
}

/// The question of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Its position in the session.
    pub question_seq: i64,
    /// Its id.
    pub message_id: Uuid,
}

/// A part of a text that is being written.
#[derive(Debug)]
pub struct Streamed {
    /// The question.
    pub asked: Asked,
    /// The answer.
    pub response_id: Uuid,
    /// How many characters of the text are before this part.
    pub characters_before: i32,
    /// The part.
    pub text: String,
}

/// Stores the next piece of a turn's answer, and that the turn is alive. The piece may be empty.
///
/// # Errors
/// A database problem; then it may be stored or not, and can be written again.
pub async fn write(
    store: &Store,
    caller: &Caller,
    turn: &Turn,
    piece: StreamPiece<'_>,
) -> Result<Written, Problem> {
    let rows = store
        .query(
            caller,
            WRITE_STREAM,
            &[
                (&turn.session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&turn.lease_id, Type::UUID),
                (&turn.question_seq, Type::INT8),
                (&piece.number, Type::INT4),
                (&piece.text, Type::TEXT),
                (&piece.characters_through, Type::INT4),
            ],
        )
        .await?;
    match outcome(&rows)?.1.as_str() {
        "written" => Ok(Written::Kept),
        "stop" => Ok(Written::StopRequested),
        "emptied" => Ok(Written::Emptied),
        "lost" => Ok(Written::Lost),
        "erased" => Ok(Written::Erased),
        _ => Err(DatabaseError::unexpected("an unknown outcome of writing a stream").into()),
    }
}

/// Reads how far a turn is: the one of the question named by `message_id` or by a place, else the streamed one
/// in progress. If its text is read, it begins at or before the place, if that is in it. A streamed turn counts
/// as in progress if it gave a sign of life within `dead_after`.
///
/// # Errors
/// [`Problem::SessionNotFound`]; [`Problem::MessageNotFound`] if `message_id` is no question in the session,
/// [`Problem::InvalidCursor`] if the place is in no answer to it; or a database problem.
pub async fn read(
    store: &Store,
    caller: &Caller,
    session_id: Uuid,
    message_id: Option<Uuid>,
    place: Option<Place>,
    dead_after: Duration,
) -> Result<Progress, Problem> {
    let rows = store
        .query(
            caller,
            READ_STREAM,
            &[
                (&session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&message_id, Type::UUID),
                (&place.map(|place| place.question_seq), Type::INT8),
                (&place.map(|place| place.response_id), Type::UUID),
                (&place.map(|place| place.characters), Type::INT4),
                (&dead_after.as_secs_f64(), Type::FLOAT8),
            ],
        )
        .await?;
    let (row, outcome) = outcome(&rows)?;
    match outcome.as_str() {
        "session_not_found" => Err(Problem::SessionNotFound(session_id)),
        "message_not_found" => Err(match (message_id, place) {
            (Some(message_id), None) => Problem::MessageNotFound(message_id),
            _ => Problem::InvalidCursor("Last-Event-ID"),
        }),
        "none" => Ok(Progress::None),
        "waiting" => Ok(Progress::Waiting(Asked::read(row)?)),
        "interrupted" => Ok(Progress::Interrupted(Asked::read(row).ok())),
        "streaming" => Ok(Progress::Streaming(Streamed::read(row)?)),
        "answered" => Ok(answered(row)?),
        _ => Err(DatabaseError::unexpected("an unknown outcome of reading a stream").into()),
    }
}

/// Asks the streamed turn in progress to stop, or only that of one question. Returns whether there is one; it
/// counts as in progress if it gave a sign of life within `dead_after`.
///
/// # Errors
/// [`Problem::SessionNotFound`], [`Problem::MessageNotFound`] if `message_id` is no question in the session, or
/// a database problem.
pub async fn stop(
    store: &Store,
    caller: &Caller,
    session_id: Uuid,
    message_id: Option<Uuid>,
    dead_after: Duration,
) -> Result<bool, Problem> {
    let rows = store
        .query(
            caller,
            STOP_STREAM,
            &[
                (&session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&message_id, Type::UUID),
                (&dead_after.as_secs_f64(), Type::FLOAT8),
            ],
        )
        .await?;
    let row = rows.first().ok_or(Problem::SessionNotFound(session_id))?;
    let says = |name| row.try_get::<_, bool>(name).map_err(DatabaseError::from);
    match message_id {
        Some(message_id) if !says("is_known")? => Err(Problem::MessageNotFound(message_id)),
        _ => Ok(says("is_stopping")?),
    }
}

fn outcome(rows: &[Row]) -> Result<(&Row, String), DatabaseError> {
    let row = rows
        .first()
        .ok_or_else(|| DatabaseError::unexpected("no row of a stream"))?;
    Ok((row, row.try_get("outcome")?))
}

fn answered(row: &Row) -> Result<Progress, DatabaseError> {
    Ok(Progress::Answered {
        message_id: row.try_get("message_id")?,
        query: row.try_get("query")?,
        stored: Box::new(StoredAnswer::read(row)?),
    })
}

impl Asked {
    fn read(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            question_seq: row.try_get("question_seq")?,
            message_id: row.try_get("message_id")?,
        })
    }
}

impl Streamed {
    fn read(row: &Row) -> Result<Self, DatabaseError> {
        // A piece that a failed write left out is written with the next one.
        let pieces: Vec<Option<String>> = row.try_get("pieces")?;
        Ok(Self {
            asked: Asked::read(row)?,
            response_id: row.try_get("response_id")?,
            characters_before: row.try_get("characters_before")?,
            text: pieces.into_iter().flatten().collect(),
        })
    }
}
