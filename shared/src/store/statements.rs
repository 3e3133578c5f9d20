//! The text of every statement, with the scope in which it looks for conversations.
//!
//! Those of a turn and of reading are functions in the database, which keeps their plans: planning
//! one of them anew each time took three quarters of its work. A function's name ends with its
//! version; a change is a new function, so that old and new binaries find their own.

/// A statement.
#[derive(Debug, Clone, Copy)]
pub struct Statement {
    /// Its name, in the words of the code.
    pub name: &'static str,
    /// Where it looks.
    pub scope: Scope,
    /// Its text, with parameters `$1` and up.
    pub sql: &'static str,
}

/// Which conversations a statement touches. Where the tables are distributed by `session_id`, the
/// scope says how many places have to work together (docs/scale.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One session, named by its id.
    Session,
    /// One session, and another one that is opened.
    SessionAndNew,
    /// The sessions of one owner.
    Owner,
    /// No session.
    Schema,
    /// No session: the catalogue of recordings, which every place has in full.
    Catalogue,
    /// All sessions, and only by `maintain`.
    Maintain,
}

/// Begins a turn.
pub const BEGIN_TURN: Statement = Statement {
    name: "begin a turn",
    scope: Scope::Session,
    sql: "select * from public.chat_begin_turn_v1(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
};

/// Finishes a turn.
pub const FINISH_TURN: Statement = Statement {
    name: "finish a turn",
    scope: Scope::Session,
    sql: "select * from public.chat_finish_turn_v1(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
};

/// Gives a turn up.
pub const ABANDON_TURN: Statement = Statement {
    name: "abandon a turn",
    scope: Scope::Session,
    sql: include_str!("sql/abandon_turn.sql"),
};

/// Writes a piece of a streamed answer, or a sign of life.
pub const WRITE_STREAM: Statement = Statement {
    name: "write a stream",
    scope: Scope::Session,
    sql: "select public.chat_write_stream_v1($1, $2, $3, $4, $5, $6, $7) as outcome",
};

/// Reads how far a turn is.
pub const READ_STREAM: Statement = Statement {
    name: "read a stream",
    scope: Scope::Session,
    sql: "select * from public.chat_read_stream_v1($1, $2, $3, $4, $5, $6, $7)",
};

/// Asks a streamed turn to stop.
pub const STOP_STREAM: Statement = Statement {
    name: "stop a stream",
    scope: Scope::Session,
    sql: include_str!("sql/stop_stream.sql"),
};

/// Reads a page of messages.
pub const HISTORY: Statement = Statement {
    name: "history",
    scope: Scope::Session,
    sql: "select * from public.chat_history_v1($1, $2, $3, $4, $5, $6, $7)",
};

/// Resumes a session.
pub const RESUME: Statement = Statement {
    name: "resume",
    scope: Scope::Session,
    sql: "select * from public.chat_resume_v1($1, $2, $3, $4)",
};

/// Copies a session.
pub const FORK: Statement = Statement {
    name: "fork",
    scope: Scope::SessionAndNew,
    sql: include_str!("sql/fork.sql"),
};

/// Reads the statistics of a session.
pub const STATUS: Statement = Statement {
    name: "status",
    scope: Scope::Session,
    sql: include_str!("sql/status.sql"),
};

/// Opens a session.
pub const OPEN: Statement = Statement {
    name: "open",
    scope: Scope::Session,
    sql: "
        insert into public.chat_sessions (session_id, owner)
        select *
        from (values ($1, $2)) as new (session_id, owner)
        where not exists (select from public.chat_erasures where session_id = $1)
        on conflict (session_id) do nothing",
};

/// Closes a session and opens another.
pub const RESET: Statement = Statement {
    name: "reset",
    scope: Scope::SessionAndNew,
    sql: include_str!("sql/reset.sql"),
};

/// Lists an owner's sessions.
pub const LIST_SESSIONS: Statement = Statement {
    name: "list sessions",
    scope: Scope::Owner,
    sql: include_str!("sql/list_sessions.sql"),
};

