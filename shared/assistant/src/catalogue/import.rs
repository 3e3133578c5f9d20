//! Recordings into the database: only what is new or has changed, and then what they mean.

use std::time::Duration;

use shared::database::DatabaseError;
use shared::store::Store;
use shared::store::recordings::{self, Embedded, Recording};
use tokio::time::Instant;

use crate::embeddings::{Embeddings, MAX_BATCH, text_of};
use crate::model::failure::ModelFailure;

/// How many recordings are compared and stored at a time.
const BATCH: usize = 500;

/// After how much text of recordings no more are added to a batch, in bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Timeout for a statement with a batch.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// How many recordings are new.
    pub added: i64,
    /// How many differ from what was stored.
    pub changed: i64,
    /// How many were there already, the same.
    pub unchanged: i64,
}

impl Imported {
    /// Whether anything is different than before.
    #[must_use]
    pub fn has_changed_something(&self) -> bool {
        self.added + self.changed > 0
    }
}

/// Why recordings were not imported, or what they mean is not known.
#[derive(Debug, thiserror::Error)]
pub enum ImportFailure {
    /// The database failed.
    #[error("the recordings cannot be stored")]
    Database(#[from] DatabaseError),
    /// The model that says what a text means failed.
    #[error(transparent)]
    Model(#[from] ModelFailure),
}

/// Stores recordings in batches. An import may be repeated, and broken off after any batch.
#[derive(Debug)]
pub struct Importer<'a> {
    store: &'a Store,
    until: Option<Instant>,
    batch: Vec<Recording>,
    batch_bytes: usize,
    imported: Imported,
}

impl<'a> Importer<'a> {
    /// An import that gives up at this time, if there is one.
    #[must_use]
    pub fn new(store: &'a Store, until: Option<Instant>) -> Self {
        Self {
            store,
            until,
            batch: Vec::new(),
            batch_bytes: 0,
            imported: Imported::default(),
        }
    }

    /// Adds a recording, whose id no other of this import may have.
    ///
    /// # Errors
    /// [`ImportFailure`] of the database. The import can be repeated.
    pub async fn add(&mut self, recording: Recording) -> Result<(), ImportFailure> {
        self.batch_bytes += bytes(&recording);
        self.batch.push(recording);
        if self.batch.len() >= BATCH || self.batch_bytes >= BATCH_BYTES {
            self.store_batch().await?;
        }
        Ok(())
    }

    /// Stores what is left.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn finish(mut self) -> Result<Imported, ImportFailure> {
        self.store_batch().await?;
        Ok(self.imported)
    }

    async fn store_batch(&mut self) -> Result<(), ImportFailure> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let total = i64::try_from(batch.len()).unwrap_or(i64::MAX);
        // Most imports change little, and texts are long.
        let places = recordings::changed(self.store, deadline(self.until), &batch).await?;
        let mut batch: Vec<Option<Recording>> = batch.into_iter().map(Some).collect();
        let changed: Vec<Recording> = places
            .into_iter()
            .filter_map(|place| batch.get_mut(place)?.take())
            .collect();
        let put = if changed.is_empty() {
            recordings::Put::default()
        } else {
            recordings::put(self.store, deadline(self.until), &changed).await?
        };
        self.imported.added += put.added;
        self.imported.changed += put.changed;
        self.imported.unchanged += total - put.added - put.changed;
        Ok(())
    }
}

/// Has the model say what those recordings mean of which that is not known, and stores it. `tell` gets the
/// number of each batch. Returns how many it were. It may be repeated, and broken off after any batch.
///
/// # Errors
/// [`ImportFailure`].
pub async fn embed_missing(
    store: &Store,
    embeddings: &Embeddings,
    until: Option<Instant>,
    mut tell: impl FnMut(usize),
) -> Result<i64, ImportFailure> {
    let page = i64::try_from(MAX_BATCH).unwrap_or(i64::MAX);
    let model = embeddings.name();
    let (mut after, mut embedded) = (None, 0);
    loop {
        let missing =
            recordings::without_embedding(store, deadline(until), model, after, page).await?;
        let Some(last) = missing.last() else {
            return Ok(embedded);
        };
        after = Some(last.audio_id);
        let texts = missing.iter().map(|it| {
            let (summary, transcript) = (it.summary.as_deref(), it.transcript.as_deref());
            text_of(&it.title, &it.tags, summary, transcript)
        });
        let vectors = embeddings.of_texts(texts.collect(), until).await?;
        let rows: Vec<Embedded> = missing
            .iter()
            .zip(vectors)
            .map(|(it, vector)| Embedded {
                audio_id: it.audio_id,
                updated_at: it.updated_at,
                vector,
            })
            .collect();
        embedded += recordings::set_embeddings(store, deadline(until), model, &rows).await?;
        tell(rows.len());
    }
}

fn deadline(until: Option<Instant>) -> Instant {
    let timeout = Instant::now() + STATEMENT_TIMEOUT;
    until.map_or(timeout, |until| until.min(timeout))
}

fn bytes(recording: &Recording) -> usize {
    let texts = [&recording.summary, &recording.transcript];
    let texts = texts.into_iter().flatten().map(String::len);
    recording.title.len() + texts.sum::<usize>()
}
