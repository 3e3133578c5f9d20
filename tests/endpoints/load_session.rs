//! `POST /chat/load-session`: resuming sessions, and copying them from any point.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use support::TestApi;

#[tokio::test]
async fn a_session_is_resumed_with_its_last_ten_messages() {
    let api = TestApi::start().await;
    let session_id = api.session(&["1", "2", "3", "4", "5", "6"]).await;
    api.reset(session_id).await;

    let answer = api.load(session_id).await;

    assert_eq!(answer.status, 200);
    let whole = api.history(session_id, "").await.body["history"].clone();
    let last_ten = &whole.as_array().unwrap()[2..];
    assert_eq!(
        answer.body,
        json!({
            "success": true,
            "session_id": session_id,
            "conversation_length": 12,
            "message": format!("Loaded session {session_id}"),
            "forked_from": null,
            "history": last_ten,
        })
    );
    assert_eq!(api.status(session_id).await.body["status"], "active");
}

#[tokio::test]
async fn a_long_session_is_copied_up_to_a_bound() {
    let api = TestApi::start().await;
    let session_id = api.long_session(100_001, 10).await;
    let at = async |seq: i64| {
        let connection = api.connection().await;
        let row = connection
            .client()
            .query_typed_one(
                "select message_id from chat_messages where session_id = $1 and seq = $2",
                &[
                    (&session_id, tokio_postgres::types::Type::UUID),
                    (&seq, tokio_postgres::types::Type::INT8),
                ],
            )
            .await
            .unwrap();
        row.get::<_, Uuid>(0)
    };

    let refused = api.fork(session_id, at(100_001).await).await;
    let detail = refused.assert_problem(400, "invalid_request");
    assert!(detail.contains("100000"), "{detail}");
    assert_eq!(api.number("select count(*) from chat_sessions").await, 1);

    let copied = api.fork(session_id, at(100_000).await).await;
    assert_eq!(copied.status, 200, "{}", copied.body);
    assert_eq!(copied.body["conversation_length"], 100_000);
}

#[tokio::test]
async fn a_large_session_is_copied_up_to_a_bound() {
    let api = TestApi::start().await;
    let session_id = api.session(&["a", "b", "c", "d", "e", "f", "g", "h"]).await;
    let history = api.history(session_id, "").await;
    let last = history.body["history"][15]["message_id"].as_str().unwrap();
    // 51 MB of JSON, then 68. The last ten messages stay short.
    let enlarge = async |messages: i64| {
        api.sql(&format!(
            "update chat_messages
             set content = case when seq <= {messages} then repeat('x', 17000000) else 'x' end,
                 json_bytes_through = 200 * seq + 17000000 * least(seq, {messages})"
        ))
        .await;
    };

    enlarge(3).await;
    let copied = api.fork(session_id, last).await;
    assert_eq!(copied.body["conversation_length"], 16, "{}", copied.body);

    enlarge(4).await;
    let refused = api.fork(session_id, last).await;
    let detail = refused.assert_problem(400, "invalid_request");
    assert!(detail.contains("67108864"), "{detail}");
    assert_eq!(api.number("select count(*) from chat_sessions").await, 2);
}

#[tokio::test]
async fn a_copy_may_take_longer_than_other_statements() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let history = api.history(session_id, "").await;
    let last = history.body["history"][1]["message_id"].as_str().unwrap();
    api.slow_messages(3.0).await;

    let copied = api.fork(session_id, last).await;

    assert_eq!(copied.status, 200, "{}", copied.body);
    assert_eq!(copied.body["conversation_length"], 2);
}

