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
}

/// Begins a turn.
pub const BEGIN_TURN: Statement = Statement {
    name: "begin a turn",
    scope: Scope::Session,
    sql: "select * from public.chat_begin_turn_v1(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
};

/// Finishes a turn.
pub const FINISH_TURN: Statement = Statement {
    name: "finish a turn",
    scope: Scope::Session,
    sql: "select * from public.chat_finish_turn_v1(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
};

/// Gives a turn up.
pub const ABANDON_TURN: Statement = Statement {
    name: "abandon a turn",
    scope: Scope::Session,
    sql: include_str!("sql/abandon_turn.sql"),
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
        values ($1, $2)
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

/// Reads the version of the schema.
pub const SERVICE_STATUS: Statement = Statement {
    name: "status of the service",
    scope: Scope::Schema,
    sql: include_str!("sql/service_status.sql"),
};

/// All of them.
pub const ALL: &[Statement] = &[
    BEGIN_TURN,
    FINISH_TURN,
    ABANDON_TURN,
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
    SERVICE_STATUS,
];
