//! The rights that the functions and `maintain` need, and those that the database user lacks.

use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::statements::PARTS;
use crate::database::{Connection, Database, DatabaseError, Parameter};

/// The schema of all our tables and functions. Statements and functions name it, so that no setting
/// and no object in another schema can change what they use.
const SCHEMA: &str = "public";

/// The rights on tables that the functions use, and no others.
const REQUIRED: &[(&str, &str)] = &[
    ("chat_sessions", "SELECT"),
    ("chat_sessions", "INSERT"),
    ("chat_sessions", "UPDATE"),
    ("chat_messages", "SELECT"),
    ("chat_messages", "INSERT"),
    ("chat_events", "INSERT"),
    ("chat_erasures", "SELECT"),
    ("chat_erasures", "INSERT"),
    ("chat_feedback", "SELECT"),
    ("chat_feedback", "INSERT"),
    ("chat_feedback", "UPDATE"),
    ("chat_streams", "SELECT"),
    ("chat_streams", "INSERT"),
    ("chat_streams", "UPDATE"),
    ("chat_streams", "DELETE"),
    ("chat_search", "SELECT"),
    ("chat_search_parts", "SELECT"),
    ("chat_search_state", "SELECT"),
    ("audio_resources", "SELECT"),
    ("audio_resources", "INSERT"),
    ("audio_resources", "UPDATE"),
    ("audio_words", "SELECT"),
    ("audio_words", "INSERT"),
    ("audio_words", "UPDATE"),
    ("refinery_schema_history", "SELECT"),
];

/// The functions in the database that the functions call. They run with the rights of their caller,
/// who needs those above as well.
const CALLED: &[&str] = &[
    "chat_answer_v1",
    "chat_begin_turn_v1",
    "chat_finish_turn_v1",
    "chat_tokens_v1",
    "chat_history_v1",
    "chat_resume_v1",
    "chat_write_stream_v1",
    "chat_read_stream_v1",
    "chat_search_v1",
    "chat_search_text_v1",
    "audio_candidates_v1",
    "audio_combinations_v1",
    "audio_configuration_v1",
    "audio_cosine_v1",
    "audio_extension_v1",
    "audio_index_v1",
    "audio_near_v1",
    "audio_normal_v1",
    "audio_recording_vector_v1",
    "audio_replacements_v1",
    "audio_search_v1",
    "audio_signs_v1",
    "audio_terms_v1",
    "audio_text_v1",
    "audio_vector_type_v1",
    "audio_vector_v1",
    "audio_weight_v1",
    "audio_word_query_v1",
];

/// The rights on tables that `maintain` uses, besides those on the parts of a session.
const REQUIRED_TO_MAINTAIN: &[(&str, &str)] = &[
    ("chat_sessions", "SELECT"),
    ("chat_sessions", "UPDATE"),
    ("chat_sessions", "DELETE"),
    ("chat_erasures", "SELECT"),
    ("chat_erasures", "INSERT"),
    ("chat_erasures", "UPDATE"),
    ("chat_search", "INSERT"),
    ("chat_search", "UPDATE"),
    ("chat_search_parts", "SELECT"),
    ("chat_search_parts", "INSERT"),
    ("chat_search_parts", "UPDATE"),
    ("chat_search_parts", "DELETE"),
    ("chat_search_state", "SELECT"),
    ("chat_search_state", "UPDATE"),
    ("audio_resources", "SELECT"),
    // For the locks that come before deleting.
    ("audio_resources", "UPDATE"),
    ("audio_resources", "DELETE"),
    ("audio_words", "SELECT"),
    ("audio_words", "INSERT"),
    ("audio_words", "UPDATE"),
];

/// The functions in the database that `maintain` calls.
const CALLED_TO_MAINTAIN: &[&str] = &[
    "chat_search_fill_v1",
    "chat_search_horizon_v1",
    "chat_search_text_v1",
];

