//! The index for searching: filled while turns go on, divided by owner and time, and never in the way.

use std::sync::Arc;
use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::json;
use shared::caller::{Caller, Kind, Owner, Permissions};
use shared::database::{Database, DatabaseConfig};
use shared::store::Store;
use shared::store::search::{self, FillError, Filter, Hit, Position};
use tokio::time::Instant;
use tokio_postgres::types::Type;
use uuid::Uuid;

use support::api::fill;
use support::{TestApi, postgres};

fn store(api: &TestApi) -> Store {
    let config = DatabaseConfig::parse(&postgres::app_url(&api.database));
    Store::new(Arc::new(Database::new(config.unwrap())))
}

fn caller(subject: &str) -> Caller {
    Caller {
        owner: Owner::new(Kind::Jwt, subject),
        permissions: Permissions::default(),
        deadline: Instant::now() + Duration::from_secs(29),
    }
}

/// All that a caller finds for a word, read by pages.
async fn found(store: &Store, subject: &str, word: &str, limit: i32) -> Vec<Hit> {
    let mut filter = Filter::default();
    let mut found = Vec::new();
    loop {
        let word = word.to_owned();
        let page = search::search(store, &caller(subject), word, None, filter, limit).await;
        let (hits, has_more) = page.unwrap();
        filter.after = hits.last().map(|hit| hit.position);
        found.extend(hits);
        if !has_more {
            return found;
        }
    }
}

/// Adds messages of an owner, in one session each, in the order of the times, which are in minutes.
async fn say(api: &TestApi, owner: &str, minutes: &str, content: &str) {
    api.sql(&format!(
        "with said as (
            select gen_random_uuid() as session_id, t.minute, t.n
            from ({minutes}) t (minute, n)
        ),
        session as (
            insert into chat_sessions (session_id, owner, message_count, last_message_time)
            select session_id, nullif('{owner}', ''), 1, now()
            from said
        )
        insert into chat_messages (
            session_id, seq, message_id, timestamp, role, content, characters, json_bytes_through
        )
        select session_id, 1, gen_random_uuid(), timestamptz '2026-01-01' + minute * interval '1 min', 'user',
            {content}, 0, 0
        from said
        order by n"
    ))
    .await;
}

