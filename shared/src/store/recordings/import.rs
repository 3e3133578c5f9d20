//! Adding, changing and removing recordings.

use serde::Serialize;
use tokio::time::Instant;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::only_row::only_row;
use super::recording::Recording;
use crate::database::DatabaseError;
use crate::store::Store;
use crate::store::statements::{CHANGED_RECORDINGS, PUT_RECORDINGS, REMOVE_RECORDINGS};

/// What [`put`] did. All other recordings were there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Put {
    /// How many are new.
    pub added: i64,
    /// How many differed from what was stored.
    pub changed: i64,
}

/// Which of the recordings are new or differ from what is stored, as their places in the slice.
///
/// # Errors
/// [`DatabaseError`].
pub async fn changed(
    store: &Store,
    deadline: Instant,
    recordings: &[Recording],
) -> Result<Vec<usize>, DatabaseError> {
    let ids: Vec<_> = recordings.iter().map(|it| it.audio_id).collect();
    let digests: Result<Vec<_>, _> = recordings.iter().map(Recording::digest).collect();
    let digests = digests?;
    let digests: Vec<&[u8]> = digests.iter().map(<[u8; 32]>::as_slice).collect();
    let rows = store
        .catalogue(
            deadline,
            CHANGED_RECORDINGS,
            &[(&ids, Type::UUID_ARRAY), (&digests, Type::BYTEA_ARRAY)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let place: i64 = row.try_get("place")?;
            usize::try_from(place - 1)
                .map_err(|_| DatabaseError::unexpected("a place before the first recording"))
        })
        .collect()
}

/// Adds the recordings that are new and changes those that differ; a few hundred at a time. It may be repeated.
/// A recording whose text has changed loses its embedding.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put(
    store: &Store,
    deadline: Instant,
    recordings: &[Recording],
) -> Result<Put, DatabaseError> {
    let mut rows = Vec::with_capacity(recordings.len());
    for recording in recordings {
        rows.push(Written {
            recording,
            digest: format!("\\x{}", hex(&recording.digest()?)),
        });
    }
    let rows = store
        .catalogue(deadline, PUT_RECORDINGS, &[(&Json(rows), Type::JSONB)])
        .await?;
    let row = only_row(&rows)?;
    Ok(Put {
        added: row.try_get("added")?,
        changed: row.try_get("changed")?,
    })
}

/// A recording as [`PUT_RECORDINGS`] reads it.
#[derive(Debug, Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    recording: &'a Recording,
    digest: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Deletes recordings; returns how many were there. The role of the functions may not.
///
/// # Errors
/// [`DatabaseError`].
pub async fn remove(store: &Store, deadline: Instant, ids: &[Uuid]) -> Result<i64, DatabaseError> {
    let rows = store
        .maintain(deadline, REMOVE_RECORDINGS, &[(&ids, Type::UUID_ARRAY)])
        .await?;
    Ok(only_row(&rows)?.try_get("removed")?)
}