/// Who needs rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The functions with a route.
    App,
    /// `maintain`, the only one that may delete sessions and messages.
    Maintain,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::App, Self::Maintain];

    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::App => "daissy_app",
            Self::Maintain => "daissy_maintain",
        }
    }

    /// Its rights on tables, as tables and rights.
    fn on_tables(self) -> (Vec<&'static str>, Vec<&'static str>) {
        match self {
            Self::App => REQUIRED.iter().copied().unzip(),
            Self::Maintain => {
                let on_parts = PARTS
                    .iter()
                    .flat_map(|part| [(part.table, "SELECT"), (part.table, "DELETE")]);
                let required = REQUIRED_TO_MAINTAIN.iter().copied();
                required.chain(on_parts).unzip()
            }
        }
    }

    /// The functions in the database that it calls.
    fn calls(self) -> &'static [&'static str] {
        match self {
            Self::App => CALLED,
            Self::Maintain => CALLED_TO_MAINTAIN,
        }
    }
}

/// Missing rights on tables and functions that exist, and on their schema.
const MISSING: &str = "
    select privilege || ' on ' || object as missing
    from unnest($1::text[], $2::text[]) as required (object, privilege)
    join pg_catalog.pg_class c on c.relname = object
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = $4
    where not has_table_privilege(c.oid, privilege)
    union all
    select 'EXECUTE on ' || p.proname
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace and n.nspname = $4
    where p.proname = any($3)
      and not has_function_privilege(p.oid, 'EXECUTE')
    union all
    select 'USAGE on schema ' || n.nspname
    from pg_catalog.pg_namespace n
    where n.nspname = $4
      and not has_schema_privilege(n.oid, 'USAGE')
    order by missing
    limit 40";

/// The statements that give a role its rights.
#[must_use]
pub fn grants(role: Role) -> String {
    let (tables, rights) = role.on_tables();
    let role_name = role.name();
    let on_tables = tables
        .iter()
        .zip(rights)
        .map(|(table, right)| format!("grant {right} on {SCHEMA}.{table} to {role_name};"));
    let on_functions = role
        .calls()
        .iter()
        .map(|function| format!("grant execute on function {SCHEMA}.{function} to {role_name};"));
    on_tables.chain(on_functions).collect()
}

/// The rights of a role that the connected user lacks, each as `RIGHT on object`. Objects that do not
/// exist are skipped.
///
/// # Errors
/// [`DatabaseError`].
pub async fn missing(connection: &Connection, role: Role) -> Result<Vec<String>, DatabaseError> {
    let (objects, privileges) = role.on_tables();
    let rows = connection
        .client()
        .query_typed(MISSING, &parameters(&objects, &privileges, &role.calls()))
        .await?;
    read(&rows)
}

/// Finds the missing rights behind a failure that may be due to them; returns any other failure
/// unchanged.
pub(super) async fn explain(
    database: &Database,
    deadline: Instant,
    role: Role,
    error: DatabaseError,
) -> DatabaseError {
    if !error.may_lack_rights() {
        return error;
    }
    let (objects, privileges) = role.on_tables();
    let rows = database
        .query(
            deadline,
            MISSING,
            &parameters(&objects, &privileges, &role.calls()),
        )
        .await;
    match rows.and_then(|rows| read(&rows)) {
        Ok(missing) if !missing.is_empty() => error.with_missing_rights(missing.join(", ")),
        _ => error,
    }
}

fn parameters<'a>(
    objects: &'a Vec<&'static str>,
    privileges: &'a Vec<&'static str>,
    functions: &'a &'static [&'static str],
) -> [Parameter<'a>; 4] {
    [
        (objects, Type::TEXT_ARRAY),
        (privileges, Type::TEXT_ARRAY),
        (functions, Type::TEXT_ARRAY),
        (&SCHEMA, Type::TEXT),
    ]
}

fn read(rows: &[Row]) -> Result<Vec<String>, DatabaseError> {
    rows.iter().map(|row| Ok(row.try_get("missing")?)).collect()
}
