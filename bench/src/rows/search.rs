//! Searching the messages of one owner among many, with the index filled and with messages that are newer
//! than it; and turns, which must not notice that it exists.

use std::time::SystemTime;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::Stage;
use super::database::todays_turn;
use crate::database::SEARCHED;
use crate::load::Until;
use crate::pgbench::{MOST_CLIENTS, Run, create_clients};
use crate::progress;
use crate::report::{Report, Wanted};
use crate::sample::Sample;
use crate::statements::{FILL_SEARCH, SEARCH, SEARCH_HORIZON};

/// How long a search may take, in milliseconds.
const WANTED_MEDIAN: Wanted = Wanted::AtMost(20.0);
const WANTED_P99: Wanted = Wanted::AtMost(100.0);

/// How much more of the server's work a turn may be when the index is filled.
const WANTED_TURN: Wanted = Wanted::RatioAtMost(1.05);

/// Owners; the n-th has so many messages that each power of ten of them has the same number together.
const OWNERS: usize = 10_000;

/// Messages in a session.
const MESSAGES: usize = 20;

/// Different texts, made of words of which the n-th is used once in n times.
const TEXTS: usize = 20_000;

/// The part of the messages that is newer than the index, at first: one in this many.
const NEWER: usize = 10;

/// Messages taken into the index at a time.
const BATCH: i32 = 2_000;

/// Kinds of queries: a rare word, a common one, both, a beginning, and a word that nobody used.
const QUERIES: &str = "array[
    bench_word(floor(30000 ^ random())::int), bench_word(floor(30 ^ random())::int),
    bench_word(floor(30000 ^ random())::int) || ' ' || bench_word(floor(30 ^ random())::int),
    left(bench_word(floor(30000 ^ random())::int), 2), 'nobody'
]";

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) {
    let messages = stage.effort.searched;
    progress::step(format!("filling a table with {messages} messages"));
    stage.database.create_today(SEARCHED).await;
    stage
        .database
        .run(SEARCHED, &owners_and_words(messages))
        .await;
    let ids: Vec<_> = (0..MOST_CLIENTS)
        .map(|_| Uuid::now_v7().to_string())
        .collect();
    create_clients(&stage.database, SEARCHED, &ids).await;
    turn_ms(stage, Until::Times(stage.effort.earlier_turns)).await;
    stage.database.run(SEARCHED, "vacuum (analyze)").await;
    let before = turn_ms(stage, stage.effort.load).await;

    progress::step("filling the index");
    let client = stage.database.connect(SEARCHED).await;
    let create =
        "create index chat_search_vector on chat_search using gin (vector) with (fastupdate = off)";
    // Most of it in one piece, which takes a third of the time.
    client
        .batch_execute("drop index chat_search_vector")
        .await
        .unwrap();
    let (last, _) = horizon(&client).await;
    let newer = i64::try_from(messages / NEWER).unwrap();
    fill(&client, last - newer, hour_of(&client, last - newer).await).await;
    client.batch_execute(create).await.unwrap();
    client.batch_execute("vacuum (analyze)").await.unwrap();
    searches(stage, report, &format!("{newer} newer than the index")).await;

    progress::step("filling the rest of the index");
    let (last, hour) = horizon(&client).await;
    let mut filling = Sample::default();
    let filled = filling.time(fill(&client, last, hour)).await;
    client.batch_execute("vacuum (analyze)").await.unwrap();
    searches(stage, report, "index filled").await;
    let per_second = filled / filling.last().as_secs_f64();
    report.add(
        "messages taken into the index",
        per_second,
        "per s",
        None,
        None,
    );
    let after = turn_ms(stage, stage.effort.load).await;
    report.add(
        "begin and finish, index filled, CPU time",
        after,
        "ms",
        Some(before),
        Some(WANTED_TURN),
    );
}

