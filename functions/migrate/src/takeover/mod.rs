//! Takes over the tables of the Python server: they are moved aside, with their indexes, and their rows are
//! copied into ours. All of it is one transaction, so a run that dies leaves the old tables as they were, and
//! no function ever reads half a history.

mod conversation;
mod copy;
mod ids;
mod json;
mod report;
mod rows;
mod tables;

use refinery::Target;
use shared::database::{Connection, DatabaseError, Parameter};
use tokio_postgres::types::Type;

use crate::config::LegacyConfig;
use crate::error::MigrateError;
use crate::migrations::{BECOME_OWNER, InTransaction};

pub use report::{Dropped, LegacyState, TakenOver};
use tables::{SCHEMA, Tables};

/// The migration into whose tables the rows are copied. Those after it carry the rows along as they do in any
/// database, so none of them has to be known here.
const COPIED_INTO: i32 = 1;

/// What must hold in every database.
const INVARIANTS: &str = include_str!("../../../../local/src/invariants.sql");

/// Whether the schema of the old tables is there, and has anything in it.
const SCHEMA_STATE: &str = "
    select
        n.oid is not null as is_there,
        exists (select from pg_class c where c.relnamespace = n.oid) as is_in_use
    from (select) nothing
    left join pg_namespace n on n.nspname = $1";

/// Whether tables were taken over, whatever rights we have.
const WERE_TAKEN_OVER: &str = "
    select from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1
      and c.relname = 'session_ids'";

/// The tables of that schema.
const KEPT: &str = "
    select c.relname::text as name
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1
      and c.relkind = 'r'
    order by c.relname";

/// Takes the tables over, if these are the Python server's; returns the names of the migrations that it
/// applied and what it did.
///
/// # Errors
/// [`MigrateError`]; then nothing has changed.
pub(crate) async fn take_over(
    connection: &Connection,
    config: Option<&LegacyConfig>,
) -> Result<Option<(Vec<String>, TakenOver)>, MigrateError> {
    let Some(tables) = tables::find(connection).await? else {
        return Ok(None);
    };
    let config = config.ok_or(MigrateError::LegacyTables)?;
    if tables.name_users() && config.owner_kind.is_none() {
        return Err(MigrateError::LegacyOwnerKind);
    }
    run(connection, "begin").await?;
    let done = within_transaction(connection, &tables, config).await;
    let end = if done.is_ok() { "commit" } else { "rollback" };
    // If the connection is lost, the server rolls back; the first error says more then.
    let ended = run(connection, end).await;
    let done = done?;
    ended?;
    Ok(Some(done))
}

async fn within_transaction(
    connection: &Connection,
    tables: &Tables,
    config: &LegacyConfig,
) -> Result<(Vec<String>, TakenOver), MigrateError> {
    move_aside(connection, tables).await?;
    refuse_other_roles(connection).await?;
    let ids = ids::assign(connection, tables).await?;

    // Only what is ours belongs to the owner of the tables; the old ones need not be open to it.
    let mut schema = InTransaction::new(connection.client());
    run(connection, BECOME_OWNER).await?;
    schema.migrate(Target::Version(COPIED_INTO)).await?;
    run(connection, "set role none").await?;
    let mut taken_over = copy::copy(connection, tables, config).await?;
    taken_over.digested_session_ids = ids.digested;
    taken_over.renamed_session_ids = ids.renamed;
    run(connection, BECOME_OWNER).await?;
    schema.migrate(Target::Latest).await?;
    run(connection, "set role none").await?;

    verify(connection, &taken_over).await?;
    run(
        connection,
        "analyze public.chat_sessions; analyze public.chat_messages",
    )
    .await?;
    Ok((schema.applied(), taken_over))
}

