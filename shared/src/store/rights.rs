//! The rights that the functions need, and those that the database user lacks.

use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::database::{Connection, Database, DatabaseError, Parameter};

/// The rights on tables that the functions use, and no others.
const REQUIRED: &[(&str, &str)] = &[
    ("chat_sessions", "SELECT"),
    ("chat_sessions", "INSERT"),
    ("chat_sessions", "UPDATE"),
    ("chat_messages", "SELECT"),
    ("chat_messages", "INSERT"),
    ("refinery_schema_history", "SELECT"),
];

/// Missing rights on visible tables, then schemas that hide our tables.
const MISSING: &str = "
    select privilege || ' on ' || object as missing
    from unnest($1::text[], $2::text[]) as required (object, privilege)
    where to_regclass(object) is not null
      and not has_table_privilege(to_regclass(object), privilege)
    union all
    select distinct 'USAGE on schema ' || n.nspname
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relname = any($1)
      and c.relkind in ('r', 'p')
      and n.nspname = any(string_to_array(replace(current_setting('search_path'), ' ', ''), ','))
      and not has_schema_privilege(n.oid, 'USAGE')
    order by missing
    limit 20";

/// The statements that give a role these rights.
#[must_use]
pub fn grants(role: &str) -> String {
    let grant = |(table, right): &(&str, &str)| format!("grant {right} on {table} to {role};");
    REQUIRED.iter().map(grant).collect()
}

/// The rights that the connected user lacks, each as `RIGHT on object`. Tables that do not exist
/// are skipped.
///
/// # Errors
/// [`DatabaseError`].
pub async fn missing(connection: &Connection) -> Result<Vec<String>, DatabaseError> {
    let (objects, privileges) = required();
    let rows = connection
        .client()
        .query_typed(MISSING, &parameters(&objects, &privileges))
        .await?;
    read(&rows)
}

/// Finds the missing rights behind a failure that may be due to them; returns any other failure
/// unchanged.
pub(super) async fn explain(
    database: &Database,
    deadline: Instant,
    error: DatabaseError,
) -> DatabaseError {
    if !error.may_lack_rights() {
        return error;
    }
    let (objects, privileges) = required();
    let rows = database
        .query(deadline, MISSING, &parameters(&objects, &privileges))
        .await;
    match rows.and_then(|rows| read(&rows)) {
        Ok(missing) if !missing.is_empty() => error.with_missing_rights(missing.join(", ")),
        _ => error,
    }
}

fn required() -> (Vec<&'static str>, Vec<&'static str>) {
    REQUIRED.iter().copied().unzip()
}

fn parameters<'a>(
    objects: &'a Vec<&'static str>,
    privileges: &'a Vec<&'static str>,
) -> [Parameter<'a>; 2] {
    [(objects, Type::TEXT_ARRAY), (privileges, Type::TEXT_ARRAY)]
}

fn read(rows: &[Row]) -> Result<Vec<String>, DatabaseError> {
    rows.iter().map(|row| Ok(row.try_get("missing")?)).collect()
}
