//! Recordings for tests, and the catalogue of a database.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shared::database::{Database, DatabaseConfig};
use shared::store::Store;
use shared::store::recordings::{self, Recording};
use tokio::time::Instant;

use crate::postgres;

/// Three recordings that have few words in common.
pub fn three() -> Vec<Recording> {
    [
        (
            "11111111-1111-4111-8111-111111111111",
            "Falling asleep with ease",
            "A quiet guide through the body until sleep comes.",
            "sleep.mp3",
        ),
        (
            "22222222-2222-4222-8222-222222222222",
            "Courage before an exam",
            "Breathing and a plan for the hour before a test.",
            "exam.mp3",
        ),
        (
            "33333333-3333-4333-8333-333333333333",
            "Walking through autumn leaves",
            "Forest sounds for a slow walk.",
            "walk.mp3",
        ),
    ]
    .map(|(audio_id, title, summary, filename)| {
        recording(&json!({
            "audio_id": audio_id, "title": title, "summary": summary, "filename": filename, "language": "en",
        }))
    })
    .into()
}

/// A recording with these members.
pub fn recording(members: &Value) -> Recording {
    serde_json::from_value(members.clone()).unwrap()
}

/// Puts recordings into the catalogue of a database.
pub async fn put(database: &str, recordings: &[Recording]) {
    let url = postgres::server().url(database);
    let connected = Database::new(DatabaseConfig::parse(&url).unwrap());
    let store = Store::new(Arc::new(connected));
    let deadline = Instant::now() + Duration::from_secs(20);
    recordings::put(&store, deadline, recordings).await.unwrap();
}
