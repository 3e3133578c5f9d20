//! The embeddings of recordings, and the indexes that need an extension.

use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::only_row::only_row;
use crate::database::DatabaseError;
use crate::store::Store;
use crate::store::statements::{INDEX_RECORDINGS, SET_EMBEDDINGS, WITHOUT_EMBEDDING};

/// A recording that needs an embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Unembedded {
    /// Its id.
    pub audio_id: Uuid,
    /// When its text was last changed; goes back with the embedding, which is refused if that has changed.
    pub updated_at: OffsetDateTime,
    /// Its title.
    pub title: String,
    /// Its keywords.
    pub tags: Vec<String>,
    /// What it is about.
    pub summary: Option<String>,
    /// The first 10,000 characters of what is said in it.
    pub transcript: Option<String>,
}

/// The embedding of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// The recording.
    pub audio_id: Uuid,
    /// As in [`Unembedded`].
    pub updated_at: OffsetDateTime,
    /// The numbers.
    pub vector: Vec<f32>,
}

/// A page of the active recordings that have no embedding of this model, in the order of their ids.
///
/// # Errors
/// [`DatabaseError`].
pub async fn without_embedding(
    store: &Store,
    deadline: Instant,
    model: &str,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Unembedded>, DatabaseError> {
    let rows = store
        .catalogue(
            deadline,
            WITHOUT_EMBEDDING,
            &[
                (&model, Type::TEXT),
                (&after, Type::UUID),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Unembedded {
                audio_id: row.try_get("audio_id")?,
                updated_at: row.try_get("updated_at")?,
                title: row.try_get("title")?,
                tags: row.try_get("tags")?,
                summary: row.try_get("summary")?,
                transcript: row.try_get("transcript")?,
            })
        })
        .collect()
}

/// Stores the embeddings of recordings whose text has not changed since; returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_embeddings(
    store: &Store,
    deadline: Instant,
    model: &str,
    embeddings: &[Embedded],
) -> Result<i64, DatabaseError> {
    let ids: Vec<_> = embeddings.iter().map(|it| it.audio_id).collect();
    let times: Vec<_> = embeddings.iter().map(|it| it.updated_at).collect();
    let numbers: Vec<f32> = embeddings
        .iter()
        .flat_map(|it| it.vector.iter().copied())
        .collect();
    let lengths: Vec<i32> = embeddings
        .iter()
        .map(|it| i32::try_from(it.vector.len()).unwrap_or(i32::MAX))
        .collect();
    let rows = store
        .catalogue(
            deadline,
            SET_EMBEDDINGS,
            &[
                (&model, Type::TEXT),
                (&ids, Type::UUID_ARRAY),
                (&times, Type::TIMESTAMPTZ_ARRAY),
                (&numbers, Type::FLOAT4_ARRAY),
                (&lengths, Type::INT4_ARRAY),
            ],
        )
        .await?;
    Ok(only_row(&rows)?.try_get("changed")?)
}

/// Brings the indexes up to what the server offers (trigrams, pgvector), after an import. Only the owner of
/// the table can; for any other role, and on a server that offers neither, it does nothing.
///
/// # Errors
/// [`DatabaseError`].
pub async fn index(store: &Store, deadline: Instant) -> Result<(), DatabaseError> {
    store
        .catalogue(deadline, INDEX_RECORDINGS, &[])
        .await
        .map(|_| ())
}
