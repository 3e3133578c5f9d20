//! The migrations, compiled in, and how they are applied: one at a time, each all or nothing, by one
//! migrator at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use lambda_runtime::Diagnostic;
use refinery::error::Kind;
use refinery::{Migration, Runner, Target};
use serde::Serialize;
use serde_json::Value;
use shared::database::{Connection, DatabaseConfig, DatabaseError, Parameter};
use shared::settings::SettingsError;
use shared::store::rights;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::Type;

use crate::config::{MigrateConfig, RoleLogin};

/// The advisory lock that keeps two migrators apart: "daissy" in ASCII. Refinery takes none, and of
/// four that start at once three would fail.
const LOCK: i64 = 0x6461_6973_7379;

/// How long to wait for another migrator to end.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// How long one attempt to connect may take; a database that has been paused takes a while to wake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The pause between attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// How long a migration waits for a table that is in use; meanwhile everybody else queues behind it.
const TABLE_LOCK_LIMIT: &str = "set lock_timeout = '10s'";

/// Where the applied migrations are recorded.
const HISTORY_TABLE: &str = "refinery_schema_history";

/// Creates the two roles.
const ROLES: &str = include_str!("../../../migrations/roles.sql");

/// Lets nothing but a token of IAM in as the functions' role. Only RDS has the role that says so.
const LOGIN_BY_IAM: &str = "grant rds_iam to daissy_app";

/// Takes the role that owns the tables, where there is one that may make tables here and that we may
/// take: what we make is its own then, whoever we are.
const BECOME_OWNER: &str = "
    select set_config('role', rolname, false)
    from pg_roles
    where rolname = 'daissy_owner'
      and pg_has_role(oid, 'usage')
      and has_schema_privilege(oid, current_schema(), 'create')";

/// The role that the functions connect as, where there is one.
const APP_ROLE: &str = "daissy_app";

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

/// What a migration run did, or what the schema's state is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The migrations that this run applied; for the state, all that were ever applied.
    pub applied: Vec<String>,
    /// The version of the last one applied; 0 for an empty database.
    pub schema_version: i32,
    /// The migrations that are yet to be applied.
    pub pending: Vec<String>,
}

impl Report {
    /// The report as the function's result.
    ///
    /// # Errors
    /// [`MigrateError::Report`], should it not be writable as JSON.
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
    /// It took longer than the invocation may.
    #[error("the migration was not done within {} s; give the function more time", .0.as_secs())]
    TookTooLong(Duration),
    /// The event asks for something else.
    #[error("unknown action; use {{\"action\": \"migrate\"}} or {{\"action\": \"status\"}}")]
    UnknownAction,
    /// The event looks like one of CloudFormation's, but is none.
    #[error("the custom-resource event cannot be read: {0}")]
    InvalidEvent(&'static str),
    /// CloudFormation could not be told.
    #[error("CloudFormation could not be told the result: {0}")]
    Notification(String),
    /// The result cannot be written.
    #[error("the result cannot be written as JSON: {0}")]
    Report(#[source] serde_json::Error),
    /// The database cannot be used, or another migrator holds the lock for too long.
    #[error("the database cannot be migrated: {0}")]
    Database(#[from] DatabaseError),
    /// A pooler stands before the database.
    #[error(
        "the connection leads through a pooler in transaction mode, which cannot keep the migration's \
         lock; set MIGRATE_DATABASE_URL to the address of the database itself"
    )]
    Pooled,
    /// Another migrator is at work and does not end.
    #[error("another migration has been running for {} s; try again when it has ended", .0.as_secs())]
    Locked(Duration),
    /// An applied migration is not the one that is compiled in.
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
    /// A migration failed and left nothing behind.
    #[error("{step}: {cause}")]
    Failed {
        /// What was being done.
        step: String,
        /// What the database said.
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
    names(&sorted(&embedded::migrations::runner()))
}

/// Applies what is pending. Harmless when nothing is, and when another does the same at once.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(config: &MigrateConfig) -> Result<Report, MigrateError> {
    migrate_patiently(config, Duration::ZERO).await
}

/// As [`migrate`], but waits this long for a database that is only coming up.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate_patiently(
    config: &MigrateConfig,
    patience: Duration,
) -> Result<Report, MigrateError> {
    migrate_to(config, patience, Target::Latest).await
}

/// Applies what is pending up to a version and no further, as an older version of the product would
/// have done.
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
        // Good enough where somebody else, the owner, has migrated already.
        let report = state(&embedded::migrations::runner(), &mut connection).await?;
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

    let runner = embedded::migrations::runner().set_target(target);
    let known = sorted(&runner);
    let done = runner
        .run_async(connection.client_mut())
        .await
        .map_err(|error| explain(error.kind(), &known))?;
    grant(&connection).await?;

    let report = state(&runner, &mut connection).await?;
    Ok(Report {
        applied: names(done.applied_migrations()),
        ..report
    })
}

/// Tells what is applied and what is pending; changes nothing.
///
/// # Errors
/// [`MigrateError`].
pub async fn status(config: &MigrateConfig) -> Result<Report, MigrateError> {
    let mut connection = connect(&config.database, Duration::ZERO).await?;
    state(&embedded::migrations::runner(), &mut connection).await
}

/// Connects; waits this long for a database that is only coming up, and for rights in IAM that are so
/// new that not every server has heard of them.
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
            "select coalesce(has_schema_privilege(current_schema(), 'create'), false) as may",
            &[],
        )
        .await?;
    Ok(row.try_get("may")?)
}

async fn run(connection: &Connection, statements: &str) -> Result<(), DatabaseError> {
    Ok(connection.client().batch_execute(statements).await?)
}

/// Refuses a pooler in transaction mode: the lock would stay with whichever of the server's processes
/// happened to take it. Such a pooler gives a process that one connection has done with to the next,
/// so ours has to change when another one takes it. A pooler with many idle processes may go unnoticed.
async fn refuse_pooler(
    connection: &Connection,
    config: &DatabaseConfig,
    patience: Duration,
) -> Result<(), MigrateError> {
    let first = backend(connection).await?;
    let other = connect(config, patience).await?;
    // Within a transaction the other one keeps its process, and cannot be given ours or give its own.
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

/// Gives the functions' role what it needs on the tables and no more, if there is such a role.
async fn grant(connection: &Connection) -> Result<(), DatabaseError> {
    let parameters: [Parameter<'_>; 1] = [(&APP_ROLE, Type::TEXT)];
    let role = connection
        .client()
        .query_typed_opt("select from pg_roles where rolname = $1", &parameters)
        .await?;
    if role.is_some() {
        run(connection, &rights::grants(APP_ROLE)).await?;
    }
    Ok(())
}

/// Takes the lock; it is given back when the connection closes.
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

/// Says what a refinery error means to the one who deploys.
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
