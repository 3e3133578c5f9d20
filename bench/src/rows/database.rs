//! The work that PostgreSQL does: CPU time for each request beside that of the plainest statements, and
//! both statements of a turn beside those of the first version.

use uuid::Uuid;

use super::{Stage, plain, relation_bytes};
use crate::database::{FIRST_VERSION, TODAY, TODAYS_TURNS};
use crate::load::Until;
use crate::pgbench::{MOST_CLIENTS, Outcome, Run, SESSION, create_clients};
use crate::progress;
use crate::report::{Report, Wanted};
use crate::sample::median;
use crate::statements::{BEGIN_TURN, FINISH_TURN, HISTORY, RESUME, STATUS};

/// How much more CPU time a page of history may take than the plain select of its messages.
const WANTED_HISTORY: Wanted = Wanted::RatioAtMost(1.3);

/// How many times the turns per second of the first version should be reached with eight clients.
const WANTED_TURNS: Wanted = Wanted::RatioAtLeast(2.3);

/// The part of the bytes of the first version that a turn may write.
const WANTED_BYTES: Wanted = Wanted::RatioAtMost(0.75);

/// How often each load is measured, in turn with its floor.
const ROUNDS: usize = 2;

// The parameters of a turn's statements. The ids are different in each turn, and those of messages grow, as
// the product's do.
const MESSAGE_ID: &str = "(:turn::text || :random::text)::uuid";
const LEASE_ID: &str = "(:turn::text || :other::text)::uuid";
/// As the product has it.
const RESPONSE_ID: &str = LEASE_ID;
const QUESTION: &str = "'I sleep badly. What would help me?'::text";
const ANSWER: &str = "'This is what a model says to: I sleep badly. What would help me?'::text";
/// The most bytes of a page of history.
const PAGE_BYTES: &str = "5000000::int8";
/// What the first statement returned.
const QUESTION_SEQ: &str = ":question_seq::int8";

/// Clients whose turns' bytes are counted.
const COUNTED_CLIENTS: usize = 8;

/// How many turns each session gets whose bytes are counted, on average. Indexes of many short sessions
/// fill their pages otherwise than those of a few long ones.
const TURNS_OF_A_SESSION: usize = 4;

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) {
    requests(stage, report).await;
    turns(stage, report).await;
}

async fn requests(stage: &Stage, report: &mut Report) {
    for name in ["status", "history", "load-session", "chat"] {
        let (measured, floor) = server_ms(stage, name).await;
        let wanted = (name == "history").then_some(WANTED_HISTORY);
        report.add(
            format!("{name}, CPU time"),
            measured,
            "ms",
            Some(floor),
            wanted,
        );
        if name == "chat" {
            let per_core = |ms: f64| 1e3 / ms;
            let floor = Some(per_core(floor));
            report.add("turns per core", per_core(measured), "per s", floor, None);
        }
    }
}

/// The CPU time of the server for the statements of one request, and for the plainest ones that do the same,
/// in milliseconds. pgbench sends both, so that they come at the same pace.
pub async fn server_ms(stage: &Stage, name: &str) -> (f64, f64) {
    let owner = "null::text";
    let statements = match name {
        "status" => with_parameters(STATUS.sql, &[SESSION, owner]),
        "history" => {
            let (none, ten, descending) = ("null::int8", "10::int8", "true");
            let page = [SESSION, owner, none, none, ten, descending, PAGE_BYTES];
            with_parameters(HISTORY.sql, &page)
        }
        "load-session" => with_parameters(RESUME.sql, &[SESSION, owner, "10::int8", PAGE_BYTES]),
        "chat" => Version::today().statements,
        other => panic!("there are no statements of {other}"),
    };
    let plain = plain(name, SESSION).join(";\n");
    let run = |statements| Run {
        database: TODAY,
        statements,
        clients: 1,
        until: stage.effort.load,
        durable: true,
    };
    let (mut measured, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        progress::step(format!("the database's work for {name}"));
        measured.push(run(&statements).start(&stage.database).await.server_ms);
        floors.push(run(&plain).start(&stage.database).await.server_ms);
    }
    (median(measured), median(floors))
}

/// Both statements of a turn, for pgbench.
pub fn todays_turn() -> String {
    Version::today().statements
}

/// Both statements of a turn, in one version.
struct Version {
    database: &'static str,
    statements: String,
}

impl Version {
    fn first() -> Self {
        let begin = with_parameters(
            include_str!("../../first_version/begin_turn.sql"),
            &[
                SESSION,
                "null::text",
                MESSAGE_ID,
                QUESTION,
                "null::jsonb",
                "null::jsonb",
                LEASE_ID,
                "30::float8",
                "20::int8",
                "48000::int8",
            ],
        );
        let finish = with_parameters(
            include_str!("../../first_version/finish_turn.sql"),
            &[
                SESSION,
                "null::text",
                LEASE_ID,
                QUESTION_SEQ,
                RESPONSE_ID,
                ANSWER,
                "null::jsonb",
                "0::int8",
                "null::jsonb",
                "'built-in'::text",
                "7::int8",
                "38::int8",
            ],
        );
        Self {
            database: FIRST_VERSION,
            statements: format!("{begin} \\gset\n{finish}"),
        }
    }

