//! Where the catalogue is: a database, opened for a command.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use assistant::Embeddings;
use shared::caller::{Caller, Permissions};
use shared::causes::with_causes;
use shared::database::Database;
use shared::store::Store;
use tokio::time::Instant;

use crate::database::LocalDatabase;
use crate::error::LocalError;

/// Timeout for a statement.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A database with a catalogue.
pub(super) struct Place {
    database: LocalDatabase,
    /// The catalogue, for the role of the functions or one with more rights.
    pub(super) store: Store,
}

impl Place {
    /// Opens the database, and brings its schema up to date.
    pub(super) async fn open() -> Result<Self, LocalError> {
        let database = LocalDatabase::open_or_join().await?;
        if let Err(error) = database.migrate().await {
            database.close().await;
            return Err(error);
        }
        let store = Store::new(Arc::new(Database::new(database.config.clone())));
        Ok(Self { database, store })
    }

    /// What it is, for the person at the terminal.
    pub(super) fn description(&self) -> &str {
        &self.database.description
    }

    /// The catalogue for the role that may delete.
    pub(super) fn store_of_maintain(&self) -> Store {
        let config = self.database.maintain_config.database.clone();
        Store::new(Arc::new(Database::new(config)))
    }

    /// Whether the role that may delete has settings of its own.
    pub(super) fn knows_maintain(&self) -> bool {
        self.database.maintain_config.has_own_database
    }

    pub(super) async fn close(self) {
        let Self { database, store } = self;
        // Its connections end before the server does.
        drop(store);
        database.close().await;
    }
}

/// Who searches: nobody in particular.
pub(super) fn caller() -> Caller {
    Caller {
        owner: None,
        permissions: Permissions::default(),
        deadline: deadline(),
    }
}

/// Until when a statement may take.
pub(super) fn deadline() -> Instant {
    Instant::now() + TIMEOUT
}

/// The model that says what texts mean, if one is configured.
pub(super) async fn embeddings() -> Result<Option<Embeddings>, LocalError> {
    let read = Embeddings::read(|name| env::var(name).ok()).await;
    read.map_err(|error| LocalError::new(error.to_string()))
}

/// Says what could not be done, and why.
pub(super) fn failed<E>(what: &str) -> impl Fn(E) -> LocalError
where
    E: std::error::Error + 'static,
{
    move |error| LocalError::new(format!("{what}: {}", with_causes(&error)))
}
