//! The ids that conversations get, worked out in Rust, where a request that names an old one does the same.
//! They stay beside the old tables, for whoever wants to know which id became which.

use shared::database::{Connection, DatabaseError, Parameter};
use shared::ids::{legacy_digest, legacy_id, parse_id};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::tables::{SCHEMA, Tables};

/// How many ids are assigned together.
const BATCH: usize = 1000;

/// How often an id is tried that is taken. A second time is needed where ids differ in case only; more often,
/// someone chose ids that are digests of others.
const MAX_ATTEMPTS: u32 = 10;

/// The pattern of a UUID.
const UUID: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";

/// Gives the table of ids to the owner of the others, so that whoever may drop those may drop it.
const HAND_OVER: &str = "
    do $$
    declare
        owner name;
    begin
        select tableowner
        into owner
        from pg_tables
        where schemaname = 'daissy_legacy'
          and tablename = 'chat_messages'
          and has_schema_privilege(tableowner, 'daissy_legacy', 'create');
        if found then
            execute format('alter table daissy_legacy.session_ids owner to %I', owner);
        end if;
    end
    $$";

/// How ids were assigned.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    /// Old ids that are no UUIDs.
    pub(super) digested: i64,
    /// UUIDs that were taken.
    pub(super) renamed: i64,
}

/// Assigns an id to every conversation.
pub(super) async fn assign(
    connection: &Connection,
    tables: &Tables,
) -> Result<Assigned, DatabaseError> {
    let client = connection.client();
    // A UUID in lower case comes first, so it stays what it is, whatever else folds to it.
    client
        .batch_execute(&format!(
            "create table {SCHEMA}.session_ids (
                legacy_id text not null constraint session_ids_pkey primary key,
                session_id uuid not null constraint session_ids_session_id_key unique
            );
            declare legacy_ids no scroll cursor for
                select legacy_id
                from ({}) named
                order by legacy_id !~ '{UUID}', legacy_id !~* '{UUID}', legacy_id collate \"C\"",
            tables.conversations()
        ))
        .await?;
    let mut assigned = Assigned::default();
    loop {
        let fetch = format!("fetch {BATCH} from legacy_ids");
        let rows = client.query_typed(&fetch, &[]).await?;
        if rows.is_empty() {
            break;
        }
        let ids: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
        store(connection, ids?, &mut assigned).await?;
    }
    client
        .batch_execute(&format!(
            "close legacy_ids; analyze {SCHEMA}.session_ids; analyze {SCHEMA}.chat_messages;
            {HAND_OVER}"
        ))
        .await?;
    Ok(assigned)
}

async fn store(
    connection: &Connection,
    mut legacy_ids: Vec<String>,
    assigned: &mut Assigned,
) -> Result<(), DatabaseError> {
    let is_uuid = |id: &String| parse_id(id).is_some();
    let digested = legacy_ids.iter().filter(|id| !is_uuid(id)).count();
    assigned.digested += i64::try_from(digested).unwrap_or(i64::MAX);
    let statement = format!(
        "insert into {SCHEMA}.session_ids (legacy_id, session_id)
        select * from unnest($1::text[], $2::uuid[])
        on conflict (session_id) do nothing
        returning legacy_id"
    );
    for attempt in 0..MAX_ATTEMPTS {
        let session_ids: Vec<Uuid> = legacy_ids
            .iter()
            .map(|id| match attempt {
                0 => legacy_id(id),
                attempt => legacy_digest(id, attempt),
            })
            .collect();
        let parameters: [Parameter<'_>; 2] = [
            (&legacy_ids, Type::TEXT_ARRAY),
            (&session_ids, Type::UUID_ARRAY),
        ];
        let rows = connection
            .client()
            .query_typed(&statement, &parameters)
            .await?;
        if rows.len() == legacy_ids.len() {
            return Ok(());
        }
        let stored: Result<std::collections::HashSet<&str>, _> =
            rows.iter().map(|row| row.try_get(0)).collect();
        let stored = stored?;
        legacy_ids.retain(|id| !stored.contains(id.as_str()));
        if attempt == 0 {
            assigned.renamed += i64::try_from(legacy_ids.len()).unwrap_or(i64::MAX);
        }
    }
    Err(DatabaseError::unexpected("ids that are all taken"))
}
