//! What a request costs in a long session and in a full table, beside a short session and a smaller table.

use rig::sessions::filled_sessions;
use uuid::Uuid;

use super::{Stage, relation_bytes};
use crate::database::TODAY;
use crate::load::{Call, Caller};
use crate::progress;
use crate::report::{Report, Wanted};
use crate::sample::Sample;

/// The requests that are measured.
const REQUESTS: [&str; 4] = ["status", "history", "load-session", "chat"];

/// Messages in the short session, which is the floor, and in the next one.
const SHORT: usize = 10;
const MIDDLE: usize = 1_000;

/// Characters in each message.
const CHARACTERS: usize = 100;

/// How much more a request may cost in a long session.
const WANTED_LENGTH: Wanted = Wanted::RatioAtMost(1.15);

/// Sessions in the smaller table and in the full one.
const SESSIONS: usize = 10_000;
const MANY_SESSIONS: usize = 1_000_000;

/// How much more it may cost in the full table.
const WANTED_SESSIONS: Wanted = Wanted::RatioAtMost(1.3);

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) {
    messages(stage, report).await;
    sessions(stage, report).await;
}

/// Sessions of one length.
struct Length {
    messages: usize,
    /// One for reading, which stays as it is.
    read: String,
    /// Those that get turns: so many short ones that they stay short.
    written: Vec<String>,
}

impl Length {
    async fn create(stage: &Stage, messages: usize) -> Self {
        let count = if messages == SHORT {
            stage.effort.times
        } else {
            1
        };
        let read = Uuid::now_v7().to_string();
        let written: Vec<_> = (0..count).map(|_| Uuid::now_v7().to_string()).collect();
        for session_id in written.iter().chain([&read]) {
            create_session(stage, session_id, messages).await;
        }
        Self {
            messages,
            read,
            written,
        }
    }

    /// The session for the n-th request.
    fn session(&self, request: &str, n: usize) -> &str {
        match request {
            "chat" => &self.written[n % self.written.len()],
            _ => &self.read,
        }
    }
}

async fn messages(stage: &Stage, report: &mut Report) {
    progress::step("filling long sessions");
    let mut lengths = Vec::new();
    for messages in [SHORT, MIDDLE, stage.effort.messages] {
        lengths.push(Length::create(stage, messages).await);
    }
    stage.database.run(TODAY, "vacuum (analyze)").await;
    stage.database.full_page_writes(false).await;

    let mut caller = stage.local.caller().await;
    for request in REQUESTS {
        progress::step(format!("{request} in long sessions"));
        let mut samples: Vec<_> = lengths.iter().map(|_| Sample::default()).collect();
        for n in 0..stage.effort.times {
            // In turn, so that what else the machine does meets all of them alike.
            for (length, sample) in lengths.iter().zip(&mut samples) {
                let call = Call::to_function(request, length.session(request, n));
                sample.time(caller.send(&call)).await;
            }
        }
        let floor = samples[0].median_ms();
        for (length, sample) in lengths.iter().zip(&samples).skip(1) {
            let what = format!("{request}, {} messages", length.messages);
            report.add(
                what,
                sample.median_ms(),
                "ms",
                Some(floor),
                Some(WANTED_LENGTH),
            );
        }
    }

    progress::step("bytes of turns in long sessions");
    let mut floor = None;
    for length in &lengths {
        let (wal, stored) = bytes_per_turn(stage, length, &mut caller).await;
        let what = |what: &str| format!("{what} per turn, {} messages", length.messages);
        let wanted = floor.map(|_| WANTED_LENGTH);
        report.add(what("WAL"), wal, "bytes", floor, wanted);
        report.add(what("tables and indexes"), stored, "bytes", None, None);
        floor = floor.or(Some(wal));
    }
    stage.database.full_page_writes(true).await;
}

/// Bytes that turns add to the write-ahead log, and to tables and indexes.
async fn bytes_per_turn(stage: &Stage, length: &Length, caller: &mut Caller) -> (f64, f64) {
    let wal = stage.database.wal_bytes().await;
    let (tables, indexes) = relation_bytes(stage, TODAY).await;
    for n in 0..stage.effort.times {
        caller.send(&Call::chat(length.session("chat", n))).await;
    }
    let turns = stage.effort.times as f64;
    let wal = stage.database.wal_bytes().await - wal;
    let (tables_after, indexes_after) = relation_bytes(stage, TODAY).await;
    (
        wal / turns,
        (tables_after + indexes_after - tables - indexes) / turns,
    )
}

async fn sessions(stage: &Stage, report: &mut Report) {
    let smaller = in_table_of(stage, SESSIONS).await;
    if !stage.effort.large {
        for (request, sample) in REQUESTS.iter().zip(smaller) {
            let what = format!("{request}, {SESSIONS} sessions");
            report.add(what, sample.median_ms(), "ms", None, None);
        }
        return;
    }
    let full = in_table_of(stage, MANY_SESSIONS).await;
    for ((request, smaller), full) in REQUESTS.iter().zip(smaller).zip(full) {
        let what = format!("{request}, {MANY_SESSIONS} sessions");
        let floor = Some(smaller.median_ms());
        report.add(what, full.median_ms(), "ms", floor, Some(WANTED_SESSIONS));
    }
}

/// Fills the table up to this many sessions, and measures each request on some of them, each on others.
async fn in_table_of(stage: &Stage, sessions: usize) -> Vec<Sample> {
    progress::step(format!("filling the table with {sessions} sessions"));
    stage.database.run(TODAY, &fill_table(sessions)).await;
    stage.database.run(TODAY, "vacuum (analyze)").await;
    stage.database.run(TODAY, "checkpoint").await;
    let query = format!(
        "select session_id from chat_sessions
         where message_count = 2 and is_active
         order by md5(session_id::text)
         limit {}",
        stage.effort.times
    );
    let ids = stage.database.column(&query).await;
    let mut caller = stage.local.caller().await;
    let mut samples = Vec::new();
    for request in REQUESTS {
        progress::step(format!("{request} with {sessions} sessions"));
        let mut sample = Sample::default();
        for id in &ids {
            sample
                .time(caller.send(&Call::to_function(request, id)))
                .await;
        }
        samples.push(sample);
    }
    samples
}

/// Creates a session.
async fn create_session(stage: &Stage, session_id: &str, messages: usize) {
    let id = format!("select '{session_id}'::uuid as session_id");
    let statement = filled_sessions(&id, messages, CHARACTERS);
    stage.database.run(TODAY, &statement).await;
}

/// A statement that adds sessions of two messages until there are this many. Their ids grow, as those of
/// the product do.
fn fill_table(sessions: usize) -> String {
    let ids = format!(
        "select (
            lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3)
            || '8' || substr(md5(n::text), 4, 15)
        )::uuid as session_id
        from generate_series((select count(*) from chat_sessions) + 1, {sessions}) n"
    );
    filled_sessions(&ids, 2, CHARACTERS)
}
