//! `GET /chat/history/{session_id}`: complete, in pages, in both directions, and at its limits.

use serde_json::{Value, json};
use uuid::Uuid;

use support::TestApi;

fn contents(body: &Value) -> Vec<String> {
    let history = body["history"].as_array().unwrap();
    history
        .iter()
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

fn numbers(range: impl Iterator<Item = i32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn a_history_has_every_field_of_the_contract() {
    let api = TestApi::start().await;
    let turn = api.chat(json!({ "query": "Hello" })).await;
    let session_id = turn.id("session_id");

    let answer = api.history(session_id, "").await;

    assert_eq!(answer.status, 200);
    let times: Vec<&str> = answer.body["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["timestamp"].as_str().unwrap())
        .collect();
    assert!(
        times
            .iter()
            .all(|time| time.len() == 27 && time.ends_with('Z')),
        "{times:?}"
    );
    assert_eq!(
        answer.body,
        json!({
            "success": true,
            "session_id": session_id,
            "history": [
                {
                    "role": "user", "content": "Hello", "message_id": turn.body["message_id"],
                    "timestamp": times[0], "audio_files": null, "function_calls": null,
                    "metadata": null, "feedback": null,
                },
                {
                    "role": "assistant", "content": turn.body["response"],
                    "message_id": turn.body["response_id"], "timestamp": times[1],
                    "audio_files": null, "function_calls": null, "metadata": null,
                    "feedback": null,
                },
            ],
            "message_count": 2,
            "has_more": false,
            "next_cursor": null,
        })
    );
}

#[tokio::test]
async fn a_session_without_messages_has_an_empty_history() {
    let api = TestApi::start().await;
    let opened = api.request(axum::http::Method::POST, "/chat/reset").await;
    let session_id = opened.id("new_session_id");

    for page in ["", "?limit=1", "?order=desc"] {
        let answer = api.history(session_id, page).await;
        assert_eq!(
            answer.body,
            json!({
                "success": true, "session_id": session_id, "history": [], "message_count": 0,
                "has_more": false, "next_cursor": null,
            })
        );
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition_both_ways() {
    let api = TestApi::start().await;
    let session_id = api.long_session(10, 0).await;
    for limit in [1, 3, 5, 9, 10, 1000] {
        for (order, place, expected) in [
            ("asc", "after", numbers(1..=10)),
            ("desc", "before", numbers((1..=10).rev())),
        ] {
            let (mut seen, mut page) = (Vec::new(), format!("?order={order}&limit={limit}"));
            loop {
                let answer = api.history(session_id, &page).await;
                assert_eq!(answer.status, 200, "{}", answer.body);
                assert_eq!(answer.body["message_count"], 10);
                seen.extend(contents(&answer.body));
                assert_eq!(answer.body["has_more"], seen.len() < 10, "{order} {limit}");
                let Some(cursor) = answer.body["next_cursor"].as_str() else {
                    break;
                };
                page = format!("?order={order}&limit={limit}&{place}={cursor}");
            }
            assert_eq!(seen, expected, "{order} {limit}");
        }
    }
}

#[tokio::test]
async fn messages_appended_meanwhile_move_no_page() {
    let api = TestApi::start().await;
    let session_id = api.session(&["1", "3"]).await;
    let forward = api.history(session_id, "?limit=3").await;
    let backward = api.history(session_id, "?limit=1&order=desc").await;
    api.chat(json!({ "query": "5", "session_id": session_id }))
        .await;

    let cursor = forward.body["next_cursor"].as_str().unwrap();
    let rest = api.history(session_id, &format!("?after={cursor}")).await;
    assert_eq!(rest.said().len(), 3);
    let cursor = backward.body["next_cursor"].as_str().unwrap();
    let rest = api
        .history(session_id, &format!("?order=desc&before={cursor}"))
        .await;
    assert_eq!(rest.said().len(), 3);
    assert_eq!(rest.said()[0].1, "3");
    assert_eq!(rest.body["has_more"], false);
}

#[tokio::test]
async fn two_cursors_select_the_messages_between_them() {
    let api = TestApi::start().await;
    let session_id = api.long_session(10, 0).await;
    let cursor = async |page: &str| {
        let body = api.history(session_id, page).await.body;
        body["next_cursor"].as_str().unwrap().to_owned()
    };
    let (third, eighth) = (
        cursor("?limit=3").await,
        cursor("?limit=3&order=desc").await,
    );

    let between = format!("?after={third}&before={eighth}");
    let answer = api.history(session_id, &between).await;
    assert_eq!(contents(&answer.body), numbers(4..=7));
    assert_eq!(answer.body["has_more"], false);
    let answer = api.history(session_id, &format!("{between}&limit=2")).await;
    assert_eq!(contents(&answer.body), numbers(4..=5));
    assert_eq!(answer.body["has_more"], true);
    let answer = api
        .history(session_id, &format!("{between}&limit=3&order=desc"))
        .await;
    assert_eq!(contents(&answer.body), numbers((5..=7).rev()));
    assert_eq!(answer.body["has_more"], true);
    let nothing = format!("?after={eighth}&before={third}");
    let answer = api.history(session_id, &nothing).await;
    assert_eq!(
        (contents(&answer.body).len(), &answer.body["has_more"]),
        (0, &json!(false))
    );
}

#[tokio::test]
async fn without_a_limit_two_thousand_messages_come_back_whole() {
    let api = TestApi::start().await;
    let session_id = api.long_session(2000, 0).await;

    let answer = api.history(session_id, "").await;

    assert_eq!(contents(&answer.body), numbers(1..=2000));
    assert_eq!(answer.body["has_more"], false);
}

#[tokio::test]
async fn a_history_of_more_than_5_mb_ends_a_page_and_says_so() {
    let api = TestApi::start().await;
    let session_id = api.long_session(30, 400_000).await;
    for (order, place) in [("asc", "after"), ("desc", "before")] {
        let (mut seen, mut page, mut pages) = (0, format!("?order={order}"), 0);
        loop {
            let answer = api.history(session_id, &page).await;
            let bytes = answer.body.to_string().len();
            assert!(bytes < 5_001_000, "{bytes}");
            seen += contents(&answer.body).len();
            pages += 1;
            assert_eq!(answer.body["has_more"], seen < 30);
            let Some(cursor) = answer.body["next_cursor"].as_str() else {
                break;
            };
            assert!(bytes > 4_500_000, "a page is filled: {bytes}");
            page = format!("?order={order}&{place}={cursor}");
        }
        assert_eq!((seen, pages), (30, 3), "{order}");
    }
}

#[tokio::test]
async fn the_database_reads_no_more_than_a_page() {
    let api = TestApi::start().await;
    let session_id = api.long_session(30, 400_000).await;
    let rows = async |after: i64, before: i64, limit: &str, descending: bool, bytes: i64| {
        let query = format!(
            "select count(*) from chat_history_v1(
                '{session_id}', null, {after}, {before}, {limit}, {descending}, {bytes})"
        );
        api.number(&query).await
    };
    for descending in [false, true] {
        // Twelve fit into 5 MB; one more shows that there is more.
        assert_eq!(rows(0, 31, "null", descending, 5_000_000).await, 13);
        assert_eq!(rows(9, 31, "null", descending, 5_000_000).await, 13);
        assert_eq!(rows(0, 31, "20", descending, 5_000_000).await, 13);
        assert_eq!(rows(0, 31, "5", descending, 5_000_000).await, 5);
        assert_eq!(rows(28, 31, "null", descending, 5_000_000).await, 2);
        assert_eq!(rows(0, 31, "null", descending, 1).await, 1);
        assert_eq!(rows(0, 31, "null", descending, 100_000_000).await, 30);
    }
}

#[tokio::test]
async fn a_page_fits_into_lambdas_answer_even_when_every_character_is_escaped() {
    let api = TestApi::start().await;
    let session_id = api.long_session(20, 0).await;
    api.sql("update chat_messages set content = repeat('\"', 200000)")
        .await;

    let answer = api.history(session_id, "").await;

    // A quotation mark is `\"` in the body, and `\\\"` in the response that Lambda passes on.
    let carried = Value::String(answer.body.to_string()).to_string().len();
    assert!(carried < 6_291_556, "{carried}");
    assert_eq!(answer.body["has_more"], true);
}

#[tokio::test]
async fn a_message_longer_than_a_page_has_a_page_of_its_own() {
    let api = TestApi::start().await;
    let session_id = api.long_session(3, 0).await;
    api.sql("update chat_messages set content = repeat('x', 5500000) where seq = 2")
        .await;

    let first = api.history(session_id, "").await;
    assert_eq!(
        (contents(&first.body).len(), &first.body["has_more"]),
        (1, &json!(true))
    );
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = api.history(session_id, &format!("?after={cursor}")).await;
    assert_eq!(
        (contents(&second.body).len(), &second.body["has_more"]),
        (1, &json!(true))
    );
}

#[tokio::test]
async fn an_invalid_page_request_is_refused() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let cases = [
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=ten", "limit"),
        ("?limit=", "limit"),
        ("?limit=1.5", "limit"),
        ("?limit=99999999999999999999", "limit"),
        ("?limit=1&limit=2", "limit"),
        ("?order=up", "order"),
        ("?order=", "order"),
        ("?order=asc&order=desc", "order"),
    ];
    for (page, parameter) in cases {
        let answer = api.history(session_id, page).await;
        let detail = answer.assert_problem(400, "invalid_request");
        assert!(
            detail.contains(&format!("`{parameter}`")),
            "{page}: {detail}"
        );
    }
    assert_eq!(api.history(session_id, "?colour=blue").await.status, 200);
}

#[tokio::test]
async fn a_cursor_that_was_not_given_out_is_refused() {
    let api = TestApi::start().await;
    let (session_id, other) = (
        api.session(&["a", "b"]).await,
        api.session(&["a", "b"]).await,
    );
    let foreign = api.history(other, "?limit=1").await.body["next_cursor"].clone();
    for cursor in ["", "7", "%00", "AAAA", "!!!", foreign.as_str().unwrap()] {
        for parameter in ["after", "before"] {
            let answer = api
                .history(session_id, &format!("?{parameter}={cursor}"))
                .await;
            let detail = answer.assert_problem(400, "invalid_cursor");
            assert!(detail.contains(parameter), "{detail}");
        }
    }
}

#[tokio::test]
async fn an_invalid_id_is_refused_and_an_unknown_one_is_not_found() {
    let api = TestApi::start().await;
    for id in [
        "7",
        "not-a-uuid",
        "%00",
        "%F0%9F%98%80",
        "0198c0de00007000800000000000abcd",
    ] {
        let detail = api
            .history(id, "")
            .await
            .assert_problem(400, "invalid_request");
        assert!(detail.contains("`session_id`"), "{detail}");
    }
    api.history(Uuid::now_v7(), "")
        .await
        .assert_problem(404, "session_not_found");
}

#[tokio::test]
async fn an_id_may_be_written_in_upper_case_and_percent_encoded() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let text = session_id.to_string();
    let encoded = text.replace('-', "%2D");
    for id in [text.to_uppercase(), encoded] {
        let answer = api.history(&id, "").await;
        assert_eq!(
            (answer.status, answer.id("session_id")),
            (200, session_id),
            "{id}"
        );
    }
}
