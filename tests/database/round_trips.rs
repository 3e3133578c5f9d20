//! The cost of a request at the database: round trips on the wire, and pages touched.

use serde_json::json;
use uuid::Uuid;

use support::TestApi;

#[tokio::test]
async fn every_request_is_one_round_trip_and_a_turn_is_two() {
    let (api, proxy) = TestApi::behind_proxy(&[]).await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let turn = json!({ "query": "Hi", "session_id": session_id, "message_id": message_id });

    assert_eq!(
        proxy.take_round_trips(),
        2,
        "one for connecting, one for the statement"
    );

    assert_eq!(api.chat(turn.clone()).await.status, 200);
    assert_eq!(proxy.take_round_trips(), 2, "a turn that opens its session");
    api.chat(json!({ "query": "Hello", "session_id": session_id }))
        .await;
    assert_eq!(proxy.take_round_trips(), 2, "a turn of an existing session");
    assert_eq!(api.chat(turn).await.headers["idempotent-replayed"], "true");
    assert_eq!(proxy.take_round_trips(), 1, "a turn that is replayed");

    let streamed = api.ask("stream", session_id).await;
    assert!(streamed.body.as_str().unwrap().contains("event: done"));
    // It takes about a second, and what was said is written after 300 ms and then each second.
    let round_trips = proxy.take_round_trips();
    assert!(
        (3..=4).contains(&round_trips),
        "a streamed turn: {round_trips}"
    );
    assert_eq!(api.stop(session_id, "").await.status, 200);
    assert_eq!(proxy.take_round_trips(), 1, "stopping nothing");

    let history = api.history(session_id, "").await;
    assert_eq!(proxy.take_round_trips(), 1, "history");
    let question = history.body["history"][0]["message_id"].as_str().unwrap();
    let query = format!("?message_id={question}");
    api.resume(session_id, &query, None).await.all().await;
    assert_eq!(proxy.take_round_trips(), 1, "a stream of an answered turn");
    api.history(session_id, "?limit=1&order=desc").await;
    assert_eq!(proxy.take_round_trips(), 1, "a page of history");
    let first = history.body["history"][0]["message_id"].as_str().unwrap();
    api.fork(session_id, first).await;
    assert_eq!(proxy.take_round_trips(), 1, "a copy");
    api.status(session_id).await;
    assert_eq!(proxy.take_round_trips(), 1, "status");
    api.service_status().await;
    assert_eq!(proxy.take_round_trips(), 1, "status of the service");
    api.reset(session_id).await;
    assert_eq!(proxy.take_round_trips(), 1, "reset");
    assert_eq!(api.sessions("").await.status, 200);
    assert_eq!(proxy.take_round_trips(), 1, "a list of sessions");
    assert_eq!(api.export("").await.status, 200);
    assert_eq!(proxy.take_round_trips(), 1, "an export");
    assert_eq!(api.find(session_id).await.status, 200);
    assert_eq!(proxy.take_round_trips(), 1, "a session");
    let change = json!({ "title": "A title", "metadata": { "a": 1 } });
    assert_eq!(api.change(session_id, change).await.status, 200);
    assert_eq!(proxy.take_round_trips(), 1, "a change");
    let found = api.search("Hi", "").await;
    assert!(!found.body["results"].as_array().unwrap().is_empty());
    assert_eq!(proxy.take_round_trips(), 1, "a search");
    let answer = history.body["history"][1]["message_id"].as_str().unwrap();
    let feedback = json!({ "rating": "up" });
    assert_eq!(api.feedback(session_id, answer, feedback).await.status, 200);
    assert_eq!(proxy.take_round_trips(), 1, "feedback");
    api.load(session_id).await;
    assert_eq!(proxy.take_round_trips(), 1, "load");
    assert_eq!(api.erase(session_id).await.status, 200);
    assert_eq!(proxy.take_round_trips(), 1, "erasing");
    api.request(axum::http::Method::POST, "/chat/reset").await;
    assert_eq!(proxy.take_round_trips(), 1, "reset without a session");

    assert_eq!(proxy.connections(), 1, "one connection for all of it");
}