#[tokio::test]
async fn the_last_messages_come_back_as_far_as_an_answer_holds_them() {
    let api = TestApi::start().await;
    let session_id = api.long_session(10, 900_000).await;

    for answer in [
        api.load(session_id).await,
        api.fork(session_id, {
            let history = api.history(session_id, "?order=desc&limit=1").await;
            history.body["history"][0]["message_id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .await,
    ] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["conversation_length"], 10);
        let said = answer.said();
        assert_eq!(said.len(), 5, "5 MB hold five of them");
        assert!(said[4].1.starts_with("10."), "the latest are kept");
        assert!(said[0].1.starts_with("6."));
    }
}

#[tokio::test]
async fn an_active_session_is_loaded_as_it_is() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let before = api.status(session_id).await.body;

    let answer = api.load(session_id).await;

    assert_eq!(answer.body["conversation_length"], 2);
    assert_eq!(api.status(session_id).await.body, before);
}

#[tokio::test]
async fn an_empty_session_is_loaded() {
    let api = TestApi::start().await;
    let session_id = api
        .request(axum::http::Method::POST, "/chat/reset")
        .await
        .id("new_session_id");

    let answer = api.load(session_id).await;

    assert_eq!((answer.status, &answer.body["history"]), (200, &json!([])));
    assert_eq!(answer.body["conversation_length"], 0);
}

#[tokio::test]
async fn a_copy_goes_on_from_any_point_and_leaves_the_original_alone() {
    let api = TestApi::start().await;
    let metadata = json!({ "k": "v" });
    let session_id = api.session(&["one"]).await;
    api.chat(json!({
        "query": "audio about sleep", "session_id": session_id, "metadata": metadata,
        "audio_files": [{ "name": "a.ogg" }],
    }))
    .await;
    api.chat(json!({ "query": "three", "session_id": session_id }))
        .await;
    let original = api.history(session_id, "").await.body;
    let original_status = api.status(session_id).await.body;
    let messages = original["history"].as_array().unwrap().clone();

    for (index, message) in messages.iter().enumerate() {
        let length = index + 1;
        let answer = api
            .fork(session_id, message["message_id"].as_str().unwrap())
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let copy_id = answer.id("session_id");
        assert_ne!(copy_id, session_id);
        assert_eq!(answer.body["conversation_length"], length);
        assert_eq!(
            answer.body["forked_from"],
            json!({ "session_id": session_id, "message_id": message["message_id"] })
        );

        let copy = api.history(copy_id, "").await.body;
        assert_eq!(copy["message_count"], length);
        assert_eq!(
            answer.body["history"], copy["history"],
            "the answer is what is stored"
        );
        for (copied, message) in copy["history"].as_array().unwrap().iter().zip(&messages) {
            let mut expected = message.clone();
            assert_ne!(
                copied["message_id"], message["message_id"],
                "ids are unique"
            );
            expected["message_id"] = copied["message_id"].clone();
            assert_eq!(*copied, expected);
        }
    }
    assert_eq!(api.history(session_id, "").await.body, original);
    assert_eq!(api.status(session_id).await.body, original_status);
}

