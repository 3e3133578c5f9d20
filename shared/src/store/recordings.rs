//! The table `audio_resources`: the catalogue of recordings that the assistant may recommend, and the search
//! in it.

use openssl::sha::sha256;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::Store;
use super::statements::{
    CHANGED_RECORDINGS, INDEX_RECORDINGS, KNOWN_RECORDINGS, LIST_RECORDINGS, PUT_RECORDINGS,
    REMOVE_RECORDINGS, SEARCH_RECORDINGS, SET_EMBEDDINGS, WHOLE_RECORDINGS, WITHOUT_EMBEDDING,
};
use crate::caller::Caller;
use crate::database::DatabaseError;
use crate::problem::Problem;

/// The longest transcript that is stored, in characters. Its first 60,000 are searched.
pub const MAX_TRANSCRIPT_CHARACTERS: usize = 200_000;

/// A recording. No text in it may contain U+0000, which PostgreSQL cannot store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Its id.
    pub audio_id: Uuid,
    /// The name of its file.
    pub filename: String,
    /// Where it can be fetched, as `https://…` or `s3://…`, if that is known.
    #[serde(default)]
    pub location: Option<String>,
    /// Its title.
    pub title: String,
    /// What it is about, in a few sentences.
    #[serde(default)]
    pub summary: Option<String>,
    /// What is said in it.
    #[serde(default)]
    pub transcript: Option<String>,
    /// Its language as in BCP 47, such as `en` or `de-AT`; `None` if unknown.
    #[serde(default)]
    pub language: Option<String>,
    /// How long it is, in seconds; not negative.
    #[serde(default)]
    pub duration_seconds: Option<f64>,
    /// Keywords.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whatever else the installation keeps about it.
    #[serde(default)]
    pub metadata: Option<Value>,
    /// Others are never found, but links to them go on working.
    #[serde(default = "active")]
    pub is_active: bool,
}

fn active() -> bool {
    true
}

impl Recording {
    /// What tells whether it is the same as the stored one.
    ///
    /// # Errors
    /// [`DatabaseError`] if it cannot be written as JSON.
    fn digest(&self) -> Result<[u8; 32], DatabaseError> {
        let written = serde_json::to_vec(self);
        Ok(sha256(&written.map_err(|_| {
            DatabaseError::unexpected("a recording that is no JSON")
        })?))
    }
}

/// What a text means, in the eyes of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The model. Only embeddings of the same one can be compared.
    pub model: String,
    /// Its numbers.
    pub vector: Vec<f32>,
}

/// What to search for, and where.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The query, in any language of the catalogue.
    pub query: &'a str,
    /// What was said before. It may change the order of what is found, and nothing else.
    pub context: Option<&'a str>,
    /// What the query means.
    pub embedding: Option<&'a Embedding>,
    /// Recordings that are not in the catalogue.
    pub given: Option<Given<'a>>,
    /// How many to return, at most 50.
    pub limit: i32,
}

/// Recordings that are searched instead of the catalogue, without being stored.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The recordings; no more than a few hundred, because their words are made anew for each search.
    pub recordings: &'a [Recording],
    /// Only where the catalogue has no active recording.
    pub only_if_empty: bool,
}

/// A recording that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Its id.
    pub audio_id: Uuid,
    /// The name of its file.
    pub filename: String,
    /// Where it can be fetched.
    pub location: Option<String>,
    /// Its title.
    pub title: String,
    /// What it is about.
    pub summary: Option<String>,
    /// Its language.
    pub language: Option<String>,
    /// How long it is, in seconds.
    pub duration_seconds: Option<f64>,
    /// Its keywords.
    pub tags: Vec<String>,
    /// How well it fits, from 0 to 1: the cosine, where the query and it have an embedding of the same model;
    /// otherwise the share of the query's weight that matched.
    pub relevance: f64,
    /// The share of the query's weight that matched, if any, and its rank by that.
    pub words: Option<Ranked>,
    /// The cosine of the two embeddings, and its rank by that, if it is among the nearest.
    pub meaning: Option<Ranked>,
    /// The words of the query that matched.
    pub matched: Vec<String>,
}

/// A place in one of the two lists that a search combines.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ranked {
    /// The measure of that list.
    pub score: f64,
    /// The place, from 1.
    pub rank: i64,
}

/// What [`put`] did. All other recordings were there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Put {
    /// How many are new.
    pub added: i64,
    /// How many differed from what was stored.
    pub changed: i64,
}

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

impl Found {
    fn read(row: &Row) -> Result<Self, DatabaseError> {
        let ranked = |score: &str, rank: &str| -> Result<Option<Ranked>, DatabaseError> {
            let rank: Option<i64> = row.try_get(rank)?;
            let score: Option<f64> = row.try_get(score)?;
            Ok(rank.zip(score).map(|(rank, score)| Ranked { score, rank }))
        };
        Ok(Self {
            audio_id: row.try_get("audio_id")?,
            filename: row.try_get("filename")?,
            location: row.try_get("location")?,
            title: row.try_get("title")?,
            summary: row.try_get("summary")?,
            language: row.try_get("language")?,
            duration_seconds: row.try_get("duration_seconds")?,
            tags: row.try_get("tags")?,
            relevance: row.try_get("relevance")?,
            words: ranked("words_score", "words_rank")?,
            meaning: ranked("meaning_score", "meaning_rank")?,
            matched: row.try_get("matched")?,
        })
    }
}

/// Finds recordings, best first.
///
/// # Errors
/// A database problem.
pub async fn search(
    store: &Store,
    caller: &Caller,
    search: &Search<'_>,
) -> Result<Vec<Found>, Problem> {
    let given = search.given;
    let embedding = search.embedding;
    let rows = store
        .query(
            caller,
            SEARCH_RECORDINGS,
            &[
                (&search.query, Type::TEXT),
                (&search.context, Type::TEXT),
                (&embedding.map(|it| &it.vector), Type::FLOAT4_ARRAY),
                (&embedding.map(|it| &it.model), Type::TEXT),
                (&given.map(|given| Json(given.recordings)), Type::JSONB),
                (&given.is_some_and(|given| given.only_if_empty), Type::BOOL),
                (&search.limit, Type::INT4),
            ],
        )
        .await?;
    let found: Result<_, _> = rows.iter().map(Found::read).collect();
    Ok(found?)
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
    let row = only(&rows)?;
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
    Ok(only(&rows)?.try_get("changed")?)
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

/// Deletes recordings; returns how many were there. The role of the functions may not.
///
/// # Errors
/// [`DatabaseError`].
pub async fn remove(store: &Store, deadline: Instant, ids: &[Uuid]) -> Result<i64, DatabaseError> {
    let rows = store
        .maintain(deadline, REMOVE_RECORDINGS, &[(&ids, Type::UUID_ARRAY)])
        .await?;
    Ok(only(&rows)?.try_get("removed")?)
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

/// The row of a statement that always returns one.
fn only(rows: &[Row]) -> Result<&Row, DatabaseError> {
    rows.first()
        .ok_or_else(|| DatabaseError::unexpected("no row of a statement of the catalogue"))
}
