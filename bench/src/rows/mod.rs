//! The rows, one module for each, and what they share.

pub mod cold_start;
pub mod cost;
pub mod database;
pub mod growth;
pub mod recordings;
pub mod search;
pub mod streams;
pub mod throughput;
pub mod warm;

use futures_util::future::join_all;
use uuid::Uuid;

use crate::Effort;
use crate::database::{BenchDatabase, TODAY};
use crate::load::{Call, Server};
use crate::pgbench::{MOST_CLIENTS, create_clients};
use crate::progress;

/// What the rows are measured on.
pub struct Stage {
    /// How much to measure.
    pub effort: Effort,
    /// The server.
    pub database: BenchDatabase,
    /// The local server on it.
    pub local: Server,
    /// Sessions with some turns, for the callers of the local server; pgbench has others.
    pub sessions: Vec<String>,
    /// The session that is reset, and so takes no turns.
    to_reset: String,
}

impl Stage {
    /// Starts the servers and makes the sessions.
    pub async fn set_up(effort: Effort) -> Self {
        let database = BenchDatabase::start().await;
        let local = Server::start(&database).await;
        progress::step("filling sessions");
        let mut sessions = filled_sessions(&local, MOST_CLIENTS + 1, effort.earlier_turns).await;
        let to_reset = sessions.pop().unwrap();
        let of_clients = filled_sessions(&local, MOST_CLIENTS, effort.earlier_turns).await;
        create_clients(&database, TODAY, &of_clients).await;
        database.run(TODAY, "vacuum (analyze)").await;
        Self {
            effort,
            database,
            local,
            sessions,
            to_reset,
        }
    }

    /// A session for a function.
    pub fn session_for(&self, function: &str) -> &str {
        match function {
            "reset" => &self.to_reset,
            _ => &self.sessions[0],
        }
    }
}

/// New sessions, each with this many turns.
async fn filled_sessions(local: &Server, count: usize, turns: usize) -> Vec<String> {
    let ids: Vec<_> = (0..count).map(|_| Uuid::now_v7().to_string()).collect();
    join_all(ids.iter().map(async |id| {
        let mut caller = local.caller().await;
        for _ in 0..turns {
            caller.send(&Call::chat(id)).await;
        }
    }))
    .await;
    ids
}

/// The bytes of all tables and of all their indexes in a database.
pub async fn relation_bytes(stage: &Stage, database: &str) -> (f64, f64) {
    let sum = async |function: &str| {
        let query = format!(
            "select sum({function}(oid)) from pg_class
             where relkind = 'r' and relnamespace = 'public'::regnamespace"
        );
        stage.database.number(database, &query).await
    };
    (sum("pg_table_size").await, sum("pg_indexes_size").await)
}

/// The plainest statements that do what a request does, for the session that `session_id` names in SQL.
pub fn plain(name: &str, session_id: &str) -> Vec<String> {
    let statements = match name {
        "status" => vec![include_str!("../../plain/status.sql")],
        "history" | "load-session" => vec![include_str!("../../plain/history.sql")],
        "reset" => vec![include_str!("../../plain/reset.sql")],
        "chat" => vec![
            include_str!("../../plain/question.sql"),
            include_str!("../../plain/context.sql"),
            include_str!("../../plain/answer.sql"),
        ],
        other => panic!("there is no request {other}"),
    };
    let fill = |statement: &str| statement.replace("{session_id}", session_id);
    statements.into_iter().map(fill).collect()
}
