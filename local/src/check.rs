//! `check`: the connection test. Reports what it finds, and fails if anything is missing.

use std::time::Duration;

use shared::database::{Connection, DatabaseConfig, DatabaseError};
use shared::store::rights::{self, Role};
use tokio::time::timeout;
use tokio_postgres::Row;

use crate::database::LocalDatabase;
use crate::error::LocalError;
use crate::progress::shown;

/// Timeout for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for the whole test.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);

const SERVER: &str = "
    select
        current_setting('server_version') as version,
        current_user::text as user_name,
        current_database()::text as database_name,
        (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as uses_tls,
        (select version from pg_stat_ssl where pid = pg_backend_pid()) as tls_version";

/// The server that answers, and whom it takes us for.
struct Server {
    version: String,
    user_name: String,
    database_name: String,
    uses_tls: Option<bool>,
    tls_version: Option<String>,
}

impl Server {
    fn read(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            version: row.try_get("version")?,
            user_name: row.try_get("user_name")?,
            database_name: row.try_get("database_name")?,
            uses_tls: row.try_get("uses_tls")?,
            tls_version: row.try_get("tls_version")?,
        })
    }
}

/// Runs the test on the database that `cargo run` uses.
pub async fn check() -> Result<(), LocalError> {
    let database = LocalDatabase::open_or_join().await?;
    println!("database  {}", database.description);
    let checked = shown(
        "querying the server",
        timeout(CHECK_TIMEOUT, examine(&database)),
    )
    .await;
    database.close().await;
    checked.unwrap_or_else(|_| {
        let seconds = CHECK_TIMEOUT.as_secs();
        Err(LocalError::new(format!(
            "the server did not answer within {seconds} s"
        )))
    })
}

async fn examine(database: &LocalDatabase) -> Result<(), LocalError> {
    let connection = connect(&database.config).await?;
    let server = identify(&connection)
        .await
        .map_err(|error| LocalError::new(format!("cannot query the server: {error}")))?;
    println!(
        "server    PostgreSQL {}, connected as {} to {}",
        server.version, server.user_name, server.database_name
    );
    let mode = database.config.ssl_mode();
    let mode = mode.map_or_else(String::new, |mode| mode.to_string());
    match server.uses_tls {
        Some(true) => println!(
            "TLS       {}, sslmode {mode}",
            server.tls_version.as_deref().unwrap_or("on"),
        ),
        _ => println!("TLS       off, sslmode {mode}"),
    }

    let mut missing = missing_rights(&connection, Role::App).await?;
    println!("rights    {}", described(&missing));
    // Without a database of its own, `maintain` connects as the same user, who need not be able to erase.
    if database.maintain_config.has_own_database {
        let connection = connect(&database.maintain_config.database).await;
        let connection = connection
            .map_err(|error| LocalError::new(format!("MAINTAIN_DATABASE_URL: {error}")))?;
        let to_maintain = missing_rights(&connection, Role::Maintain).await?;
        println!("maintain  rights {}", described(&to_maintain));
        missing.extend(to_maintain);
    }

    let report = migrate::status(&database.migrate_config)
        .await
        .map_err(|error| LocalError::new(error.to_string()))?;
    if report.pending.is_empty() {
        println!("schema    version {}, up to date", report.schema_version);
    } else {
        println!(
            "schema    version {}, pending: {}",
            report.schema_version,
            report.pending.join(", ")
        );
    }

    if let Some(legacy) = report.legacy {
        println!("legacy    {legacy}");
    }

    match (report.pending.is_empty(), missing.is_empty()) {
        (true, true) => Ok(()),
        (false, _) => Err(LocalError::new(
            "migrations are pending; run `cargo run -- migrate`",
        )),
        (_, false) => Err(LocalError::new(
            "the database user lacks rights; grant the ones listed above",
        )),
    }
}

async fn connect(config: &DatabaseConfig) -> Result<Connection, LocalError> {
    timeout(CONNECT_TIMEOUT, Connection::open(config))
        .await
        .map_err(|_| LocalError::new("the database does not answer; check the host"))?
        .map_err(|error| LocalError::new(format!("cannot connect: {error}")))
}

async fn missing_rights(connection: &Connection, role: Role) -> Result<Vec<String>, LocalError> {
    rights::missing(connection, role)
        .await
        .map_err(|error| LocalError::new(format!("cannot read the rights: {error}")))
}

fn described(missing: &[String]) -> String {
    if missing.is_empty() {
        return "complete".to_owned();
    }
    format!("missing: {}", missing.join(", "))
}

async fn identify(connection: &Connection) -> Result<Server, DatabaseError> {
    let row = connection.client().query_typed_one(SERVER, &[]).await?;
    Server::read(&row)
}
