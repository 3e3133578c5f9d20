//! `erase` is killed at various moments: repeated, it ends where one that was left alone ends.

use std::path::Path;
use std::time::Duration;

use support::local_run::{begin, run};
use support::{TestApi, postgres};

/// How often it is killed.
const KILLS: u32 = 20;

/// Alice has long conversations with events, and Bob one; the same in every database.
const CONVERSATIONS: &str = "
    insert into chat_sessions (
        session_id, owner, message_count, user_messages, json_bytes, first_message_time,
        last_message_time
    )
    select
        lpad(n::text, 32, '0')::uuid, case when n < 4 then 'jwt:alice' else 'jwt:bob' end,
        1000, 1000, 1000 * 10, '2026-01-01', '2026-01-01'
    from generate_series(1, 4) n;
    insert into chat_messages (
        session_id, seq, message_id, role, content, characters, json_bytes_through, timestamp
    )
    select
        lpad(n::text, 32, '0')::uuid, seq, lpad(seq::text, 32, '0')::uuid, 'user', 'x', 1, seq * 10,
        '2026-01-01'
    from generate_series(1, 4) n, generate_series(1, 1000) seq;
    insert into chat_events (session_id, event_id, kind)
    select lpad(n::text, 32, '0')::uuid, lpad(e::text, 32, '0')::uuid, 'replay'
    from generate_series(1, 4) n, generate_series(1, 40) e";

/// What is in the database, without times.
const STATE: &str = "
    select 'session', session_id, owner, message_count, erased_at is null from chat_sessions
    union all
    select 'messages', session_id, null, count(*), true from chat_messages group by session_id
    union all
    select 'events', session_id, null, count(*), true from chat_events group by session_id
    union all
    select 'erasure', session_id, on_behalf_of, message_count, finished_at is null from chat_erasures
    order by 1, 2";

async fn state(api: &TestApi) -> Vec<(String, uuid::Uuid, Option<String>, i64, bool)> {
    let rows = api
        .connection()
        .await
        .client()
        .query_typed(STATE, &[])
        .await;
    let rows = rows.unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)))
        .collect()
}

async fn filled() -> (TestApi, String) {
    let api = TestApi::start().await;
    api.sql(CONVERSATIONS).await;
    let url = postgres::server().url(&api.database);
    (api, url)
}

async fn erase(folder: &Path, url: &str) {
    let arguments = ["erase", "--owner", "jwt:alice", "--yes"];
    let ended = run(&arguments, folder, &[("DATABASE_URL", url)]).await;
    assert!(ended.success, "{ended:?}");
}

#[tokio::test]
async fn an_erasure_killed_twenty_times_ends_like_one_that_was_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, url) = filled().await;
    erase(folder.path(), &url).await;
    let expected = state(&alone).await;
    let of_alice = expected
        .iter()
        .filter(|row| row.2.as_deref() == Some("operator"));
    assert_eq!(of_alice.count(), 3, "{expected:?}");

    let (api, url) = filled().await;
    let mut in_the_middle = 0;
    for kill in 0..KILLS {
        // So few rows at a time that it is still at work when it is killed.
        let settings = [("DATABASE_URL", url.as_str()), ("MAINTAIN_BATCH_ROWS", "2")];
        let arguments = ["erase", "--owner", "jwt:alice", "--yes"];
        let before = api.number("select count(*) from chat_messages").await;
        let mut erasing = begin(&arguments, folder.path(), &settings);
        // Its first rows are gone when it is killed, or it has ended.
        let mut left = before;
        while left == before && erasing.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
            left = api.number("select count(*) from chat_messages").await;
        }
        tokio::time::sleep(Duration::from_millis(u64::from(kill % 5) * 15)).await;
        erasing.kill().await.unwrap();
        // The server may still be at the last statement.
        api.cut_connections().await;

        let now = state(&api).await;
        in_the_middle += u32::from(now != expected);
        // Nobody sees what is left of her conversations, and nothing of his is touched.
        let open = now.iter().filter(|row| row.0 == "session" && row.4);
        let owners: Vec<_> = open.map(|row| row.2.clone().unwrap()).collect();
        assert_eq!(owners, ["jwt:bob"], "{now:?}");
        api.verify().await;
    }
    assert!(
        in_the_middle >= KILLS / 2,
        "it was too fast to be killed in the middle: {in_the_middle} of {KILLS}"
    );

    erase(folder.path(), &url).await;
    assert_eq!(state(&api).await, expected);
    api.verify().await;
}
