//! The migrations, compiled in.

use refinery::error::Kind;
use refinery::{Migration, Report, Runner, Target};
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use shared::database::DatabaseError;
use tokio_postgres::Client;

use crate::error::MigrateError;

/// Where the applied migrations are recorded.
pub(crate) const HISTORY_TABLE: &str = "public.refinery_schema_history";

/// Becomes the role that owns the tables, if it exists, may create tables and is open to us:
/// whatever is created then belongs to it, whoever we are.
pub(crate) const BECOME_OWNER: &str = "
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
pub(crate) fn migrations() -> Runner {
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name(HISTORY_TABLE);
    runner
}

/// The connection of a caller who has begun a transaction and commits it: refinery's own driver commits
/// after each migration.
pub(crate) struct InTransaction<'a> {
    client: &'a Client,
    applied: Vec<Migration>,
}

impl<'a> InTransaction<'a> {
    /// A transaction in a database without any migration.
    pub(crate) fn new(client: &'a Client) -> Self {
        Self {
            client,
            applied: Vec::new(),
        }
    }

    /// Applies the migrations up to one of them.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub(crate) async fn migrate(&mut self, target: Target) -> Result<(), MigrateError> {
        let runner = migrations().set_target(target);
        let done: Report = runner
            .run_async(self)
            .await
            .map_err(|error| explain(error.kind(), &sorted(&runner)))?;
        self.applied.extend_from_slice(done.applied_migrations());
        Ok(())
    }

    /// The names of those that were applied.
    pub(crate) fn applied(&self) -> Vec<String> {
        names(&self.applied)
    }
}

impl AsyncTransaction for InTransaction<'_> {
    type Error = tokio_postgres::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        statements: T,
    ) -> Result<usize, Self::Error> {
        let mut count = 0;
        for statement in statements {
            self.client.batch_execute(statement).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for InTransaction<'_> {
    /// Refinery asks for nothing but the applied migrations.
    async fn query(&mut self, _: &str) -> Result<Vec<Migration>, Self::Error> {
        Ok(self.applied.clone())
    }
}

impl AsyncMigrate for InTransaction<'_> {}

pub(crate) fn sorted(runner: &Runner) -> Vec<Migration> {
    let mut migrations = runner.get_migrations().clone();
    migrations.sort();
    migrations
}

pub(crate) fn names(migrations: &[Migration]) -> Vec<String> {
    migrations.iter().map(ToString::to_string).collect()
}

/// Explains a refinery error to the person who deploys.
pub(crate) fn explain(kind: &Kind, known: &[Migration]) -> MigrateError {
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
