//! The database of a local run: the one `DATABASE_URL` or `DATABASE_SECRET_ARN` names, else a server
//! of our own. libpq's variables alone name none here: they are often set for something else.

use std::env;
use std::path::PathBuf;

use migrate::{MigrateConfig, Report};
use shared::database::{DatabaseConfig, DatabaseConfigError};
use shared::settings;

use crate::LocalError;
use crate::env_file;
use crate::postgres::{DATABASE, Durability, PostgresServer};
use crate::progress::shown;

/// The folder of the server's data below the project, unless `LOCAL_DIR` names another.
const DEFAULT_FOLDER: &str = ".local";

/// The server's part of that folder.
const SERVER_FOLDER: &str = "postgres";

/// A database that can be used until it is closed.
pub struct LocalDatabase {
    /// How to connect.
    pub config: DatabaseConfig,
    /// How to migrate it.
    pub migrate_config: MigrateConfig,
    /// What it is, for the person at the terminal.
    pub description: String,
    server: Option<PostgresServer>,
}

impl LocalDatabase {
    /// Finds or starts the database; where another instance runs on the same folder, uses its database.
    pub async fn open_or_join() -> Result<Self, LocalError> {
        Self::open().await
    }

    /// Finds or starts the database.
    pub async fn open() -> Result<Self, LocalError> {
        let named = [DatabaseConfig::URL, DatabaseConfig::SECRET_ARN]
            .into_iter()
            .find(|name| settings::text(variable, name).is_some());
        let unusable = |error: DatabaseConfigError| LocalError::new(error.to_string());
        if let Some(name) = named {
            let config = DatabaseConfig::from_env().map_err(unusable)?;
            return Ok(Self {
                description: format!("{} ({name})", config.display_name()),
                config,
                migrate_config: MigrateConfig::from_env().map_err(unusable)?,
                server: None,
            });
        }
        let server = PostgresServer::start(&folder().join(SERVER_FOLDER), Durability::Durable)
            .await
            .map_err(|error| LocalError::new(error.to_string()))?;
        let config = DatabaseConfig::parse(&server.url(DATABASE)).map_err(unusable)?;
        let description = format!(
            "PostgreSQL {} of its own, data in {}",
            server.version(),
            server.home()
        );
        Ok(Self {
            migrate_config: config.clone().into(),
            config,
            description,
            server: Some(server),
        })
    }

    /// Brings the schema up to date; says what that did.
    pub async fn migrate(&self) -> Result<String, LocalError> {
        let report = shown(
            "migrating the database",
            migrate::migrate(&self.migrate_config),
        )
        .await;
        let Report {
            applied,
            schema_version,
            ..
        } = report.map_err(|error| LocalError::new(format!("{error} ({})", self.description)))?;
        Ok(match applied.as_slice() {
            [] => format!("version {schema_version}, up to date"),
            names => format!("version {schema_version}, applied {}", names.join(", ")),
        })
    }

    /// Stops the server, if it is our own.
    pub async fn close(self) {
        if let Some(server) = self.server {
            shown("stopping PostgreSQL", server.stop()).await;
        }
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Where the data is kept: below the project, wherever in it the command was given.
fn folder() -> PathBuf {
    if let Some(folder) = env::var_os("LOCAL_DIR").filter(|folder| !folder.is_empty()) {
        return folder.into();
    }
    env_file::project().unwrap_or_default().join(DEFAULT_FOLDER)
}
