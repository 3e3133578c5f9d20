//! Databases of the Python server, as it created and filled them.

/// A generation of the server, by its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Sessions and messages.
    First,
    /// Both name users.
    Second,
    /// Messages of users, without sessions.
    Third,
    /// The same without JSON.
    Last,
}

/// All of them.
pub const GENERATIONS: [Generation; 4] = [
    Generation::First,
    Generation::Second,
    Generation::Third,
    Generation::Last,
];

impl Generation {
    /// Whether there is a table of sessions.
    pub fn has_sessions(self) -> bool {
        matches!(self, Self::First | Self::Second)
    }

    /// Whether the tables name users.
    pub fn has_users(self) -> bool {
        self != Self::First
    }

    /// The statements with which SQLAlchemy created the tables.
    pub fn tables(self) -> String {
        let user = if self.has_users() {
            "user_id varchar(255),"
        } else {
            ""
        };
        let (key, json) = match self {
            Self::First | Self::Second => ("session_id varchar(255) not null,", true),
            Self::Third | Self::Last => ("", self == Self::Third),
        };
        let json = if json {
            "audio_files json, function_calls json, extra_data json,"
        } else {
            ""
        };
        let mut tables = String::new();
        if self.has_sessions() {
            tables.push_str(&format!(
                "create table chat_sessions (
                    id serial not null, session_id varchar(255) not null, {user}
                    created_at timestamp without time zone, updated_at timestamp without time zone,
                    is_active boolean, primary key (id)
                );
                create index ix_chat_sessions_id on chat_sessions (id);
                create unique index ix_chat_sessions_session_id on chat_sessions (session_id);"
            ));
        }
        let index = if self.has_sessions() {
            "session_id"
        } else {
            "user_id"
        };
        tables.push_str(&format!(
            "create table chat_messages (
                id serial not null, {key} {user} message_id varchar(255) not null,
                role varchar(50) not null, content text not null,
                timestamp timestamp without time zone, {json} primary key (id)
            );
            create index ix_chat_messages_id on chat_messages (id);
            create unique index ix_chat_messages_message_id on chat_messages (message_id);
            create index ix_chat_messages_{index} on chat_messages ({index});"
        ));
        tables
    }
}

/// Fills the tables of the first generation: of every four sessions one is empty and three have ten messages.
/// Of those some have turns that ran side by side, some one time for all messages, some an id that is no UUID
/// or in upper case, some a message without a row for its session.
pub fn filled(sessions: i64) -> String {
    format!(
        "create function pg_temp.name(n bigint) returns text immutable language sql as $$
            select case n % 50
                when 1 then 'session ' || n || '/é?'
                when 2 then upper(md5(n::text)::uuid::text)
                else md5(n::text)::uuid::text
            end
        $$;
        insert into chat_sessions (session_id, created_at, updated_at, is_active)
        select
            pg_temp.name(n), timestamp '2025-09-02' + n * interval '1 minute',
            timestamp '2025-09-02' + n * interval '1 minute', n % 10 <> 9
        from generate_series(1, {sessions}) n
        where n % 49 <> 5;

        insert into chat_messages (
            session_id, message_id, role, content, timestamp, audio_files, function_calls, extra_data
        )
        select
            pg_temp.name(n), md5(n || ' ' || m)::uuid, role,
            role || ' \"' || m || E'\"\\n\\tof “' || n || '” ' || repeat('… ', (n % 40)::int),
            timestamp '2025-09-02' + n * interval '1 minute'
                + case when n % 7 = 3 then 0 else m / 2 * 37 end * interval '1 second'
                + case when n % 7 = 3 then 0 else m end * interval '3 microseconds',
            case
                when role = 'assistant' and m % 4 = 3 then
                    '[{{\"audio_id\": \"a\", \"filename\": \"s\\u0000.mp3\", \"relevance_score\": 0.8712345678901234}}]'
                when m % 4 = 1 then '[]'
                else 'null'
            end::json,
            case
                when role = 'assistant' and m % 4 = 3 then
                    '[{{\"found_relevant_audio\": true, \"audio_files\": [], \"context_items\": [], \"search_query\": \"sleep\"}}]'
                when role = 'assistant' then '[]'
            end::json,
            case when m = 0 then null else 'null' end::json
        from generate_series(1, {sessions}) n
        cross join generate_series(0, 9) m
        cross join lateral (
            -- Of every fifth session the turns two by two: question, question, answer, answer.
            select case
                when n % 5 = 2 and m < 8 then case when m % 4 < 2 then 'user' else 'assistant' end
                when m % 2 = 0 then 'user'
                else 'assistant'
            end as role
        ) said
        where n % 4 <> 0
        order by n % 100, m, n"
    )
}