/// Finds a session.
pub const FIND_SESSION: Statement = Statement {
    name: "find a session",
    scope: Scope::Session,
    sql: include_str!("sql/find_session.sql"),
};

/// Changes a session.
pub const CHANGE_SESSION: Statement = Statement {
    name: "change a session",
    scope: Scope::Session,
    sql: include_str!("sql/change_session.sql"),
};

/// Erases a session.
pub const ERASE_SESSION: Statement = Statement {
    name: "erase a session",
    scope: Scope::Session,
    sql: include_str!("sql/erase_session.sql"),
};

/// Stores feedback.
pub const GIVE_FEEDBACK: Statement = Statement {
    name: "give feedback",
    scope: Scope::Session,
    sql: include_str!("sql/give_feedback.sql"),
};

/// Reads a page of an owner's sessions and their messages.
pub const EXPORT: Statement = Statement {
    name: "export",
    scope: Scope::Owner,
    sql: include_str!("sql/export.sql"),
};

/// Searches an owner's messages, or those of one session.
pub const SEARCH: Statement = Statement {
    name: "search",
    scope: Scope::Owner,
    sql: "select * from public.chat_search_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
};

/// Finds out how far the index for searching can go.
pub const SEARCH_HORIZON: Statement = Statement {
    name: "horizon of the search index",
    scope: Scope::Maintain,
    sql: "select * from public.chat_search_horizon_v1($1)",
};

/// Takes messages into the index for searching.
pub const FILL_SEARCH: Statement = Statement {
    name: "fill the search index",
    scope: Scope::Maintain,
    sql: "select public.chat_search_fill_v1($1, $2, $3, $4) as messages",
};

/// Waits until messages that are being taken into the index for searching are there: those of a session that
/// was marked meanwhile would come back after they were erased. The filling holds this row. What begins to fill
/// later sees every mark that was there before this.
pub const WAIT_FOR_FILL: Statement = Statement {
    name: "wait for the filling of the search index",
    scope: Scope::Maintain,
    sql: "
        select count(*) as rows
        from (select from public.chat_search_state for key share) state",
};

/// Forgets owners in the index for searching who have no session any more.
pub const FORGET_OWNERS: Statement = Statement {
    name: "forget owners in the search index",
    scope: Scope::Maintain,
    sql: include_str!("sql/forget_owners.sql"),
};

/// Reads the version of the schema.
pub const SERVICE_STATUS: Statement = Statement {
    name: "status of the service",
    scope: Scope::Schema,
    sql: include_str!("sql/service_status.sql"),
};

/// Finds recordings.
pub const SEARCH_RECORDINGS: Statement = Statement {
    name: "search recordings",
    scope: Scope::Catalogue,
    sql: "select * from public.audio_search_v1($1, $2, $3, $4, $5, $6, $7)",
};

/// Names the recordings among some that are in the catalogue.
pub const KNOWN_RECORDINGS: Statement = Statement {
    name: "known recordings",
    scope: Scope::Catalogue,
    sql: "
        select r.audio_id, r.location
        from public.audio_resources r
        where r.audio_id = any($1)
        order by r.audio_id
        limit 1000",
};

/// Names the recordings among some that are new or differ from what is stored.
pub const CHANGED_RECORDINGS: Statement = Statement {
    name: "changed recordings",
    scope: Scope::Catalogue,
    sql: "
        select g.place
        from unnest($1, $2) with ordinality g (audio_id, digest, place)
        left join public.audio_resources r on r.audio_id = g.audio_id
        where r.digest is distinct from g.digest
        order by g.place",
};

/// Adds recordings to the catalogue and changes those that differ.
pub const PUT_RECORDINGS: Statement = Statement {
    name: "put recordings",
    scope: Scope::Catalogue,
    sql: include_str!("sql/put_recordings.sql"),
};

/// Reads recordings that have no embedding of a model.
pub const WITHOUT_EMBEDDING: Statement = Statement {
    name: "recordings without an embedding",
    scope: Scope::Catalogue,
    sql: "
        select
            r.audio_id, r.updated_at, r.title, r.tags, r.summary,
            left(r.transcript, 10000) as transcript
        from public.audio_resources r
        where r.is_active
          and r.embedding_model is distinct from $1
          and ($2::uuid is null or r.audio_id > $2)
        order by r.audio_id
        limit $3",
};

