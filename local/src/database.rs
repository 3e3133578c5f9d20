//! The database of a local run: the one that `DATABASE_URL` or `DATABASE_SECRET_ARN` names, otherwise a
//! server of our own. libpq's variables alone do not count: they are often set for something else.

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use maintain::MaintainConfig;
use migrate::{MigrateConfig, Report};
use shared::database::DatabaseConfig;
use shared::settings::{self, SettingsError};
use tokio::time::sleep;

use crate::env_file;
use crate::error::LocalError;
use crate::postgres::{self, DATABASE, Durability, PostgresError, PostgresServer};
use crate::progress::shown;

/// The folder of the server's data below the project, unless `LOCAL_DIR` names another.
const DEFAULT_FOLDER: &str = ".local";

/// The server's subfolder.
const SERVER_FOLDER: &str = "postgres";

/// A server that ends again within this time is not restarted.
const STEADY: Duration = Duration::from_secs(20);

/// Timeout for another instance to start or stop its server.
const JOIN_TIMEOUT: Duration = Duration::from_secs(60);

/// The connections of the server, which has many callers at a time, unless `DATABASE_CONNECTIONS` says
/// otherwise.
const CONNECTIONS: &str = "8";

/// How often to check whether it has.
const POLL: Duration = Duration::from_millis(100);

/// A database, usable until it is closed.
pub struct LocalDatabase {
    /// How to connect.
    pub config: DatabaseConfig,
    /// How to migrate it; the tables of the Python server are taken over only where a command says so.
    pub migrate_config: MigrateConfig,
    /// How to maintain it.
    pub maintain_config: MaintainConfig,
    /// A description for the person at the terminal.
    pub description: String,
    server: Option<PostgresServer>,
}

impl LocalDatabase {
    /// Finds or starts the database. If another instance runs on the same folder, uses its database.
    pub async fn open_or_join() -> Result<Self, LocalError> {
        if let Some(named) = Self::named()? {
            return Ok(named);
        }
        let started = start_or_join().await;
        match started.map_err(|error| LocalError::new(error.to_string()))? {
            Joined::Started(server) => Self::of(*server),
            Joined::Running { home, url } => Ok(Self::at(
                &url,
                format!("PostgreSQL of the instance that is running on {home}"),
            )?),
        }
    }

    /// Finds or starts the database. Fails if another instance runs on the same folder.
    pub async fn open() -> Result<Self, LocalError> {
        if let Some(named) = Self::named()? {
            return Ok(named);
        }
        let server = start().await;
        Self::of(server.map_err(|error| LocalError::new(error.to_string()))?)
    }

    /// The database that the settings name.
    fn named() -> Result<Option<Self>, LocalError> {
        let name = [DatabaseConfig::URL, DatabaseConfig::SECRET_ARN]
            .into_iter()
            .find(|name| settings::text(variable, name).is_some());
        let Some(name) = name else {
            return Ok(None);
        };
        let config = DatabaseConfig::read(DatabaseConfig::URL, variable).map_err(unusable)?;
        Ok(Some(Self {
            description: format!("{} ({name})", config.display_name()),
            config,
            migrate_config: without_takeover(MigrateConfig::from_env().map_err(unusable)?),
            maintain_config: MaintainConfig::from_env().map_err(unusable)?,
            server: None,
        }))
    }

    fn of(server: PostgresServer) -> Result<Self, LocalError> {
        let description = format!(
            "PostgreSQL {} of its own, data in {}",
            server.version(),
            server.home()
        );
        let mut database = Self::at(&server.url(DATABASE), description)?;
        database.server = Some(server);
        Ok(database)
    }

