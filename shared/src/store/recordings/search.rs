//! Searching the catalogue.

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::recording::Recording;
use crate::caller::Caller;
use crate::database::DatabaseError;
use crate::problem::Problem;
use crate::store::Store;
use crate::store::statements::SEARCH_RECORDINGS;

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
    /// How many to return, at most 40.
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