#[tokio::test]
async fn a_message_that_is_committed_late_is_not_missed() {
    let api = TestApi::start().await;
    let late_session = api.session(&["Hello"]).await;
    let mut late = api.connection().await;
    let late = late.client_mut().transaction().await.unwrap();
    let late_id = Uuid::now_v7();
    let statement = format!(
        "insert into chat_messages (
            session_id, seq, message_id, role, content, characters, json_bytes_through
         )
         values ('{late_session}', 3, '{late_id}', 'user', 'late needle', 0, 0)"
    );
    late.batch_execute(&statement).await.unwrap();
    // Others commit after it, with greater ids.
    api.session(&["early needle"]).await;

    let waiting = fill(&api.database, "simple").await.unwrap();
    assert_eq!((waiting.messages, waiting.is_complete), (0, false));
    let early = api.search("needle", "&role=user").await;
    assert_eq!(early.body["results"].as_array().unwrap().len(), 1);

    // The filler waits for a moment, and goes on when the transaction has ended.
    let database = api.database.clone();
    let filling = tokio::spawn(async move { fill(&database, "simple").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    late.batch_execute("update chat_sessions set message_count = 3, last_message_time = now()")
        .await
        .unwrap();
    late.commit().await.unwrap();
    filling.await.unwrap().unwrap();
    api.fill().await;

    let indexed = "select count(*) from chat_search";
    let stored = "select count(*) from chat_messages";
    assert_eq!(api.number(indexed).await, api.number(stored).await);
    let both = api.search("needle", "&role=user").await;
    assert_eq!(both.body["results"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn filling_is_interrupted_repeated_and_done_twice_at_once_without_harm() {
    let api = TestApi::start().await;
    say(
        &api,
        "jwt:alice",
        "select n, n from generate_series(1, 4000) n",
        "'word ' || n",
    )
    .await;

    for wait in [20, 150, 400] {
        let database = api.database.clone();
        let filling = tokio::spawn(async move { fill(&database, "simple").await });
        tokio::time::sleep(Duration::from_millis(wait)).await;
        api.cut_connections().await;
        let _interrupted = filling.await.unwrap();
    }
    let (one, other) = tokio::join!(fill(&api.database, "simple"), fill(&api.database, "simple"));
    assert!(one.unwrap().is_complete && other.unwrap().is_complete);

    assert_eq!(api.number("select count(*) from chat_search").await, 4000);
    let store = store(&api);
    assert_eq!(found(&store, "alice", "word", 50).await.len(), 4000);
    assert_eq!(found(&store, "alice", "3999", 50).await.len(), 1);
    let again = api.fill().await;
    assert_eq!(again.messages, 0);
}

#[tokio::test]
async fn owners_with_the_same_words_find_their_own() {
    let api = TestApi::start().await;
    for owner in ["alice", "bob", "a", ""] {
        let key = if owner.is_empty() {
            String::new()
        } else {
            format!("jwt:{owner}")
        };
        let content = format!("'the secret of {owner}'");
        say(
            &api,
            &key,
            "select n, n from generate_series(1, 30) n",
            &content,
        )
        .await;
    }
    let store = store(&api);
    for filled in [false, true] {
        if filled {
            api.fill().await;
        }
        for owner in ["alice", "bob", "a"] {
            for word in ["secret", "secret or -nothing"] {
                let found = found(&store, owner, word, 20).await;
                assert_eq!(
                    found.len(),
                    if word == "secret" { 30 } else { 0 },
                    "{owner}, {word}"
                );
                let own = format!("the secret of {owner}");
                assert!(
                    found.iter().all(|hit| hit.content == own),
                    "{owner}, filled: {filled}"
                );
            }
        }
        assert!(found(&store, "carol", "secret", 20).await.is_empty());
        // A beginning is one of the owner's words, not of the index's.
        let bob = caller("bob");
        let beginning = search::search(
            &store,
            &bob,
            "sec".into(),
            Some("sec"),
            Filter::default(),
            50,
        );
        assert_eq!(beginning.await.unwrap().0.len(), 30);
    }
}

#[tokio::test]
async fn parts_stay_small_and_in_order_whatever_order_messages_come_in() {
    let api = TestApi::start().await;
    // In time, backwards, and in no order; some of the same moment.
    for (owner, minutes) in [
        (
            "jwt:forwards",
            "select n, n from generate_series(1, 3500) n",
        ),
        (
            "jwt:backwards",
            "select -n, n from generate_series(1, 3500) n",
        ),
        (
            "jwt:mixed",
            "select n * 7919 % 3511 / 2, n from generate_series(1, 3500) n",
        ),
        ("jwt:at-once", "select 1, n from generate_series(1, 3500) n"),
    ] {
        say(&api, owner, minutes, "'common ' || n").await;
    }
    api.fill().await;

    let misplaced = "select count(*)
        from chat_search x
        join chat_sessions s using (session_id)
        where x.part <> (
            select p.part
            from chat_search_parts p
            where p.owner = s.owner and p.starts_at <= x.timestamp
            order by p.starts_at desc
            limit 1
        ) or not x.vector @@ format('%L', to_hex(x.part) || ':common')::tsquery";
    assert_eq!(api.number(misplaced).await, 0);
    let greatest = "select max(count) from (
            select count(*) from chat_search x join chat_sessions using (session_id)
            where owner <> 'jwt:at-once' group by part
        ) p";
    let greatest = api.number(greatest).await;
    assert!(greatest <= 2500, "{greatest} messages in a part");
    let store = store(&api);
    for owner in ["forwards", "backwards", "mixed", "at-once"] {
        let found = found(&store, owner, "common", 50).await;
        let places: Vec<Position> = found.iter().map(|hit| hit.position).collect();
        let order = |place: &Position| (place.time_us, place.session_id, place.seq);
        assert_eq!(places.len(), 3500, "{owner}");
        assert!(
            places.is_sorted_by(|newer, older| order(newer) > order(older)),
            "{owner}"
        );
    }
}

#[tokio::test]
async fn no_message_is_too_odd_for_the_index() {
    let api = TestApi::start().await;
    let contents = [
        "repeat('a', 2046) || ' needle'",
        "repeat('a', 2041) || ' needle'",
        "repeat('a', 2000) || ' needle'",
        "repeat('ß', 1023) || ' needle'",
        "repeat('㌀ﷺﬃ', 30000) || ' needle'",
        "'needle ' || (select string_agg(substr(md5(n::text), 1, 4), ' ') from generate_series(1, 50000) n)",
        "'needle ' || (select string_agg(chr(19968 + n), '') from generate_series(1, 20000) n)",
        "'needle '' '''' \\ '':1A ''a'':*'",
        "repeat('needle ', 30000)",
        "'@needle@'",
        "' '",
        "''",
    ];
    for content in contents {
        say(&api, "jwt:alice", "select 1, 1", content).await;
    }
    let filled = api.fill().await;
    assert_eq!(filled.messages, 12);
    let found = found(&store(&api), "alice", "needle", 50).await;
    // All but the last two, which have no words.
    assert_eq!(found.len(), 10);
}

#[tokio::test]
async fn another_language_fills_the_index_anew() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Running and happy runners", "The run"]).await;
    let search = async |query: &str| {
        let found = api.search(query, "&role=user").await;
        found.body["results"].as_array().unwrap().clone()
    };
    api.fill().await;
    assert_eq!(search("run happiness").await.len(), 0);

    let filled = fill(&api.database, "english").await.unwrap();
    assert_eq!((filled.messages, filled.is_complete), (4, true));
    let indexed =
        "select count(*) from chat_search where part >= (select first_part from chat_search_state)";
    assert_eq!(api.number(indexed).await, 4);
    for filled in [true, false] {
        let found = search("\"happiness\" \"run\"").await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["highlights"], json!([[0, 7], [12, 17]]));
        assert_eq!(
            search("the").await.len(),
            0,
            "a word that this language ignores"
        );
        assert_eq!(search("run").await.len(), 2);
        if filled {
            // What is not in the index is read in the same way.
            api.sql("delete from chat_search; update chat_search_state set filled_id = 0, unfilled_hour = 0").await;
        }
    }
    api.fill().await;
    assert_eq!(search("\"happiness\" \"run\"").await.len(), 0);
    assert_eq!(search("the").await.len(), 1);

    let unknown = fill(&api.database, "klingon").await;
    assert!(
        matches!(unknown, Err(FillError::UnknownLanguage)),
        "{unknown:?}"
    );
    assert_eq!(api.history(session_id, "").await.status, 200);
}

#[tokio::test]
async fn an_owner_without_sessions_leaves_no_trace() {
    let api = TestApi::start().await;
    for owner in ["jwt:alice", "jwt:bob"] {
        say(
            &api,
            owner,
            "select n, n from generate_series(1, 3) n",
            "'word'",
        )
        .await;
    }
    api.fill().await;
    api.sql("update chat_sessions set erased_at = now() where owner = 'jwt:bob'")
        .await;
    api.fill().await;
    let owners = "select count(*) from chat_search_parts where owner = ";
    assert_eq!(api.number(&format!("{owners} 'jwt:bob'")).await, 0);
    assert_eq!(api.number(&format!("{owners} 'jwt:alice'")).await, 1);
}

#[tokio::test]
async fn the_database_makes_the_same_words_as_the_function() {
    let api = TestApi::start().await;
    let connection = api.connection().await;
    let mut runner = TestRunner::deterministic();
    let letters = "[a-zA-Z0-9 .,'\"/_-]{0,9}[ -ʯ]{0,9}[\u{300}-\u{36f}]{0,2}[Ͱ-ӿ]{0,5}[\u{e01}-\u{e3a}\u{e3f}-\u{e5b}]{0,6}\
                   [\u{1e00}-\u{1fff}]{0,4}[\u{2010}-\u{2040}]{0,3}[\u{3041}-\u{30ff}]{0,6}[一-龥]{0,4}[가-힣]{0,4}[\u{ff01}-\u{ff9f}]{0,5}[😀-😎]{0,2}";
    let texts = proptest::string::string_regex(letters).unwrap();
    for _ in 0..500 {
        let text = texts.new_tree(&mut runner).unwrap().current();
        let statement = "select public.chat_search_text_v1($1)";
        let row = connection
            .client()
            .query_typed_one(statement, &[(&text, Type::TEXT)])
            .await;
        let made: String = row.unwrap().get(0);
        let made: Vec<_> = made.split_whitespace().map(str::to_lowercase).collect();
        let characters: Vec<char> = text.chars().collect();
        let words: Vec<_> = ::search::words::words(&characters)
            .into_iter()
            .map(|word| word.form)
            .collect();
        assert_eq!(made, words, "{text:?}");
    }
}