#[tokio::test]
async fn a_copy_has_the_statistics_of_what_it_holds_and_takes_turns() {
    let api = TestApi::start().await;
    let session_id = api.session(&["one", "audio about sleep", "three"]).await;
    let messages = api.history(session_id, "").await.body["history"].clone();
    let copy = api
        .fork(session_id, messages[3]["message_id"].as_str().unwrap())
        .await;
    let copy_id = copy.id("session_id");

    let status = api.status(copy_id).await.body;
    assert_eq!(status["status"], "active");
    let stats = &status["session_stats"];
    assert_eq!(stats["message_count"], 4);
    assert_eq!(
        (&stats["user_messages"], &stats["assistant_messages"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(stats["audio_files_provided"], 1);
    assert_eq!(stats["first_message_time"], messages[0]["timestamp"]);
    assert_eq!(stats["last_message_time"], messages[3]["timestamp"]);
    let tokens = "select sum(output_tokens)::bigint from chat_messages where session_id =";
    assert_eq!(
        stats["output_tokens"],
        api.number(&format!("{tokens} '{copy_id}'")).await
    );

    let answer = api
        .chat(json!({ "query": "on we go", "session_id": copy_id }))
        .await;
    assert_eq!(answer.body["conversation_length"], 6);
    assert!(
        answer.body["response"]
            .as_str()
            .unwrap()
            .contains("audio about sleep")
    );
    // A copy can be copied again, by the ids of its own messages.
    let again = api
        .fork(
            copy_id,
            copy.body["history"][0]["message_id"].as_str().unwrap(),
        )
        .await;
    assert_eq!(again.body["conversation_length"], 1);
}

#[tokio::test]
async fn a_closed_session_can_be_copied_and_stays_closed() {
    let api = TestApi::start().await;
    let turn = api.chat(json!({ "query": "Hi" })).await;
    let session_id = turn.id("session_id");
    api.reset(session_id).await;

    let copy = api.fork(session_id, turn.id("response_id")).await;

    assert_eq!(
        api.status(copy.id("session_id")).await.body["status"],
        "active"
    );
    assert_eq!(api.status(session_id).await.body["status"], "inactive");
}

#[tokio::test]
async fn a_copy_made_while_the_session_is_written_is_a_whole_prefix() {
    let api = Arc::new(TestApi::in_environments(2).await);
    let first = api.chat(json!({ "query": "0" })).await;
    let session_id = first.id("session_id");
    let writer = {
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            for turn in 1..40 {
                api.chat(json!({ "query": turn.to_string(), "session_id": session_id }))
                    .await;
            }
        })
    };
    while !writer.is_finished() {
        let last = api.history(session_id, "?order=desc&limit=1").await.body["history"][0].clone();
        let copy = api
            .fork(session_id, last["message_id"].as_str().unwrap())
            .await;
        assert_eq!(copy.status, 200, "{}", copy.body);
        let copied = api.history(copy.id("session_id"), "").await.body;
        assert_eq!(
            copied["message_count"],
            copied["history"].as_array().unwrap().len()
        );
        assert_eq!(
            copied["history"].as_array().unwrap().last().unwrap()["content"],
            last["content"]
        );
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn an_unknown_session_or_message_is_not_found() {
    let api = TestApi::start().await;
    let (session_id, other) = (api.session(&["Hi"]).await, api.session(&["Hi"]).await);
    let foreign = api.history(other, "").await.body["history"][0]["message_id"].clone();

    api.load(Uuid::now_v7())
        .await
        .assert_problem(404, "session_not_found");
    api.fork(Uuid::now_v7(), Uuid::now_v7())
        .await
        .assert_problem(404, "session_not_found");
    api.fork(session_id, Uuid::now_v7())
        .await
        .assert_problem(404, "message_not_found");
    api.fork(session_id, foreign.as_str().unwrap())
        .await
        .assert_problem(404, "message_not_found");
    assert_eq!(api.number("select count(*) from chat_sessions").await, 2);
}

#[tokio::test]
async fn a_message_named_in_the_body_is_not_ignored() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    api.reset(session_id).await;
    let request = axum::http::Request::post(format!("/chat/load-session?session_id={session_id}"));
    let body = format!(r#"{{"at": "{}"}}"#, Uuid::now_v7());
    let answer = api.send(request.body(body.into()).unwrap()).await;
    let detail = answer.assert_problem(400, "invalid_request");
    assert!(detail.contains("`at`"), "{detail}");
    assert_eq!(api.status(session_id).await.body["status"], "inactive");
}

#[tokio::test]
async fn the_parameters_are_checked() {
    let api = TestApi::start().await;
    let id = Uuid::now_v7();
    let cases = [
        ("".to_owned(), "session_id"),
        ("?session_id=".into(), "session_id"),
        ("?session_id=7".into(), "session_id"),
        (format!("?session_id={id}&session_id={id}"), "session_id"),
        (format!("?session_id={id}&at=7"), "at"),
        (format!("?session_id={id}&at="), "at"),
        (format!("?session_id={id}&at={id}&at={id}"), "at"),
    ];
    for (query, parameter) in cases {
        let path = format!("/chat/load-session{query}");
        let answer = api.request(axum::http::Method::POST, &path).await;
        let detail = answer.assert_problem(400, "invalid_request");
        assert!(
            detail.contains(&format!("`{parameter}`")),
            "{query}: {detail}"
        );
    }
}
