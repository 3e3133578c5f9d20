//! `POST /chat`: successful turns, stored data, and refused requests.

use serde_json::{Value, json};
use uuid::Uuid;

use support::TestApi;

#[tokio::test]
async fn a_turn_is_answered_with_every_field_of_the_contract() {
    let api = TestApi::start().await;

    let answer = api.chat(json!({ "query": "Hello" })).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    let response = answer.body["response"].as_str().unwrap();
    assert!(
        response.contains("built-in model") && response.contains("Hello"),
        "{response}"
    );
    let (session_id, message_id, response_id) = (
        answer.id("session_id"),
        answer.id("message_id"),
        answer.id("response_id"),
    );
    assert_eq!(
        answer.body,
        json!({
            "response": response,
            "query": "Hello",
            "audio_files": [],
            "audio_provided": false,
            "conversation_length": 2,
            "session_id": session_id,
            "message_id": message_id,
            "response_id": response_id,
            "function_calls": [],
            "model": "built-in",
            "finish_reason": "stop",
            "usage": { "input_tokens": 1, "output_tokens": response.split_whitespace().count() },
        })
    );
    for id in [session_id, message_id, response_id] {
        assert_eq!(id.get_version_num(), 7, "new ids are v7");
    }
}

#[tokio::test]
async fn a_conversation_goes_on_and_is_remembered() {
    let api = TestApi::start().await;
    let session_id = api.session(&["My name is Ada"]).await;

    let answer = api
        .chat(json!({ "query": "Who am I?", "session_id": session_id }))
        .await;

    assert_eq!(answer.body["conversation_length"], 4);
    assert_eq!(answer.id("session_id"), session_id);
    assert!(
        answer.body["response"]
            .as_str()
            .unwrap()
            .contains("My name is Ada")
    );
}

#[tokio::test]
async fn recommended_recordings_come_with_the_call_that_found_them() {
    let api = TestApi::start().await;

    let answer = api
        .chat(json!({ "query": "An audio against stress, please" }))
        .await;

    let recordings = &answer.body["audio_files"];
    let recommended = &recordings[0];
    let title = recommended["title"].as_str().unwrap();
    assert_eq!(recommended["file_path"], recommended["filename"]);
    assert!(recommended["relevance_score"].as_f64().unwrap() > 0.3);
    assert_eq!(answer.body["audio_provided"], true);
    let response = answer.body["response"].as_str().unwrap();
    assert!(response.ends_with(&format!("I recommend: {title}.")));
    let call = &answer.body["function_calls"][0];
    assert_eq!(call["name"], "search_audio_resources");
    let arguments = json!({ "query": "An audio against stress, please" });
    assert_eq!(call["arguments"], arguments);
    assert_eq!(call["result"][0]["audio_id"], recommended["audio_id"]);
    let history = api.history(answer.id("session_id"), "").await;
    assert_eq!(&history.body["history"][1]["audio_files"], recordings);
    assert_eq!(
        history.body["history"][1]["function_calls"],
        answer.body["function_calls"]
    );
}

#[tokio::test]
async fn a_client_may_choose_its_ids_and_store_what_it_needs() {
    let api = TestApi::start().await;
    let (session_id, message_id) = (Uuid::new_v4(), Uuid::new_v4());
    let metadata = json!({ "channel": "app", "nested": { "list": [1, 2.5, null, "ü"] } });
    let audio_files = json!([{ "name": "question.ogg", "seconds": 3 }]);

    let answer = api
        .chat(json!({
            "query": "Hi",
            "session_id": session_id.to_string().to_uppercase(),
            "message_id": message_id,
            "metadata": metadata,
            "audio_files": audio_files,
            "unknown_field": "is ignored",
        }))
        .await;

    assert_eq!((answer.status, answer.id("session_id")), (200, session_id));
    assert_eq!(answer.id("message_id"), message_id);
    assert_eq!(
        answer.body["audio_provided"], false,
        "the user's audio is no recommendation"
    );
    let stored = &api.history(session_id, "").await.body["history"][0];
    assert_eq!(stored["message_id"], json!(message_id));
    assert_eq!(stored["metadata"], metadata);
    assert_eq!(stored["audio_files"], audio_files);
}