/// Stores embeddings of recordings.
pub const SET_EMBEDDINGS: Statement = Statement {
    name: "set embeddings",
    scope: Scope::Catalogue,
    sql: include_str!("sql/set_embeddings.sql"),
};

/// Makes the indexes that need an extension of the server.
pub const INDEX_RECORDINGS: Statement = Statement {
    name: "index recordings",
    scope: Scope::Catalogue,
    sql: "select public.audio_index_v1()",
};

/// Reads a page of the catalogue.
pub const LIST_RECORDINGS: Statement = Statement {
    name: "list recordings",
    scope: Scope::Catalogue,
    sql: "
        select
            r.audio_id, r.filename, r.location, r.title, r.summary, r.language, r.duration_seconds, r.tags,
            r.metadata, r.is_active, r.embedding_model,
            coalesce(length(r.transcript), 0) as transcript_characters
        from public.audio_resources r
        where $1::uuid is null
           or r.audio_id > $1
        order by r.audio_id
        limit $2",
};

/// Whole recordings, to be imported elsewhere.
pub const WHOLE_RECORDINGS: Statement = Statement {
    name: "whole recordings",
    scope: Scope::Catalogue,
    sql: "
        select
            r.audio_id, r.filename, r.location, r.title, r.summary, r.transcript, r.language,
            r.duration_seconds, r.tags, r.metadata, r.is_active
        from public.audio_resources r
        where $1::uuid is null
           or r.audio_id > $1
        order by r.audio_id
        limit $2",
};

/// Deletes recordings.
pub const REMOVE_RECORDINGS: Statement = Statement {
    name: "remove recordings",
    scope: Scope::Catalogue,
    sql: include_str!("sql/remove_recordings.sql"),
};

/// All that concern the catalogue of recordings.
pub const OF_CATALOGUE: &[Statement] = &[
    SEARCH_RECORDINGS,
    KNOWN_RECORDINGS,
    CHANGED_RECORDINGS,
    PUT_RECORDINGS,
    WITHOUT_EMBEDDING,
    SET_EMBEDDINGS,
    INDEX_RECORDINGS,
    LIST_RECORDINGS,
    WHOLE_RECORDINGS,
    REMOVE_RECORDINGS,
];

/// All other statements that requests run.
pub const ALL: &[Statement] = &[
    BEGIN_TURN,
    FINISH_TURN,
    ABANDON_TURN,
    WRITE_STREAM,
    READ_STREAM,
    STOP_STREAM,
    HISTORY,
    RESUME,
    FORK,
    STATUS,
    OPEN,
    RESET,
    LIST_SESSIONS,
    FIND_SESSION,
    CHANGE_SESSION,
    ERASE_SESSION,
    GIVE_FEEDBACK,
    EXPORT,
    SEARCH,
    SERVICE_STATUS,
];

/// Says whether a recorded session is not erased yet, of one owner or of any.
pub const UNFINISHED: Statement = Statement {
    name: "unfinished erasures",
    scope: Scope::Maintain,
    sql: "
        select exists (
            select
            from public.chat_erasures e
            left join public.chat_sessions s on s.session_id = e.session_id
            where e.finished_at is null
              and ($1::text is null or s.owner = $1)
        ) as unfinished",
};

/// Marks and records the sessions past retention among the next ones.
pub const EXPIRE: Statement = Statement {
    name: "expire sessions",
    scope: Scope::Maintain,
    sql: include_str!("sql/expire.sql"),
};

/// Marks and records sessions of an owner.
pub const RECORD_OWNER: Statement = Statement {
    name: "record the sessions of an owner",
    scope: Scope::Maintain,
    sql: include_str!("sql/record_owner.sql"),
};

/// Counts the sessions of an owner.
pub const COUNT_SESSIONS: Statement = Statement {
    name: "count the sessions of an owner",
    scope: Scope::Maintain,
    sql: "select count(*) as rows from public.chat_sessions s where s.owner = $1",
};

