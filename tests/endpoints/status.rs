//! `GET /chat/status`: the statistics of a session, and the state of the service.

use axum::http::Method;
use serde_json::json;
use uuid::Uuid;

use support::TestApi;

#[tokio::test]
async fn statistics_have_every_field_of_the_contract() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hello", "An audio about sleep"]).await;

    let answer = api.status(session_id).await;

    assert_eq!(answer.status, 200);
    let stats = answer.body["session_stats"].clone();
    let messages = api.history(session_id, "").await.body["history"].clone();
    let duration = stats["duration_seconds"].as_f64().unwrap();
    assert!(duration > 0.0 && duration < 60.0, "{duration}");
    assert_eq!(
        answer.body,
        json!({
            "success": true,
            "session_id": session_id,
            "conversation_length": 4,
            "status": "active",
            "session_stats": {
                "session_id": session_id,
                "created_at": stats["created_at"],
                "updated_at": messages[3]["timestamp"],
                "is_active": true,
                "message_count": 4,
                "user_messages": 2,
                "assistant_messages": 2,
                "first_message_time": messages[0]["timestamp"],
                "last_message_time": messages[3]["timestamp"],
                "duration_seconds": duration,
                "audio_files_provided": 1,
                "input_tokens": api.number("select sum(input_tokens)::bigint from chat_messages").await,
                "output_tokens": api.number("select sum(output_tokens)::bigint from chat_messages").await,
            },
        })
    );
    assert!(stats["created_at"].as_str() <= stats["first_message_time"].as_str());
}

#[tokio::test]
async fn a_session_without_messages_is_a_new_session() {
    let api = TestApi::start().await;
    let session_id = api
        .request(Method::POST, "/chat/reset")
        .await
        .id("new_session_id");

    let answer = api.status(session_id).await;

    assert_eq!(answer.body["status"], "new_session");
    assert_eq!(answer.body["conversation_length"], 0);
    let stats = &answer.body["session_stats"];
    assert_eq!(stats["first_message_time"], json!(null));
    assert_eq!(stats["last_message_time"], json!(null));
    assert_eq!(stats["duration_seconds"], json!(0.0));
}

#[tokio::test]
async fn a_session_that_was_reset_is_inactive() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    api.reset(session_id).await;

    let answer = api.status(session_id).await;

    assert_eq!(answer.body["status"], "inactive");
    assert_eq!(answer.body["session_stats"]["is_active"], false);
    assert_eq!(answer.body["conversation_length"], 2);
}

#[tokio::test]
async fn without_a_session_it_is_the_connection_test() {
    let api = TestApi::start().await;

    let answer = api.service_status().await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        json!({
            "success": true,
            "session_id": null,
            "conversation_length": 0,
            "status": "new_session",
            "service": {
                "database": "ok",
                "schema_version": migrate::known_migrations().len(),
                "version": env!("CARGO_PKG_VERSION"),
            },
        })
    );
}

#[tokio::test]
async fn the_parameter_is_checked() {
    let api = TestApi::start().await;
    let id = Uuid::now_v7();
    for query in [
        "session_id=",
        "session_id=7",
        &format!("session_id={id}&session_id={id}"),
    ] {
        let answer = api
            .request(Method::GET, &format!("/chat/status?{query}"))
            .await;
        answer.assert_problem(400, "invalid_request");
    }
    api.status(id)
        .await
        .assert_problem(404, "session_not_found");
}
