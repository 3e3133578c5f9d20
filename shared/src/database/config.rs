//! Which database to use, read from the environment once.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use postgres_native_tls::MakeTlsConnector;

use super::connection_string;
use super::error::DatabaseError;
use super::tls::{self, SslMode};

/// The environment variable with the connection string.
const DATABASE_URL: &str = "DATABASE_URL";

/// How long sent data may stay unacknowledged before the path counts as dead.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the connection is quiet before the other side is probed. Below 350 s, after which NAT
/// gateways on AWS forget a connection.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Why a connection string cannot be used. Names the parameter, never a value.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct DatabaseConfigError(pub(super) String);

/// A database to connect to.
#[derive(Clone)]
pub struct DatabaseConfig {
    postgres: tokio_postgres::Config,
    ssl_mode: SslMode,
    root_certificates: Option<PathBuf>,
    /// Built when it is first needed, because that costs tens of milliseconds.
    connector: OnceLock<MakeTlsConnector>,
}

impl DatabaseConfig {
    /// Reads `DATABASE_URL`.
    ///
    /// # Errors
    /// [`DatabaseConfigError`] when it is not set or cannot be understood.
    pub fn from_env() -> Result<Self, DatabaseConfigError> {
        let url = std::env::var(DATABASE_URL).unwrap_or_default();
        if url.trim().is_empty() {
            return Err(DatabaseConfigError(format!(
                "{DATABASE_URL} is not set; set it to a connection string such as \
                 postgresql://user:password@host:5432/database"
            )));
        }
        Self::parse(&url).map_err(|error| DatabaseConfigError(format!("{DATABASE_URL}: {error}")))
    }

    /// Reads a connection string, as a URL or as `key=value` pairs.
    ///
    /// # Errors
    /// [`DatabaseConfigError`].
    pub fn parse(text: &str) -> Result<Self, DatabaseConfigError> {
        let parsed = connection_string::parse(text)?;
        let mut postgres = parsed.postgres;
        postgres.ssl_mode(parsed.ssl_mode.postgres());
        postgres.keepalives_idle(KEEPALIVE_IDLE);
        if postgres.get_application_name().is_none() {
            postgres.application_name("daissy");
        }
        if postgres.get_tcp_user_timeout().is_none() {
            postgres.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        Ok(Self {
            postgres,
            ssl_mode: parsed.ssl_mode,
            root_certificates: parsed.root_certificates,
            connector: OnceLock::new(),
        })
    }

    /// How the connection is protected.
    #[must_use]
    pub fn ssl_mode(&self) -> SslMode {
        self.ssl_mode
    }

    /// The hosts and the database, for a person to recognise; no user, no password.
    #[must_use]
    pub fn display_name(&self) -> String {
        let hosts: Vec<String> = self
            .postgres
            .get_hosts()
            .iter()
            .map(|host| match host {
                tokio_postgres::config::Host::Tcp(name) => name.clone(),
                tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let database = self.postgres.get_dbname().unwrap_or("the user's database");
        format!("{database} on {}", hosts.join(", "))
    }

    pub(super) fn postgres(&self) -> &tokio_postgres::Config {
        &self.postgres
    }

    /// The connector, or `None` where TLS is out of the question.
    pub(super) fn tls_connector(&self) -> Result<Option<MakeTlsConnector>, DatabaseError> {
        if self.ssl_mode == SslMode::Disable {
            return Ok(None);
        }
        if let Some(connector) = self.connector.get() {
            return Ok(Some(connector.clone()));
        }
        let connector = tls::connector(self.ssl_mode, self.root_certificates.as_ref())
            .map_err(|description| DatabaseError::tls(&description))?;
        Ok(Some(self.connector.get_or_init(|| connector).clone()))
    }
}

impl std::fmt::Debug for DatabaseConfig {
    /// Without the connection string: it holds the password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DatabaseConfig")
            .field("ssl_mode", &self.ssl_mode)
            .finish()
    }
}