#[tokio::test]
async fn a_long_session_costs_no_more_than_a_short_one() {
    let api = TestApi::start().await;
    let (short, long) = (
        api.long_session(100, 0).await,
        api.long_session(20_000, 0).await,
    );
    api.sql("vacuum (analyze)").await;

    let turn = async |session_id| {
        let answer = api
            .chat(json!({ "query": "Hi", "session_id": session_id }))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let status = async |session_id| assert_eq!(api.status(session_id).await.status, 200);
    let page = async |session_id| {
        assert_eq!(
            api.history(session_id, "?limit=10&order=desc").await.status,
            200
        );
    };
    let load = async |session_id| assert_eq!(api.load(session_id).await.status, 200);

    let pages = [
        (
            "status",
            pages_touched(&api, status(short)).await,
            pages_touched(&api, status(long)).await,
        ),
        (
            "chat",
            pages_touched(&api, turn(short)).await,
            pages_touched(&api, turn(long)).await,
        ),
        (
            "history",
            pages_touched(&api, page(short)).await,
            pages_touched(&api, page(long)).await,
        ),
        (
            "load",
            pages_touched(&api, load(short)).await,
            pages_touched(&api, load(long)).await,
        ),
    ];
    for (what, short, long) in pages {
        // An index with 200 times the entries may be one level deeper.
        assert!(
            long <= short + 10,
            "{what}: {short} pages for 100 messages, {long} for 20,000"
        );
    }
}

#[tokio::test]
async fn a_page_far_down_the_list_costs_what_the_first_one_does() {
    let api = TestApi::start().await;
    // One owner's 100,000 sessions, used a minute apart, among as many of others; one in ten is archived and
    // one in a thousand is pinned.
    api.sql(
        "insert into chat_sessions (session_id, owner, last_message_time, message_count, is_archived, is_pinned)
         select gen_random_uuid(), case when n % 2 = 0 then 'jwt:' || n % 1000 end,
             timestamptz '2026-01-01' + n * interval '30 s', 2, n % 20 = 11, n % 2000 = 1
         from generate_series(1, 200000) n",
    )
    .await;
    api.sql("vacuum (analyze) chat_sessions").await;
    // The 100th page of archived ones, and the 1000th of the others.
    let far = api
        .number(
            "select (extract(epoch from last_message_time) * 1000000)::bigint
             from chat_sessions where owner is null and not is_archived
             order by last_message_time desc offset 20000 limit 1",
        )
        .await;
    let far = shared::http::cursor::encode_timed(far, Uuid::now_v7());

    let list = async |query: String| {
        let answer = api.sessions(&query).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(
            answer.body["sessions"].as_array().unwrap().len(),
            20,
            "{query}"
        );
    };
    for filter in ["", "&archived=true", "&archived=all", "&pinned=true"] {
        let first = pages_touched(&api, list(format!("?limit=20{filter}"))).await;
        let far = pages_touched(&api, list(format!("?limit=20&after={far}{filter}"))).await;
        assert!(
            first < 250 && far < 250,
            "{filter:?}: {first} pages for the first page, {far} for one far down"
        );
    }
}

#[tokio::test]
async fn a_search_costs_what_its_owner_said_and_not_what_others_said() {
    let api = TestApi::start().await;
    say(&api, "", 300).await;
    api.fill().await;
    api.sql("vacuum (analyze)").await;
    let search = async |query: &str, found: usize| {
        let answer = api.search(query, "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(
            answer.body["results"].as_array().unwrap().len(),
            found,
            "{query}"
        );
    };
    let queries = [
        ("common", 20),
        ("com", 20),
        ("\"word7\"", 3),
        ("common \"word7\"", 3),
        ("never", 0),
    ];
    let mut alone = Vec::new();
    for (query, found) in queries {
        alone.push(pages_touched(&api, search(query, found)).await);
    }

    // The same words, fifty times as often, by a hundred others.
    for owner in 0..100 {
        say(&api, &format!("jwt:{owner}"), 150).await;
    }
    api.fill().await;
    api.sql("vacuum (analyze)").await;
    for ((query, found), alone) in queries.into_iter().zip(&alone) {
        let among_others = pages_touched(&api, search(query, found)).await;
        assert!(
            among_others <= alone + 120,
            "{query}: {alone} pages alone, {among_others} among others"
        );
    }
    // An owner's own messages count as far as a part of them.
    say(&api, "", 6000).await;
    api.fill().await;
    api.sql("vacuum (analyze)").await;
    let common = pages_touched(&api, search("common", 20)).await;
    assert!(
        common < 1500,
        "{common} pages for a common word of 6,300 messages"
    );
}

/// Makes an owner say this many things, newer ones later, all of them `common`.
async fn say(api: &TestApi, owner: &str, messages: usize) {
    let session_id = Uuid::now_v7();
    api.sql(&format!(
        "insert into chat_sessions (session_id, owner, message_count, last_message_time)
         values ('{session_id}', nullif('{owner}', ''), {messages}, now() - interval '1 day');
         insert into chat_messages (
             session_id, seq, message_id, timestamp, role, content, characters, json_bytes_through
         )
         select '{session_id}', n, gen_random_uuid(), clock_timestamp(), 'user',
             'Something common, word' || n % 100, 0, 0
         from generate_series(1, {messages}) n
         order by n"
    ))
    .await;
}

/// The pages of our tables and their indexes that a request touches. A server process reports them
/// when it ends, so its connection is cut before and after.
async fn pages_touched(api: &TestApi, request: impl Future<Output = ()>) -> i64 {
    const TOUCHED: &str = "
        select sum(
            heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit
        )::bigint
        from pg_statio_user_tables";
    api.cut_connections().await;
    let before = api.number(TOUCHED).await;
    request.await;
    api.cut_connections().await;
    api.number(TOUCHED).await - before
}

#[tokio::test]
async fn statements_of_concurrent_requests_take_turns() {
    let (api, proxy) = TestApi::behind_proxy(&[]).await;
    let session_id = api.session(&["Hi"]).await;

    let requests = (0..20).map(|_| api.history(session_id, ""));
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    assert_eq!(proxy.most_at_once(), 1);
    assert_eq!(proxy.connections(), 1);
}