/// Moves the old tables into a schema of their own. Renamed, their indexes would stay in the way of ours.
async fn move_aside(connection: &Connection, tables: &Tables) -> Result<(), MigrateError> {
    let parameters: [Parameter<'_>; 1] = [(&SCHEMA, Type::TEXT)];
    let row = connection
        .client()
        .query_typed_one(SCHEMA_STATE, &parameters)
        .await
        .map_err(DatabaseError::from)?;
    if row.try_get("is_in_use").map_err(DatabaseError::from)? {
        return Err(MigrateError::Legacy(format!(
            "the schema {SCHEMA}, into which they are moved, has something in it already"
        )));
    }
    let mut statements = String::new();
    // Asking for rights only where it has to be made: `if not exists` needs them even if it is there.
    if !row
        .try_get::<_, bool>("is_there")
        .map_err(DatabaseError::from)?
    {
        statements.push_str(&format!("create schema {SCHEMA};"));
    }
    for table in tables.names() {
        statements.push_str(&format!("alter table public.{table} set schema {SCHEMA};"));
    }
    run(connection, &statements)
        .await
        .map_err(|error| MigrateError::Failed {
            step:
                "moving the tables of the Python server aside (is it still running, or is the user \
                   neither their owner nor allowed to create a schema? docs/moving-in.md)"
                    .into(),
            cause: error.to_string(),
        })
}

/// Refuses messages that are neither the user's nor the assistant's: there is no place for them.
async fn refuse_other_roles(connection: &Connection) -> Result<(), MigrateError> {
    let statement = format!(
        "select count(*) as others
        from {SCHEMA}.chat_messages
        where role not in ('user', 'assistant')"
    );
    let row = connection
        .client()
        .query_typed_one(&statement, &[])
        .await
        .map_err(DatabaseError::from)?;
    match row.try_get("others").map_err(DatabaseError::from)? {
        0i64 => Ok(()),
        others => Err(MigrateError::Legacy(format!(
            "the role of {others} messages is neither user nor assistant"
        ))),
    }
}

/// Compares what is there now with what was there, and checks that every invariant holds.
async fn verify(connection: &Connection, taken_over: &TakenOver) -> Result<(), MigrateError> {
    let counts = format!(
        "select
            (select count(*) from {SCHEMA}.session_ids) as sessions,
            (select count(*) from {SCHEMA}.chat_messages) as messages,
            (select count(*) from public.chat_sessions) as sessions_now,
            (select count(*) from public.chat_messages) as messages_now"
    );
    let client = connection.client();
    let row = client
        .query_typed_one(&counts, &[])
        .await
        .map_err(DatabaseError::from)?;
    let count = |name| row.try_get::<_, i64>(name).map_err(DatabaseError::from);
    let before = (count("sessions")?, count("messages")?);
    let now = (count("sessions_now")?, count("messages_now")?);
    if before != now || now != (taken_over.sessions, taken_over.messages) {
        return Err(MigrateError::Legacy(format!(
            "of {} sessions and {} messages, {} and {} were copied",
            before.0, before.1, now.0, now.1
        )));
    }
    let violations = format!(
        "with found as ({INVARIANTS})
        select session_id::text || ' ' || invariant || ': ' || detail as violation
        from found
        limit 1"
    );
    let row = client
        .query_typed_opt(&violations, &[])
        .await
        .map_err(DatabaseError::from)?;
    match row {
        None => Ok(()),
        Some(row) => {
            let violation: String = row.try_get("violation").map_err(DatabaseError::from)?;
            Err(MigrateError::Legacy(format!(
                "session {violation} after copying"
            )))
        }
    }
}

/// Where the old tables are: still in their place, or taken over and kept.
pub(crate) async fn state(
    connection: &Connection,
    is_migrated: bool,
) -> Result<Option<LegacyState>, MigrateError> {
    if !is_migrated {
        let tables = tables::find(connection).await?;
        return Ok(tables.map(|_| LegacyState::Found));
    }
    let parameters: [Parameter<'_>; 1] = [(&SCHEMA, Type::TEXT)];
    let kept = connection
        .client()
        .query_typed_opt(WERE_TAKEN_OVER, &parameters)
        .await
        .map_err(DatabaseError::from)?;
    Ok(kept.map(|_| LegacyState::Kept))
}

/// Drops the tables that were taken over, and their schema; nothing that depends on them, so that a view of
/// someone else's is not lost unasked.
pub(crate) async fn drop_legacy(connection: &Connection) -> Result<Vec<Dropped>, MigrateError> {
    if state(connection, true).await?.is_none() {
        return Err(MigrateError::NothingToDrop);
    }
    let client = connection.client();
    let parameters: [Parameter<'_>; 1] = [(&SCHEMA, Type::TEXT)];
    let rows = client
        .query_typed(KEPT, &parameters)
        .await
        .map_err(DatabaseError::from)?;
    let mut dropped = Vec::new();
    for row in rows {
        let table: String = row.try_get("name").map_err(DatabaseError::from)?;
        let quoted = format!("{SCHEMA}.\"{}\"", table.replace('"', "\"\""));
        let row = client
            .query_typed_one(&format!("select count(*) as rows from {quoted}"), &[])
            .await
            .map_err(DatabaseError::from)?;
        let rows = row.try_get("rows").map_err(DatabaseError::from)?;
        dropped.push((quoted, Dropped { table, rows }));
    }
    let names: Vec<_> = dropped.iter().map(|(quoted, _)| quoted.as_str()).collect();
    let statements = format!("drop table {}; drop schema {SCHEMA}", names.join(", "));
    run(connection, &statements)
        .await
        .map_err(|error| MigrateError::Failed {
            step: format!("dropping the schema {SCHEMA}"),
            cause: error.to_string(),
        })?;
    Ok(dropped.into_iter().map(|(_, dropped)| dropped).collect())
}

async fn run(connection: &Connection, statements: &str) -> Result<(), DatabaseError> {
    Ok(connection.client().batch_execute(statements).await?)
}
