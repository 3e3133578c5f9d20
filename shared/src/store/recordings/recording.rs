//! A recording as it is imported.

use openssl::sha::sha256;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::database::DatabaseError;

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
    pub(super) fn digest(&self) -> Result<[u8; 32], DatabaseError> {
        let written = serde_json::to_vec(self);
        Ok(sha256(&written.map_err(|_| {
            DatabaseError::unexpected("a recording that is no JSON")
        })?))
    }
}
