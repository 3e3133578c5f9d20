//! Reading the catalogue.

use serde::Serialize;
use tokio::time::Instant;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::recording::Recording;
use crate::caller::Caller;
use crate::database::DatabaseError;
use crate::problem::Problem;
use crate::store::Store;
use crate::store::statements::{KNOWN_RECORDINGS, LIST_RECORDINGS, WHOLE_RECORDINGS};

/// A stored recording, as a list shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    /// The recording, without its transcript.
    #[serde(flatten)]
    pub recording: Recording,
    /// How many characters its transcript has.
    pub transcript_characters: i32,
    /// The model of its embedding, if it has one.
    pub embedding_model: Option<String>,
}

/// A page of all recordings, in the order of their ids.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(
    store: &Store,
    deadline: Instant,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Listed>, DatabaseError> {
    let rows = store
        .catalogue(
            deadline,
            LIST_RECORDINGS,
            &[(&after, Type::UUID), (&limit, Type::INT8)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Listed {
                recording: Recording {
                    audio_id: row.try_get("audio_id")?,
                    filename: row.try_get("filename")?,
                    location: row.try_get("location")?,
                    title: row.try_get("title")?,
                    summary: row.try_get("summary")?,
                    transcript: None,
                    language: row.try_get("language")?,
                    duration_seconds: row.try_get("duration_seconds")?,
                    tags: row.try_get("tags")?,
                    metadata: row.try_get("metadata")?,
                    is_active: row.try_get("is_active")?,
                },
                transcript_characters: row.try_get("transcript_characters")?,
                embedding_model: row.try_get("embedding_model")?,
            })
        })
        .collect()
}

/// A page of all recordings as they were imported, in the order of their ids.
///
/// # Errors
/// [`DatabaseError`].
pub async fn whole(
    store: &Store,
    deadline: Instant,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Recording>, DatabaseError> {
    let rows = store
        .catalogue(
            deadline,
            WHOLE_RECORDINGS,
            &[(&after, Type::UUID), (&limit, Type::INT8)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Recording {
                audio_id: row.try_get("audio_id")?,
                filename: row.try_get("filename")?,
                location: row.try_get("location")?,
                title: row.try_get("title")?,
                summary: row.try_get("summary")?,
                transcript: row.try_get("transcript")?,
                language: row.try_get("language")?,
                duration_seconds: row.try_get("duration_seconds")?,
                tags: row.try_get("tags")?,
                metadata: row.try_get("metadata")?,
                is_active: row.try_get("is_active")?,
            })
        })
        .collect()
}

/// Those of the ids that are in the catalogue, active or not, with the location of each.
///
/// # Errors
/// A database problem.
pub async fn known(
    store: &Store,
    caller: &Caller,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, Option<String>)>, Problem> {
    let rows = store
        .query(caller, KNOWN_RECORDINGS, &[(&ids, Type::UUID_ARRAY)])
        .await?;
    let known: Result<_, DatabaseError> = rows
        .iter()
        .map(|row| Ok((row.try_get("audio_id")?, row.try_get("location")?)))
        .collect();
    Ok(known?)
}