    fn at(url: &str, description: String) -> Result<Self, LocalError> {
        let config = DatabaseConfig::read(DatabaseConfig::URL, |name| match name {
            DatabaseConfig::URL => Some(url.to_owned()),
            DatabaseConfig::CONNECTIONS => variable(name),
            _ => None,
        });
        let config = config.map_err(unusable)?;
        Ok(Self {
            migrate_config: without_takeover(config.clone().into()),
            maintain_config: MaintainConfig::on(config.clone(), variable).map_err(unusable)?,
            config,
            description,
            server: None,
        })
    }

    /// Restarts our own server whenever it ends. Returns when that does not help.
    pub async fn keep_up(&mut self) -> LocalError {
        let Some(server) = &mut self.server else {
            return std::future::pending().await;
        };
        let mut started: Option<Instant> = None;
        loop {
            server.ended().await;
            let log = format!("see {}/server.log", server.home());
            if started.is_some_and(|started| started.elapsed() < STEADY) {
                return LocalError::new(format!(
                    "PostgreSQL ended again soon after it was restarted; {log}"
                ));
            }
            println!("restart   PostgreSQL ended and is started again; {log}");
            if let Err(error) = server.start_again().await {
                return LocalError::new(error.to_string());
            }
            println!("database  {}", self.description);
            started = Some(Instant::now());
        }
    }

    /// Brings the schema up to date; returns a description of what was done.
    pub async fn migrate(&self) -> Result<String, LocalError> {
        let report = shown(
            "migrating the database",
            migrate::migrate(&self.migrate_config),
        )
        .await;
        let Report {
            applied,
            schema_version,
            taken_over,
            ..
        } = report.map_err(|error| LocalError::new(format!("{error} ({})", self.description)))?;
        let mut done = match applied.as_slice() {
            [] => format!("version {schema_version}, up to date"),
            names => format!("version {schema_version}, applied {}", names.join(", ")),
        };
        if let Some(taken_over) = taken_over {
            done.push_str(&format!("\nlegacy    {taken_over}"));
        }
        Ok(done)
    }

    /// Stops the server, if it is our own.
    pub async fn close(self) {
        if let Some(server) = self.server {
            shown("stopping PostgreSQL", server.stop()).await;
        }
    }
}

/// Our own server, or the one of another instance.
enum Joined {
    Started(Box<PostgresServer>),
    Running { home: String, url: String },
}

async fn start_or_join() -> Result<Joined, PostgresError> {
    let deadline = Instant::now() + JOIN_TIMEOUT;
    loop {
        let home = match start().await {
            Ok(server) => return Ok(Joined::Started(Box::new(server))),
            Err(PostgresError::InUse(home)) => home,
            Err(error) => return Err(error),
        };
        if let Some(url) = postgres::url_in(&home) {
            let home = home.display().to_string();
            return Ok(Joined::Running { home, url });
        }
        if Instant::now() > deadline {
            return Err(PostgresError::InUse(home));
        }
        // The other instance is starting or stopping.
        sleep(POLL).await;
    }
}

async fn start() -> Result<PostgresServer, PostgresError> {
    PostgresServer::start(&folder().join(SERVER_FOLDER), Durability::Durable).await
}

/// The same configuration for a command that its user may run beside the Python server, by mistake or to try
/// it out: it must not move the tables away from under that server.
fn without_takeover(config: MigrateConfig) -> MigrateConfig {
    MigrateConfig {
        legacy: None,
        ..config
    }
}

fn unusable(error: SettingsError) -> LocalError {
    LocalError::new(error.to_string())
}

/// A variable of the environment, or its default where the local server has one of its own.
fn variable(name: &str) -> Option<String> {
    let default = (name == DatabaseConfig::CONNECTIONS).then(|| CONNECTIONS.to_owned());
    settings::text(|name| env::var(name).ok(), name).or(default)
}

/// The folder for the data: below the project, even if the command runs in one of its subfolders.
fn folder() -> PathBuf {
    if let Some(folder) = env::var_os("LOCAL_DIR").filter(|folder| !folder.is_empty()) {
        return folder.into();
    }
    env_file::project().unwrap_or_default().join(DEFAULT_FOLDER)
}