/// Searches of owners at random, each in proportion to what it said, and of the one who said most.
async fn searches(stage: &Stage, report: &mut Report, state: &str) {
    let (client, connection) = tokio_postgres::connect(&stage.database.url(SEARCHED), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    for (who, owner) in [
        ("any owner", "'jwt:' || floor(10000 ^ random())::int"),
        ("the greatest owner", "'jwt:1'"),
    ] {
        progress::step(format!("searches of {who}, {state}"));
        let queries = format!(
            "select {owner}, query from generate_series(1, {}) n cross join lateral unnest({QUERIES}) query
             where n > 0",
            stage.effort.times
        );
        let mut sample = Sample::default();
        for row in stage
            .database
            .connect(SEARCHED)
            .await
            .query_typed(&queries, &[])
            .await
            .unwrap()
        {
            let (owner, query): (String, String) = (row.get(0), row.get(1));
            let beginning = query.rsplit(' ').next();
            let none: Option<&str> = None;
            let (no_id, no_time, no_seq) = (None::<Uuid>, None::<SystemTime>, None::<i64>);
            let parameters: [(&(dyn ToSql + Sync), Type); 11] = [
                (&owner, Type::TEXT),
                (&no_id, Type::UUID),
                (&query, Type::TEXT),
                (&beginning, Type::TEXT),
                (&none, Type::TEXT),
                (&no_time, Type::TIMESTAMPTZ),
                (&no_time, Type::TIMESTAMPTZ),
                (&no_time, Type::TIMESTAMPTZ),
                (&no_id, Type::UUID),
                (&no_seq, Type::INT8),
                (&21_i32, Type::INT4),
            ];
            let found = sample
                .time(client.query_typed(SEARCH.sql, &parameters))
                .await;
            assert!(
                !found.unwrap().is_empty(),
                "at least the row that stands for nothing"
            );
        }
        let what = |what: &str| format!("{what}, {who}, {state}");
        report.add(
            what("median"),
            sample.median_ms(),
            "ms",
            None,
            Some(WANTED_MEDIAN),
        );
        report.add(
            what("p99"),
            sample.percentile_ms(99),
            "ms",
            None,
            Some(WANTED_P99),
        );
    }
}

/// The server's work for a turn, in milliseconds.
async fn turn_ms(stage: &Stage, until: Until) -> f64 {
    let run = Run {
        database: SEARCHED,
        statements: &todays_turn(),
        clients: 1,
        until,
        durable: true,
    };
    run.start(&stage.database).await.server_ms
}

async fn horizon(client: &Client) -> (i64, i32) {
    let row = client
        .query_typed_one(SEARCH_HORIZON.sql, &[(&10.0_f64, Type::FLOAT8)])
        .await
        .unwrap();
    (row.get("id"), row.get("hour"))
}

/// The hour before the message after this one.
async fn hour_of(client: &Client, id: i64) -> i32 {
    let statement = "select (floor(extract(epoch from min(timestamp)) / 3600) - 1)::int4
        from chat_messages where id > $1";
    client
        .query_typed_one(statement, &[(&id, Type::INT8)])
        .await
        .unwrap()
        .get(0)
}

/// Fills the index up to this id; returns the number of messages.
async fn fill(client: &Client, id: i64, hour: i32) -> f64 {
    let mut filled = 0;
    loop {
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&"simple", Type::TEXT),
            (&id, Type::INT8),
            (&hour, Type::INT4),
            (&BATCH, Type::INT4),
        ];
        let messages: i32 = client
            .query_typed_one(FILL_SEARCH.sql, &parameters)
            .await
            .unwrap()
            .get("messages");
        filled += messages;
        if messages < BATCH {
            return f64::from(filled);
        }
    }
}

/// Statements that make sessions of many owners, in the order of their times.
fn owners_and_words(messages: usize) -> String {
    let sessions = messages / MESSAGES;
    format!(
        "create function bench_word(n integer) returns text language sql immutable as $$
            select translate(substr(md5(n::text), 1, 3 + n * 7 % 6), '0123456789', 'ghijklmnop')
        $$;
        create table bench_texts as
        select n, (
            select string_agg(bench_word(floor(30000 ^ random())::integer), ' ')
            from generate_series(1, case n % 2 when 1 then 15 else 90 end) word
            where n > 0
        ) as content
        from generate_series(1, least({TEXTS}, {messages})) n;
        create index on bench_texts (n);
        analyze bench_texts;
        create table bench_sessions as
        select
            n, gen_random_uuid() as session_id, 'jwt:' || floor({OWNERS} ^ random())::integer as owner,
            now() - interval '300 days' + n * interval '299 days' / {sessions} as starts_at
        from generate_series(1, {sessions}) n;
        insert into chat_sessions (session_id, owner, title, message_count, last_message_time)
        select session_id, owner, 'A title', {MESSAGES}, starts_at + interval '1 hour'
        from bench_sessions;
        insert into chat_messages (
            session_id, seq, message_id, timestamp, role, content, characters, json_bytes_through
        )
        select
            s.session_id, m.seq, gen_random_uuid(), s.starts_at + m.seq * interval '1 min',
            case m.seq % 2 when 1 then 'user' else 'assistant' end, t.content, length(t.content), 0
        from bench_sessions s
        cross join generate_series(1, {MESSAGES}) m (seq)
        join bench_texts t
            on t.n = 2 * ((s.n * {MESSAGES}::bigint + m.seq) * 7919 % (least({TEXTS}, {messages}) / 2)) + 2 - m.seq % 2
        order by s.n, m.seq"
    )
}
