//! How the schema is brought up to date: one migration at a time, each in full or not at all, by one
//! migrator at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use refinery::{Migration, Runner, Target};
use serde::Serialize;
use serde_json::Value;
use shared::database::{Connection, DatabaseConfig, DatabaseError, Parameter};
use shared::store::rights::{self, Role};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::Type;

use crate::config::{MigrateConfig, RoleLogin};
use crate::error::MigrateError;
use crate::migrations::{BECOME_OWNER, HISTORY_TABLE, explain, migrations, names, sorted};
use crate::takeover::{self, Dropped, LegacyState, TakenOver};

/// The advisory lock that keeps migrators from running concurrently: "daissy" in ASCII. Refinery
/// takes none, and of four that start at the same time three would fail.
const LOCK: i64 = 0x6461_6973_7379;

/// Timeout for waiting for another migrator.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Timeout for one attempt to connect; a paused database takes a while to wake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The pause between attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Timeout for a table that is in use; while the migration waits, all other statements queue behind
/// it.
const TABLE_LOCK_LIMIT: &str = "set lock_timeout = '10s'";

/// Creates the roles.
const ROLES: &str = include_str!("../../../migrations/roles.sql");

/// Lets the roles of the functions log in only with an IAM token. `rds_iam` exists only on RDS.
const LOGIN_BY_IAM: &str = "grant rds_iam to daissy_app, daissy_maintain";

/// What a migration run did, or the state of the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The migrations that this run applied; in a state, all that were ever applied.
    pub applied: Vec<String>,
    /// The version of the last one applied; 0 for an empty database.
    pub schema_version: i32,
    /// The migrations that have not been applied yet.
    pub pending: Vec<String>,
    /// What this run took over of the Python server's tables, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_over: Option<TakenOver>,
    /// Where the Python server's tables are, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legacy: Option<LegacyState>,
}

impl Report {
    /// The report as the function's result.
    ///
    /// # Errors
    /// [`MigrateError::Report`] if it cannot be written as JSON.
    pub fn to_json(&self) -> Result<Value, MigrateError> {
        serde_json::to_value(self).map_err(MigrateError::Report)
    }
}

/// The names of all migrations of this version, in order.
#[must_use]
pub fn known_migrations() -> Vec<String> {
    names(&sorted(&migrations()))
}

/// Applies all pending migrations. Harmless if there are none, and if another migrator runs
/// concurrently.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(config: &MigrateConfig) -> Result<Report, MigrateError> {
    migrate_patiently(config, Duration::ZERO).await
}

/// Like [`migrate`], but waits this long for a database that is still starting.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate_patiently(
    config: &MigrateConfig,
    patience: Duration,
) -> Result<Report, MigrateError> {
    migrate_to(config, patience, Target::Latest).await
}

/// Applies pending migrations up to a version and no further, as an older version of the product
/// would have done.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate_up_to(config: &MigrateConfig, version: i32) -> Result<Report, MigrateError> {
    migrate_to(config, Duration::ZERO, Target::Version(version)).await
}

async fn migrate_to(
    config: &MigrateConfig,
    patience: Duration,
    target: Target,
) -> Result<Report, MigrateError> {
    let mut connection = connect(&config.database, patience).await?;
    if !may_change_schema(&connection).await? {
        // Good enough if the owner has already migrated.
        let report = state(&migrations(), &mut connection).await?;
        if report.pending.is_empty() {
            return Ok(Report {
                applied: Vec::new(),
                ..report
            });
        }
    }
    refuse_pooler(&connection, &config.database, patience).await?;
    lock(&connection).await?;
    run(&connection, TABLE_LOCK_LIMIT).await?;
    if let Some(login) = config.create_roles {
        run(&connection, ROLES).await?;
        if login == RoleLogin::Iam {
            run(&connection, LOGIN_BY_IAM).await?;
        }
    }
    let is_latest = matches!(target, Target::Latest);
    let taken_over = if is_latest && !has_history(&connection).await? {
        takeover::take_over(&connection, config.legacy.as_ref()).await?
    } else {
        None
    };
    run(&connection, BECOME_OWNER).await?;

    let runner = migrations().set_target(target);
    let known = sorted(&runner);
    let done = runner
        .run_async(connection.client_mut())
        .await
        .map_err(|error| explain(error.kind(), &known))?;
    if is_latest {
        grant(&connection).await?;
    }

    let report = state(&runner, &mut connection).await?;
    let mut applied = names(done.applied_migrations());
    let taken_over = taken_over.map(|(names, taken_over)| {
        applied = names;
        taken_over
    });
    Ok(Report {
        applied,
        taken_over,
        ..report
    })
}

/// Reports the applied and the pending migrations; changes nothing.
///
/// # Errors
/// [`MigrateError`].
pub async fn status(config: &MigrateConfig) -> Result<Report, MigrateError> {
    let mut connection = connect(&config.database, Duration::ZERO).await?;
    state(&migrations(), &mut connection).await
}

