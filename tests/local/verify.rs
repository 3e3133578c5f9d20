//! `cargo run -- verify`: each violated invariant is detected, and its session named.

use serde_json::json;

use support::local_run::run;
use support::{TestApi, postgres};

#[tokio::test]
async fn every_violation_names_its_session() {
    let breaks = [
        ("order", "update chat_messages set seq = 7 where seq = 4"),
        ("order", "update chat_messages set seq = seq + 10"),
        ("counters", "update chat_sessions set message_count = 5"),
        ("counters", "update chat_sessions set user_messages = 3"),
        (
            "counters",
            "update chat_sessions set assistant_messages = 1",
        ),
        (
            "counters",
            "update chat_sessions set audio_files_provided = 0",
        ),
        (
            "counters",
            "update chat_sessions set input_tokens = input_tokens + 1",
        ),
        ("counters", "update chat_sessions set output_tokens = 0"),
        (
            "counters",
            "update chat_sessions set last_message_time = now() + interval '1 day'",
        ),
        ("counters", "delete from chat_messages where seq = 4"),
        (
            "answers",
            "update chat_messages set reply_to_seq = null where seq = 4",
        ),
        (
            "answers",
            "update chat_messages set reply_to_seq = 1 where seq = 4",
        ),
        (
            "times",
            "update chat_messages set timestamp = timestamp - interval '1 day' where seq = 3",
        ),
        (
            "lease",
            "update chat_sessions
             set lease_id = gen_random_uuid(), lease_until = now() + interval '1 day'",
        ),
        (
            "copies",
            "update chat_sessions
             set forked_from_session_id = session_id, forked_from_message_id = gen_random_uuid(),
                 forked_seq = 1",
        ),
        (
            "copies",
            "update chat_messages set origin_message_id = message_id where seq = 2",
        ),
        ("sizes", "update chat_messages set content = content || '.'"),
        (
            "sizes",
            "update chat_messages set json_bytes_through = 1 where seq = 2",
        ),
        (
            "sizes",
            "update chat_messages set audio_file_count = 2 where seq = 4",
        ),
        ("counters", "update chat_sessions set json_bytes = 0"),
        (
            "erased",
            "insert into chat_erasures (session_id, message_count, on_behalf_of)
             select session_id, 4, 'operator' from chat_sessions",
        ),
        ("erased", "update chat_sessions set erased_at = now()"),
        (
            "erased",
            "insert into chat_erasures (session_id, message_count, on_behalf_of, finished_at)
             select session_id, 4, 'operator', now() from chat_sessions;
             update chat_sessions set erased_at = now()",
        ),
        (
            "erased",
            "insert into chat_events (session_id, event_id, kind)
             select session_id, gen_random_uuid(), 'reset' from chat_sessions;
             delete from chat_messages; delete from chat_sessions",
        ),
        (
            "erased",
            "insert into chat_feedback (session_id, seq, rating)
             select session_id, 2, 'up' from chat_sessions;
             delete from chat_messages; delete from chat_sessions",
        ),
        (
            "erased",
            "insert into chat_search (session_id, seq, timestamp, role, part, vector)
             select session_id, 1, now(), 'user', 1, '' from chat_sessions;
             delete from chat_messages; delete from chat_sessions",
        ),
        (
            "erased",
            "insert into chat_streams (session_id, lease_id, question_seq)
             select session_id, gen_random_uuid(), 3 from chat_sessions;
             delete from chat_messages; delete from chat_sessions",
        ),
    ];
    for (invariant, statement) in breaks {
        let api = TestApi::start().await;
        let session_id = api.session(&["Hi", "An audio about sleep"]).await;
        api.verify().await;

        api.sql(statement).await;

        let url = postgres::server().url(&api.database);
        let config = shared::database::DatabaseConfig::parse(&url).unwrap();
        let violations = local::verify::violations(&config).await.unwrap();
        let found = violations.iter().any(|violation| {
            violation.session_id == session_id && violation.invariant == invariant
        });
        assert!(found, "{statement}: {violations:?}");
    }
}

#[tokio::test]
async fn some_sessions_of_each_kind_are_named_and_the_others_counted() {
    let folder = tempfile::tempdir().unwrap();
    let api = TestApi::start().await;
    for _ in 0..7 {
        api.session(&["Hi", "An audio about sleep"]).await;
    }
    api.sql(
        "update chat_sessions set message_count = 9;
         update chat_messages set timestamp = timestamp - seq * interval '1 day'",
    )
    .await;
    let url = postgres::server().url(&api.database);
    let settings = [("DATABASE_URL", url.as_str())];
    let named = |printed: &str, invariant: &str| {
        let sessions: std::collections::BTreeSet<String> = printed
            .lines()
            .filter(|line| line.starts_with("session ") && line.contains(invariant))
            .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
            .collect();
        sessions.len()
    };

    let some = run(&["verify"], folder.path(), &settings).await;
    assert!(!some.success);
    for (invariant, count) in [
        ("counters", "7 violations in 7"),
        ("times", "21 violations in 7"),
    ] {
        assert_eq!(named(&some.printed, invariant), 5, "{some:?}");
        let counted = format!("{invariant}: {count} sessions");
        assert!(some.printed.contains(&counted), "{some:?}");
    }
    assert!(some.printed.contains("5 are named above"), "{some:?}");
    assert!(some.complained.contains("28 violations"), "{some:?}");

    let all = run(&["verify", "--all"], folder.path(), &settings).await;
    let lines = all.printed.lines();
    let lines = lines.filter(|line| line.starts_with("session ")).count();
    assert_eq!(lines, 28, "{all:?}");
    assert_eq!(named(&all.printed, "times"), 7, "{all:?}");
}

#[tokio::test]
async fn the_command_says_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let turn = api
        .chat(json!({ "query": "audio", "session_id": session_id }))
        .await;
    api.fork(session_id, turn.id("message_id")).await;
    api.reset(session_id).await;
    let url = postgres::server().url(&api.database);
    let settings = [("DATABASE_URL", url.as_str())];

    let whole = run(&["verify"], folder.path(), &settings).await;
    assert!(
        whole.success && whole.printed.contains("every session is whole"),
        "{whole:?}"
    );

    api.sql("update chat_sessions set message_count = 9 where message_count > 0")
        .await;
    let broken = run(&["verify"], folder.path(), &settings).await;
    assert!(!broken.success);
    assert!(
        broken.printed.contains(&session_id.to_string()),
        "{broken:?}"
    );
    assert!(broken.printed.contains("counters"), "{broken:?}");
    assert!(broken.complained.contains("2 violations"), "{broken:?}");
}