#[tokio::test]
async fn null_in_an_optional_field_counts_as_left_out() {
    let api = TestApi::start().await;
    let body = json!({
        "query": "Hi", "session_id": null, "message_id": null, "metadata": null, "audio_files": null,
    });

    let answer = api.chat(body).await;

    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn messages_come_back_unchanged() {
    let api = TestApi::start().await;
    for said in [
        "  spaces  ",
        "line\nbreak\ttab",
        "\"quoted\\\"",
        "👩‍👩‍👧 e\u{301} ﷽ \u{202e}",
        "'; --",
    ] {
        let answer = api.chat(json!({ "query": said })).await;
        assert_eq!(answer.body["query"], said);
        let history = api.history(answer.id("session_id"), "").await;
        assert_eq!(history.body["history"][0]["content"], said);
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let api = TestApi::start().await;
    let cases: [(&[u8], &str); 7] = [
        (b"", "no body"),
        (b"{\"query\": \"Hel", "truncated"),
        (b"[{\"query\": \"Hi\"}]", "an array"),
        (b"\"Hi\"", "a string"),
        (b"null", "null"),
        (b"{\"query\": \"\\ud83d\"}", "a lone surrogate"),
        (b"query=Hi", "a form"),
    ];
    for (body, reason) in cases {
        let detail = api
            .chat_raw(body.to_vec())
            .await
            .assert_problem(400, "invalid_json");
        assert!(detail.contains("body"), "{reason}: {detail}");
    }
    let deep = format!("{{\"query\": {}", "[".repeat(100_000));
    api.chat_raw(deep).await.assert_problem(400, "invalid_json");
}

#[tokio::test]
async fn a_field_that_is_given_twice_is_refused() {
    let api = TestApi::start().await;
    let id = Uuid::new_v4();
    let cases = [
        (r#"{"query": "a", "query": "b"}"#.to_owned(), "query"),
        (
            format!(r#"{{"query": "a", "session_id": "{id}", "session_id": null}}"#),
            "session_id",
        ),
        (
            r#"{"metadata": {}, "query": "a", "metadata": {}}"#.to_owned(),
            "metadata",
        ),
        // The same name, written in two ways.
        (r#"{"query": "a", "\u0071uery": "b"}"#.to_owned(), "query"),
    ];
    for (body, field) in cases {
        let answer = api.chat_raw(body).await;
        let detail = answer.assert_problem(400, "invalid_request");
        assert!(
            detail.contains(&format!("`{field}` is given more than once")),
            "{detail}"
        );
    }
    let unknown = r#"{"query": "a", "x": 1, "x": 2}"#.to_owned();
    assert_eq!(
        api.chat_raw(unknown).await.status,
        200,
        "unknown fields are ignored"
    );
}

#[tokio::test]
async fn a_field_that_is_wrong_is_named() {
    let api = TestApi::start().await;
    let big = "x".repeat(16 * 1024);
    let cases: Vec<(Value, &str, &str)> = vec![
        (json!({}), "query", "missing"),
        (json!({ "query": null }), "query", "null"),
        (json!({ "query": 7 }), "query", "a number"),
        (json!({ "query": ["Hi"] }), "query", "an array"),
        (json!({ "query": "" }), "query", "empty"),
        (json!({ "query": " \n\t\u{a0}" }), "query", "blank"),
        (json!({ "query": "x".repeat(32_001) }), "query", "too long"),
        (json!({ "query": "a\0b" }), "query", "U+0000"),
        (
            json!({ "query": "Hi", "session_id": "7" }),
            "session_id",
            "no UUID",
        ),
        (
            json!({ "query": "Hi", "session_id": 7 }),
            "session_id",
            "a number",
        ),
        (
            json!({ "query": "Hi", "session_id": "" }),
            "session_id",
            "empty",
        ),
        (
            json!({ "query": "Hi", "session_id": "\0" }),
            "session_id",
            "U+0000",
        ),
        (
            json!({ "query": "Hi", "message_id": "x" }),
            "message_id",
            "no UUID",
        ),
        (
            json!({ "query": "Hi", "metadata": [] }),
            "metadata",
            "an array",
        ),
        (
            json!({ "query": "Hi", "metadata": "x" }),
            "metadata",
            "a string",
        ),
        (
            json!({ "query": "Hi", "metadata": { "a": big } }),
            "metadata",
            "too long",
        ),
        (
            json!({ "query": "Hi", "metadata": { "a": { "b": "\0" } } }),
            "metadata",
            "U+0000",
        ),
        (
            json!({ "query": "Hi", "metadata": { "\0": 1 } }),
            "metadata",
            "U+0000 in a name",
        ),
        (
            json!({ "query": "Hi", "audio_files": {} }),
            "audio_files",
            "an object",
        ),
        (
            json!({ "query": "Hi", "audio_files": [1] }),
            "audio_files",
            "not objects",
        ),
        (
            json!({ "query": "Hi", "audio_files": [{ "a": big }] }),
            "audio_files",
            "too long",
        ),
        (
            json!({ "query": "Hi", "audio_files": [{ "a": "\0" }] }),
            "audio_files",
            "U+0000",
        ),
    ];
    for (body, field, reason) in cases {
        let detail = api.chat(body).await.assert_problem(400, "invalid_request");
        assert!(detail.contains(&format!("`{field}`")), "{reason}: {detail}");
    }
    assert_eq!(api.number("select count(*) from chat_sessions").await, 0);
}

#[tokio::test]
async fn the_length_of_a_query_is_counted_in_characters() {
    let api = TestApi::start().await;
    for (character, reason) in [("a", "one byte"), ("😀", "four bytes")] {
        let answer = api.chat(json!({ "query": character.repeat(32_000) })).await;
        assert_eq!(answer.status, 200, "{reason}");
        let answer = api.chat(json!({ "query": character.repeat(32_001) })).await;
        answer.assert_problem(400, "invalid_request");
    }
    // A combining character counts by itself.
    let answer = api
        .chat(json!({ "query": "e\u{301}".repeat(16_000) }))
        .await;
    assert_eq!(answer.status, 200);
    let answer = api
        .chat(json!({ "query": "e\u{301}".repeat(16_001) }))
        .await;
    answer.assert_problem(400, "invalid_request");
}

#[tokio::test]
async fn the_largest_metadata_is_stored_and_a_byte_more_is_refused() {
    let api = TestApi::start().await;
    let padding = 16 * 1024 - json!({ "a": "" }).to_string().len();
    let body = |length| json!({ "query": "Hi", "metadata": { "a": "x".repeat(length) } });

    assert_eq!(api.chat(body(padding)).await.status, 200);
    api.chat(body(padding + 1))
        .await
        .assert_problem(400, "invalid_request");
}

#[tokio::test]
async fn a_body_over_256_kib_is_refused() {
    let api = TestApi::start().await;
    for length in [256 * 1024 + 1, 1_000_000, 7_000_000] {
        api.chat_raw("x".repeat(length))
            .await
            .assert_problem(413, "payload_too_large");
    }
    // Exactly at the limit the body is read, and found not to be JSON.
    api.chat_raw("x".repeat(256 * 1024))
        .await
        .assert_problem(400, "invalid_json");
}

#[tokio::test]
async fn the_content_type_must_be_json_if_it_is_given() {
    let api = TestApi::start().await;
    let send = async |content_type: Option<&str>| {
        let mut request = axum::http::Request::post("/chat");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        api.send(request.body("{\"query\": \"Hi\"}".into()).unwrap())
            .await
    };
    for accepted in [
        None,
        Some("application/json"),
        Some("Application/JSON; charset=utf-8"),
        Some("application/json ;x=y"),
    ] {
        assert_eq!(send(accepted).await.status, 200, "{accepted:?}");
    }
    for refused in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "json",
        "",
    ] {
        send(Some(refused))
            .await
            .assert_problem(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_session_that_was_reset_takes_no_turn_until_it_is_loaded() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    api.reset(session_id).await;

    let body = json!({ "query": "Again", "session_id": session_id });
    api.chat(body.clone())
        .await
        .assert_problem(409, "session_inactive");
    assert_eq!(api.history(session_id, "").await.body["message_count"], 2);

    api.load(session_id).await;
    assert_eq!(api.chat(body).await.status, 200);
}

#[tokio::test]
async fn a_message_gets_its_time_and_times_never_run_backwards() {
    let api = TestApi::start().await;
    let session_id = api.session(&["one"]).await;
    // As if the clock had been set back: the stored messages are later than now.
    api.sql(
        "update chat_messages set timestamp = timestamp + interval '1 hour';
         update chat_sessions set last_message_time = last_message_time + interval '1 hour'",
    )
    .await;
    api.chat(json!({ "query": "two", "session_id": session_id }))
        .await;

    let rows = api
        .connection()
        .await
        .client()
        .query_typed("select timestamp from chat_messages order by seq", &[])
        .await
        .unwrap();
    let times: Vec<std::time::SystemTime> = rows.iter().map(|row| row.get(0)).collect();
    assert!(times.is_sorted(), "{times:?}");
}
