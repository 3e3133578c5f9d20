//! A row of the old tables: a message, with what is known of its conversation.

use shared::database::DatabaseError;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

/// A message and its conversation.
pub(super) struct OldRow {
    pub(super) session_id: Uuid,
    /// Whether the conversation has a row of its own.
    pub(super) has_row: bool,
    pub(super) created_at: Option<OffsetDateTime>,
    pub(super) updated_at: Option<OffsetDateTime>,
    pub(super) is_active: bool,
    /// The user that the conversation names, else the one whom all of its messages name.
    pub(super) user: Option<String>,
    /// Whether questions and answers are equally many, and none of the answers comes too early.
    pub(super) is_even: bool,
    /// `None` if it has no message.
    pub(super) message: Option<OldMessage>,
}

/// A message.
pub(super) struct OldMessage {
    pub(super) message_id: String,
    pub(super) is_question: bool,
    pub(super) content: String,
    pub(super) said_at: Option<OffsetDateTime>,
    pub(super) audio_files: Option<String>,
    pub(super) function_calls: Option<String>,
    pub(super) extra_data: Option<String>,
}

impl OldRow {
    pub(super) fn read(row: &Row) -> Result<Self, DatabaseError> {
        let session_user: Option<String> = row.try_get("session_user")?;
        let first_user: Option<String> = row.try_get("first_user")?;
        let last_user: Option<String> = row.try_get("last_user")?;
        let is_there: Option<i32> = row.try_get("id")?;
        let message = match is_there {
            None => None,
            Some(_) => Some(OldMessage::read(row)?),
        };
        Ok(Self {
            session_id: row.try_get("session_id")?,
            has_row: row.try_get("has_row")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            is_active: row.try_get::<_, Option<bool>>("is_active")?.unwrap_or(true),
            user: session_user
                .or_else(|| first_user.filter(|user| Some(user) == last_user.as_ref())),
            is_even: row.try_get("is_even")?,
            message,
        })
    }
}

impl OldMessage {
    fn read(row: &Row) -> Result<Self, DatabaseError> {
        let role: &str = row.try_get("role")?;
        Ok(Self {
            message_id: row.try_get("message_id")?,
            is_question: role == "user",
            content: row.try_get("content")?,
            said_at: row.try_get("said_at")?,
            audio_files: row.try_get("audio_files")?,
            function_calls: row.try_get("function_calls")?,
            extra_data: row.try_get("extra_data")?,
        })
    }
}
