//! The migrations, compiled in, and how they are applied: one at a time, each in full or not at
//! all, by one migrator at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use lambda_runtime::Diagnostic;
use refinery::error::Kind;
use refinery::{Migration, Runner, Target};
use serde::Serialize;
use serde_json::Value;
use shared::database::{Connection, DatabaseConfig, DatabaseError, Parameter};
use shared::settings::SettingsError;
use shared::store::rights::{self, Role};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::Type;

use crate::config::{MigrateConfig, RoleLogin};

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

/// Where the applied migrations are recorded.
const HISTORY_TABLE: &str = "public.refinery_schema_history";

/// Creates the roles.
const ROLES: &str = include_str!("../../../migrations/roles.sql");

/// Lets the roles of the functions log in only with an IAM token. `rds_iam` exists only on RDS.
const LOGIN_BY_IAM: &str = "grant rds_iam to daissy_app, daissy_maintain";

/// Becomes the role that owns the tables, if it exists, may create tables and is open to us:
/// whatever is created then belongs to it, whoever we are.
const BECOME_OWNER: &str = "
    select set_config('role', rolname, false)
    from pg_roles
    where rolname = 'daissy_owner'
      and pg_has_role(oid, 'usage')
      and has_schema_privilege(oid, 'public', 'create')";

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

/// All migrations of this version, and where the applied ones are recorded: beside the tables,
/// whatever the settings of the connection.
fn migrations() -> Runner {
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name(HISTORY_TABLE);
    runner
}

/// What a migration run did, or the state of the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The migrations that this run applied; in a state, all that were ever applied.
    pub applied: Vec<String>,
    /// The version of the last one applied; 0 for an empty database.
    pub schema_version: i32,
    /// The migrations that have not been applied yet.
    pub pending: Vec<String>,
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

/// Why the schema was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No database is configured.
    #[error("{0}")]
    Config(#[from] SettingsError),
    /// It took longer than the invocation's timeout.
    #[error("the migration did not finish within {} s; give the function more time", .0.as_secs())]
    TookTooLong(Duration),
    /// The event asks for something else.
    #[error("unknown action; use {{\"action\": \"migrate\"}} or {{\"action\": \"status\"}}")]
    UnknownAction,
    /// The event looks like one of CloudFormation's, but is not valid.
    #[error("the custom-resource event cannot be read: {0}")]
    InvalidEvent(&'static str),
    /// The result could not be sent to CloudFormation.
    #[error("the result could not be sent to CloudFormation: {0}")]
    Notification(String),
    /// The result cannot be written.
    #[error("the result cannot be written as JSON: {0}")]
    Report(#[source] serde_json::Error),
    /// The database cannot be used, or another migrator holds the lock for too long.
    #[error("the database cannot be migrated: {0}")]
    Database(#[from] DatabaseError),
    /// A transaction pooler is in front of the database.
    #[error(
        "the connection goes through a pooler in transaction mode, which cannot hold the migration's \
         lock; set MIGRATE_DATABASE_URL to the address of the database itself"
    )]
    Pooled,
    /// Another migrator is running and does not finish.
    #[error("another migration has been running for {} s; retry when it has finished", .0.as_secs())]
    Locked(Duration),
    /// An applied migration differs from the one that is compiled in.
    #[error(
        "{0} was changed after it was applied; restore the file and add a new migration instead"
    )]
    Changed(String),
    /// The database knows a migration that is not compiled in.
    #[error(
        "the database has {0}, which this version does not know; deploy the version that has it"
    )]
    Unknown(String),
    /// A migration was added below the version the database has reached.
    #[error("{0} was never applied but later ones were; give it a higher version")]
    OutOfOrder(String),
    /// A migration failed and left no changes behind.
    #[error("{step}: {cause}")]
    Failed {
        /// The step that failed.
        step: String,
        /// The database's error.
        cause: String,
    },
}

impl From<MigrateError> for Diagnostic {
    fn from(error: MigrateError) -> Self {
        Self {
            error_type: "MigrateError".into(),
            error_message: error.to_string(),
        }
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
    run(&connection, BECOME_OWNER).await?;

    let is_latest = matches!(target, Target::Latest);
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
    Ok(Report {
        applied: names(done.applied_migrations()),
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
    let applied = if has_history(connection).await? {
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

fn sorted(runner: &Runner) -> Vec<Migration> {
    let mut migrations = runner.get_migrations().clone();
    migrations.sort();
    migrations
}

fn names(migrations: &[Migration]) -> Vec<String> {
    migrations.iter().map(ToString::to_string).collect()
}

/// Explains a refinery error to the person who deploys.
fn explain(kind: &Kind, known: &[Migration]) -> MigrateError {
    match kind {
        Kind::DivergentVersion(applied, _) => MigrateError::Changed(applied.to_string()),
        Kind::MissingVersion(migration) if known.contains(migration) => {
            MigrateError::OutOfOrder(migration.to_string())
        }
        Kind::MissingVersion(migration) => MigrateError::Unknown(migration.to_string()),
        Kind::Connection(step, source) => MigrateError::Failed {
            step: step.clone(),
            cause: source.downcast_ref::<tokio_postgres::Error>().map_or_else(
                || "the connection failed".to_owned(),
                |error| DatabaseError::from(error).to_string(),
            ),
        },
        other => MigrateError::Failed {
            step: "migrating".into(),
            cause: other.to_string(),
        },
    }
}
