//! Recognises the Python server's tables by their columns. Three generations of it are known, and a table
//! may be older than its neighbour, because the server created missing tables and never changed one.

use std::collections::BTreeSet;

use shared::database::{Connection, DatabaseError};

/// The schema that the old tables are moved into.
pub(super) const SCHEMA: &str = "daissy_legacy";

/// The columns of both tables, whatever rights we have.
const COLUMNS: &str = "
    select
        c.relname::text as table_name,
        a.attname::text || ' ' || format_type(a.atttypid, null) as column_name
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid
    where n.nspname = 'public'
      and c.relname in ('chat_sessions', 'chat_messages')
      and c.relkind = 'r'
      and a.attnum > 0
      and not a.attisdropped";

const SESSIONS: &[&str] = &[
    "id integer",
    "session_id character varying",
    "created_at timestamp without time zone",
    "updated_at timestamp without time zone",
    "is_active boolean",
];

const MESSAGES: &[&str] = &[
    "id integer",
    "message_id character varying",
    "role character varying",
    "content text",
    "timestamp timestamp without time zone",
];

/// Of messages, but for those of the last version.
const JSON: &[&str] = &["audio_files json", "function_calls json", "extra_data json"];

const SESSION_ID: &str = "session_id character varying";
const USER_ID: &str = "user_id character varying";

/// Tables of the Python server, as far as they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tables {
    /// The table of sessions, which the third generation gave up; whether it names users.
    sessions: Option<bool>,
    /// Whether messages belong to sessions; otherwise each user has one conversation.
    messages_have_sessions: bool,
    messages_name_users: bool,
    messages_have_json: bool,
}

/// The tables, if they are known.
pub(super) async fn find(connection: &Connection) -> Result<Option<Tables>, DatabaseError> {
    let rows = connection.client().query_typed(COLUMNS, &[]).await?;
    let (mut sessions, mut messages) = (BTreeSet::new(), BTreeSet::new());
    for row in &rows {
        let column: String = row.try_get("column_name")?;
        match row.try_get("table_name")? {
            "chat_sessions" => sessions.insert(column),
            _ => messages.insert(column),
        };
    }
    Ok(Tables::of(sessions, messages))
}

impl Tables {
    fn of(mut sessions: BTreeSet<String>, mut messages: BTreeSet<String>) -> Option<Self> {
        let session_table = match sessions.is_empty() {
            true => None,
            false => {
                let names_users = sessions.remove(USER_ID);
                take(&mut sessions, SESSIONS)?;
                Some(names_users)
            }
        };
        let messages_have_sessions = messages.remove(SESSION_ID);
        let messages_name_users = messages.remove(USER_ID);
        let messages_have_json = take(&mut messages, JSON).is_some();
        take(&mut messages, MESSAGES)?;
        let is_known = sessions.is_empty()
            && messages.is_empty()
            && if messages_have_sessions {
                session_table.is_some() && messages_have_json
            } else {
                messages_name_users
            };
        is_known.then_some(Self {
            sessions: session_table,
            messages_have_sessions,
            messages_name_users,
            messages_have_json,
        })
    }

    /// Whether a kind of owner is needed.
    pub(super) fn name_users(&self) -> bool {
        self.messages_name_users || self.sessions == Some(true)
    }

    /// The tables that there are.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let sessions = self.sessions.map(|_| "chat_sessions");
        sessions.into_iter().chain(["chat_messages"]).collect()
    }

    /// The ids of all conversations, as a column `legacy_id`: those of sessions, also of such as only
    /// messages name; or those of users, who have one conversation each.
    pub(super) fn conversations(&self) -> String {
        let of_messages = format!(
            "select {}::text as legacy_id from {SCHEMA}.chat_messages",
            self.key()
        );
        match self.sessions {
            None => format!("select distinct legacy_id from ({of_messages}) messages"),
            Some(_) => format!(
                "select session_id::text as legacy_id from {SCHEMA}.chat_sessions union {of_messages}"
            ),
        }
    }

    /// All conversations and their messages, in the order of both; a conversation without messages has one
    /// row, whose `id` is null.
    pub(super) fn rows(&self) -> String {
        let (created_at, updated_at) = (utc("s.created_at"), utc("s.updated_at"));
        let said_at = utc("m.timestamp");
        let sessions = match self.sessions {
            Some(_) => format!("{SCHEMA}.chat_sessions"),
            None => "(select null::text as session_id, null::integer as id, null::timestamp as created_at,
                     null::timestamp as updated_at, null::boolean as is_active)"
                .to_owned(),
        };
        let session_user = match (self.sessions, self.messages_have_sessions) {
            (Some(true), true) => "s.user_id::text",
            // A session that was left over from an earlier generation.
            (Some(true), false) => "coalesce(m.user_id, s.user_id)::text",
            _ => "null::text",
        };
        let message_user = match self.messages_name_users {
            true => "m.user_id::text",
            false => "null::text",
        };
        let json = |column: &str| match self.messages_have_json {
            true => format!("m.{column}::text"),
            false => "null::text".to_owned(),
        };
        let (audio_files, function_calls, extra_data) = (
            json("audio_files"),
            json("function_calls"),
            json("extra_data"),
        );
        format!(
            "with said as (
                select
                    i.session_id, s.id is not null as has_row, {created_at} as created_at,
                    {updated_at} as updated_at, s.is_active, {session_user} as session_user,
                    m.id, m.message_id::text as message_id, m.role::text as role, m.content,
                    {said_at} as said_at, {message_user} as message_user,
                    {audio_files} as audio_files, {function_calls} as function_calls,
                    {extra_data} as extra_data,
                    case when m.role = 'user' then 1 else -1 end as step
                from {SCHEMA}.session_ids i
                left join {sessions} s on s.session_id = i.legacy_id
                left join {SCHEMA}.chat_messages m on m.{key} = i.legacy_id
            ),
            opened as (
                select
                    said.*,
                    sum(step) over (partition by session_id order by said_at nulls last, id) as open
                from said
            )
            select
                opened.*,
                min(open) over conversation >= 0 and sum(step) over conversation = 0 as is_even,
                min(message_user) over conversation as first_user,
                max(message_user) over conversation as last_user
            from opened
            window conversation as (partition by session_id)
            order by session_id, said_at nulls last, id",
            key = self.key(),
        )
    }

    fn key(&self) -> &'static str {
        match self.messages_have_sessions {
            true => "session_id",
            false => "user_id",
        }
    }
}

/// A time of the server, which wrote UTC without saying so; null if no calendar has it.
fn utc(column: &str) -> String {
    format!(
        "case when {column} between timestamp '0001-01-01' and timestamp '9999-12-31'
            then {column} at time zone 'UTC' end"
    )
}

/// Removes these columns, if all of them are there.
fn take(columns: &mut BTreeSet<String>, expected: &[&str]) -> Option<()> {
    if !expected.iter().all(|column| columns.contains(*column)) {
        return None;
    }
    columns.retain(|column| !expected.contains(&column.as_str()));
    Some(())
}
