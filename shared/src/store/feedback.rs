//! The table `chat_feedback`: what users think of answers.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Store;
use super::statements::GIVE_FEEDBACK;
use crate::caller::Caller;
use crate::database::DatabaseError;
use crate::problem::Problem;

/// Stores a rating, `up` or `down`, and a comment for an answer in place of those there were; `None` takes
/// them back.
///
/// # Errors
/// [`Problem::SessionNotFound`], [`Problem::MessageNotFound`], [`Problem::InvalidRequest`] for a message of
/// the user, or a database problem.
pub async fn give(
    store: &Store,
    caller: &Caller,
    session_id: Uuid,
    message_id: Uuid,
    feedback: Option<(&str, Option<&str>)>,
) -> Result<(), Problem> {
    let rows = store
        .query(
            caller,
            GIVE_FEEDBACK,
            &[
                (&session_id, Type::UUID),
                (&caller.owner_key(), Type::TEXT),
                (&message_id, Type::UUID),
                (&feedback.map(|(rating, _)| rating), Type::TEXT),
                (&feedback.and_then(|(_, comment)| comment), Type::TEXT),
            ],
        )
        .await?;
    let row = rows.first().ok_or(Problem::SessionNotFound(session_id))?;
    match row.try_get("role").map_err(DatabaseError::from)? {
        Some("assistant") => Ok(()),
        Some(_) => Err(Problem::InvalidRequest(
            "`message_id` is a message of the user; feedback is given to answers".into(),
        )),
        None => Err(Problem::MessageNotFound(message_id)),
    }
}
