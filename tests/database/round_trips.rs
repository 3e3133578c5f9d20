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
    api.chat(json!({ "query": "audio", "session_id": session_id }))
        .await;
    assert_eq!(proxy.take_round_trips(), 2, "a turn of an existing session");
    assert_eq!(api.chat(turn).await.headers["idempotent-replayed"], "true");
    assert_eq!(proxy.take_round_trips(), 1, "a turn that is replayed");

    let history = api.history(session_id, "").await;
    assert_eq!(proxy.take_round_trips(), 1, "history");
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
    api.load(session_id).await;
    assert_eq!(proxy.take_round_trips(), 1, "load");
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