/// Drops the Python server's tables, which were taken over, and with them the way back.
///
/// # Errors
/// [`MigrateError`].
pub async fn drop_legacy(config: &MigrateConfig) -> Result<Vec<Dropped>, MigrateError> {
    let connection = connect(&config.database, Duration::ZERO).await?;
    refuse_pooler(&connection, &config.database, Duration::ZERO).await?;
    lock(&connection).await?;
    run(&connection, TABLE_LOCK_LIMIT).await?;
    takeover::drop_legacy(&connection).await
}

/// Connects. Waits this long for a database that is still starting, and for IAM rights so new that
/// not every server knows of them.
async fn connect(config: &DatabaseConfig, patience: Duration) -> Result<Connection, MigrateError> {
    let patient_until = Instant::now() + patience;
    loop {
        let opened = timeout(CONNECT_TIMEOUT, Connection::open(config)).await;
        match opened.unwrap_or_else(|_| Err(DatabaseError::connect_timed_out())) {
            Ok(connection) => return Ok(connection),
            Err(error) if is_transient(config, &error) && Instant::now() < patient_until => {
                tracing::info!(cause = %error, "waiting for the database");
                sleep(CONNECT_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_transient(config: &DatabaseConfig, error: &DatabaseError) -> bool {
    error.is_transient() || (config.logs_in_by_iam() && error.refuses_user())
}

async fn may_change_schema(connection: &Connection) -> Result<bool, DatabaseError> {
    let row = connection
        .client()
        .query_typed_one(
            "select has_schema_privilege('public', 'create') as may",
            &[],
        )
        .await?;
    Ok(row.try_get("may")?)
}

async fn run(connection: &Connection, statements: &str) -> Result<(), DatabaseError> {
    Ok(connection.client().batch_execute(statements).await?)
}

/// Refuses a transaction pooler: the lock would stay with whichever server process happened to take
/// it. Such a pooler hands a process that one connection has finished with to the next, so ours has
/// to change when another connection takes it. A pooler with many idle processes may go undetected.
async fn refuse_pooler(
    connection: &Connection,
    config: &DatabaseConfig,
    patience: Duration,
) -> Result<(), MigrateError> {
    let first = backend(connection).await?;
    let other = connect(config, patience).await?;
    // Within a transaction the other connection keeps its process: it cannot be given ours or give
    // up its own.
    run(&other, "begin").await?;
    let second = backend(&other).await?;
    let again = backend(connection).await?;
    if first == second || first != again {
        return Err(MigrateError::Pooled);
    }
    Ok(())
}

async fn backend(connection: &Connection) -> Result<i32, DatabaseError> {
    let row = connection
        .client()
        .query_typed_one("select pg_backend_pid() as pid", &[])
        .await?;
    Ok(row.try_get("pid")?)
}

/// Grants each role the rights it needs on the tables and no others, if the role exists.
async fn grant(connection: &Connection) -> Result<(), DatabaseError> {
    for role in Role::ALL {
        let name = role.name();
        let parameters: [Parameter<'_>; 1] = [(&name, Type::TEXT)];
        let found = connection
            .client()
            .query_typed_opt("select from pg_roles where rolname = $1", &parameters)
            .await?;
        if found.is_some() {
            run(connection, &rights::grants(role)).await?;
        }
    }
    Ok(())
}

/// Takes the lock; it is released when the connection closes.
async fn lock(connection: &Connection) -> Result<(), MigrateError> {
    let parameters: [Parameter<'_>; 1] = [(&LOCK, Type::INT8)];
    timeout(
        LOCK_TIMEOUT,
        connection
            .client()
            .query_typed("select pg_advisory_lock($1)", &parameters),
    )
    .await
    .map_err(|_| MigrateError::Locked(LOCK_TIMEOUT))?
    .map_err(DatabaseError::from)?;
    Ok(())
}

async fn state(runner: &Runner, connection: &mut Connection) -> Result<Report, MigrateError> {
    let known = sorted(runner);
    let is_migrated = has_history(connection).await?;
    let applied = if is_migrated {
        runner
            .get_applied_migrations_async(connection.client_mut())
            .await
            .map_err(|error| explain(error.kind(), &known))?
    } else {
        Vec::new()
    };
    let applied_versions: BTreeSet<_> = applied.iter().map(Migration::version).collect();
    let pending: Vec<_> = known
        .into_iter()
        .filter(|migration| !applied_versions.contains(&migration.version()))
        .collect();
    Ok(Report {
        applied: names(&applied),
        schema_version: applied_versions.last().copied().unwrap_or(0),
        pending: names(&pending),
        taken_over: None,
        legacy: takeover::state(connection, is_migrated).await?,
    })
}

async fn has_history(connection: &Connection) -> Result<bool, DatabaseError> {
    let parameters: [Parameter<'_>; 1] = [(&HISTORY_TABLE, Type::TEXT)];
    let row = connection
        .client()
        .query_typed_one("select to_regclass($1) is not null as exists", &parameters)
        .await?;
    Ok(row.try_get("exists")?)
}