    fn today() -> Self {
        let begin = with_parameters(
            BEGIN_TURN.sql,
            &[
                SESSION,
                "null::text",
                "'I sleep badly'::text",
                MESSAGE_ID,
                QUESTION,
                "decode('00112233445566778899aabbccddeeff', 'hex')",
                "34::int4",
                "217::int8",
                "null::jsonb",
                "0::int4",
                "null::jsonb",
                LEASE_ID,
                "30::float8",
                "false",
                "15::float8",
                "20::int8",
                "7000::float8",
            ],
        );
        let finish = with_parameters(
            FINISH_TURN.sql,
            &[
                SESSION,
                "null::text",
                LEASE_ID,
                QUESTION_SEQ,
                RESPONSE_ID,
                ANSWER,
                "66::int4",
                "249::int8",
                "null::jsonb",
                "0::int4",
                "null::jsonb",
                "null::jsonb",
                "'built-in'::text",
                "'stop'::text",
                "7::int8",
                "null::int8",
                "38::int8",
                "1::int4",
                "null::int4",
                "false",
            ],
        );
        Self {
            database: TODAYS_TURNS,
            statements: format!("{begin} \\gset\n{finish}"),
        }
    }

    async fn run(&self, stage: &Stage, clients: usize, until: Until, durable: bool) -> Outcome {
        let Self {
            database,
            statements,
        } = self;
        let run = Run {
            database,
            statements,
            clients,
            until,
            durable,
        };
        let count = "select count(*) from chat_messages";
        let before = stage.database.number(database, count).await;
        let outcome = run.start(&stage.database).await;
        let added = stage.database.number(database, count).await - before;
        // A turn that was refused is quick.
        assert_eq!(
            added,
            2.0 * outcome.count,
            "every turn in {database} added its messages"
        );
        outcome
    }
}

async fn turns(stage: &Stage, report: &mut Report) {
    let versions = [Version::first(), Version::today()];
    for version in &versions {
        progress::step(format!("first turns in {}", version.database));
        let exists = "select to_regclass('bench_clients') is not null";
        if stage
            .database
            .query(version.database, exists)
            .await
            .as_deref()
            != Some("t")
        {
            let ids: Vec<_> = (0..MOST_CLIENTS)
                .map(|_| Uuid::now_v7().to_string())
                .collect();
            create_clients(&stage.database, version.database, &ids).await;
        }
        version
            .run(
                stage,
                MOST_CLIENTS,
                Until::Times(stage.effort.earlier_turns),
                false,
            )
            .await;
        stage
            .database
            .run(version.database, "vacuum (analyze)")
            .await;
    }
    for durable in [true, false] {
        for clients in [1, 8] {
            let mut rates = [const { Vec::new() }; 2];
            for _ in 0..ROUNDS {
                progress::step(format!("both statements of a turn, {clients} clients"));
                for (version, rates) in versions.iter().zip(&mut rates) {
                    let until = stage.effort.load;
                    rates.push(version.run(stage, clients, until, durable).await.per_second);
                }
            }
            let [first, today] = rates.map(median);
            let what = format!(
                "begin and finish, {clients} client{}{}",
                if clients == 1 { "" } else { "s" },
                if durable {
                    ""
                } else {
                    ", without waiting for the disk"
                },
            );
            let wanted = (clients == 8).then_some(WANTED_TURNS);
            report.add(what, today, "turns/s", Some(first), wanted);
        }
    }
    bytes(stage, report, &versions).await;
}

/// What a turn adds to the write-ahead log, the tables and the indexes.
async fn bytes(stage: &Stage, report: &mut Report, versions: &[Version; 2]) {
    progress::step("bytes of turns");
    stage.database.full_page_writes(false).await;
    let times = stage.effort.times;
    let sessions = times.div_ceil(TURNS_OF_A_SESSION);
    let session =
        format!("md5(:client_id::text || '-' || (:random::int8 % {sessions})::text)::uuid");
    let mut counted = Vec::new();
    for version in versions {
        let version = Version {
            database: version.database,
            statements: version.statements.replace(SESSION, &session),
        };
        let (tables, indexes) = relation_bytes(stage, version.database).await;
        let wal = stage.database.wal_bytes().await;
        let until = Until::Times(times);
        let turns = version.run(stage, COUNTED_CLIENTS, until, true).await.count;
        let wal = stage.database.wal_bytes().await - wal;
        let (tables_after, indexes_after) = relation_bytes(stage, version.database).await;
        counted
            .push([wal, indexes_after - indexes, tables_after - tables].map(|bytes| bytes / turns));
    }
    stage.database.full_page_writes(true).await;
    let names = [
        ("WAL", Some(WANTED_BYTES)),
        ("indexes", Some(WANTED_BYTES)),
        ("tables", None),
    ];
    for (index, (name, wanted)) in names.into_iter().enumerate() {
        let what = format!("{name} per turn");
        report.add(
            what,
            counted[1][index],
            "bytes",
            Some(counted[0][index]),
            wanted,
        );
    }
}

/// A statement with its parameters put in, and without comments.
fn with_parameters(statement: &str, parameters: &[&str]) -> String {
    let lines = statement.lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("--"));
    let mut statement = lines.collect::<Vec<_>>().join("\n");
    // `$1` is also how `$10` begins.
    for (index, parameter) in parameters.iter().enumerate().rev() {
        let name = format!("${}", index + 1);
        assert!(statement.contains(&name), "{name} in {statement}");
        statement = statement.replace(&name, parameter);
    }
    assert!(!statement.contains('$'), "a parameter more: {statement}");
    statement
}