/// A table whose rows belong to a session, besides the session's own row.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The table.
    pub table: &'static str,
    /// Its rows in a report.
    pub rows: &'static str,
    /// Deletes some of the rows of recorded sessions.
    pub erase: Statement,
    /// Counts the rows of an owner.
    pub count: Statement,
}

/// Recorded sessions, locked, so that of two runs at a time each waits for the other instead of deleting the
/// same rows in another order. A session may be gone already.
///
/// $1 their ids
macro_rules! recorded {
    () => {
        "
        recorded as (
            select e.session_id
            from public.chat_erasures e
            where e.session_id = any($1)
              and e.finished_at is null
            order by e.session_id
            for update of e
        )"
    };
}

/// Lists the parts of a session: for each table what its rows are called, and the column that tells
/// those of one session apart. A new table with a `session_id` needs a line here and nothing else.
macro_rules! parts {
    ($(($rows:literal, $table:literal, $key:literal)),+ $(,)?) => {
        /// The parts of a session.
        pub const PARTS: &[Part] = &[$(Part {
            table: $table,
            rows: $rows,
            erase: Statement {
                name: concat!("erase ", $rows),
                scope: Scope::Maintain,
                sql: concat!("with", recorded!(), ",
        batch as (
            select part.session_id, part.", $key, "
            from recorded
            join public.chat_sessions s on s.session_id = recorded.session_id
            cross join lateral (
                select p.session_id, p.", $key, "
                from public.", $table, " p
                where p.session_id = s.session_id
                limit $2
            ) part
            where s.erased_at is not null
            limit $2
        ),
        erased as (
            delete from public.", $table, " part
            using batch
            where part.session_id = batch.session_id
              and part.", $key, " = batch.", $key, "
            returning part.session_id
        )
        select count(*) as rows
        from erased"),
            },
            count: Statement {
                name: concat!("count ", $rows),
                scope: Scope::Maintain,
                sql: concat!("
        select count(*) as rows
        from public.chat_sessions s
        join public.", $table, " part on part.session_id = s.session_id
        where s.owner = $1"),
            },
        }),+];

        /// Deletes the rows of recorded sessions that have no parts left, and finishes their erasures.
        pub const FINISH_ERASURES: Statement = Statement {
            name: "finish erasures",
            scope: Scope::Maintain,
            sql: concat!("with", recorded!(), ",
        erased as (
            delete from public.chat_sessions s
            using recorded
            where s.session_id = recorded.session_id
              and s.erased_at is not null", $("
              and not exists (select from public.", $table, " p where p.session_id = s.session_id)"),+, "
            returning s.session_id
        ),
        finished as (
            update public.chat_erasures e
            set finished_at = clock_timestamp()
            from recorded
            where e.session_id = recorded.session_id
              and (
                  e.session_id in (select session_id from erased)
                  or not exists (
                      select from public.chat_sessions s where s.session_id = e.session_id
                  )
              )
            returning e.session_id
        )
        select
            (select count(*) from erased) as rows,
            (select count(*) from finished) as finished"),
        };
    };
}

parts![
    ("messages", "chat_messages", "seq"),
    ("events", "chat_events", "event_id"),
    ("feedback", "chat_feedback", "seq"),
    ("streams", "chat_streams", "lease_id"),
    ("search_entries", "chat_search", "seq"),
];

/// Names the recorded sessions that come next, and hides those that are not hidden: those in a restored
/// database.
pub const NEXT_ERASURES: Statement = Statement {
    name: "next erasures",
    scope: Scope::Maintain,
    sql: include_str!("sql/next_erasures.sql"),
};

/// All that `maintain` runs, without those for each of [`PARTS`].
pub const BY_MAINTAIN: &[Statement] = &[
    UNFINISHED,
    EXPIRE,
    RECORD_OWNER,
    NEXT_ERASURES,
    FINISH_ERASURES,
    COUNT_SESSIONS,
    SEARCH_HORIZON,
    FILL_SEARCH,
    WAIT_FOR_FILL,
    FORGET_OWNERS,
];
