//! `POST /chat/reset`: closes a session, keeps its record, opens a new one.

use axum::http::Method;
use serde_json::json;
use uuid::Uuid;

use support::TestApi;

const MESSAGE: &str = "Conversation history cleared. Ready for new consultation session.";

#[tokio::test]
async fn a_session_is_closed_and_its_record_kept() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let history = api.history(session_id, "").await.body;

    let answer = api.reset(session_id).await;

    assert_eq!(answer.status, 200);
    let new_session_id = answer.id("new_session_id");
    assert_eq!(
        answer.body,
        json!({
            "success": true,
            "message": MESSAGE,
            "session_id": session_id,
            "new_session_id": new_session_id,
        })
    );
    assert_eq!(api.history(session_id, "").await.body, history);
    assert_eq!(api.status(session_id).await.body["status"], "inactive");
    assert_eq!(
        api.status(new_session_id).await.body["status"],
        "new_session"
    );
    let answer = api
        .chat(json!({ "query": "Fresh", "session_id": new_session_id }))
        .await;
    assert_eq!(answer.body["conversation_length"], 2);
}

#[tokio::test]
async fn without_a_session_a_new_one_is_opened() {
    let api = TestApi::start().await;

    let answer = api.request(Method::POST, "/chat/reset").await;

    let new_session_id = answer.id("new_session_id");
    assert_eq!(
        answer.body,
        json!({
            "success": true,
            "message": "No session was named, so none was closed. Ready for new consultation session.",
            "session_id": null,
            "new_session_id": new_session_id,
        })
    );
    assert_eq!(
        api.status(new_session_id).await.body["status"],
        "new_session"
    );
    assert_eq!(api.number("select count(*) from chat_sessions").await, 1);
}

#[tokio::test]
async fn a_session_that_is_named_in_the_body_is_not_passed_over() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let reset = async |body: String| {
        let request = axum::http::Request::post("/chat/reset")
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap();
        api.send(request).await
    };

    let answer = reset(json!({ "session_id": session_id }).to_string()).await;

    let detail = answer.assert_problem(400, "invalid_request");
    assert!(detail.contains("query string"), "{detail}");
    assert_eq!(api.status(session_id).await.body["status"], "active");
    assert_eq!(api.number("select count(*) from chat_sessions").await, 1);
    for body in ["", "{}", "null", "session_id"] {
        assert_eq!(reset(body.into()).await.status, 200, "{body}");
    }
}

#[tokio::test]
async fn a_session_can_be_reset_again() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;

    let (first, second) = (api.reset(session_id).await, api.reset(session_id).await);

    assert_eq!((first.status, second.status), (200, 200));
    assert_ne!(first.id("new_session_id"), second.id("new_session_id"));
}

#[tokio::test]
async fn an_unknown_session_is_not_found_and_none_is_opened() {
    let api = TestApi::start().await;

    api.reset(Uuid::now_v7())
        .await
        .assert_problem(404, "session_not_found");
    api.reset("7").await.assert_problem(400, "invalid_request");
    api.reset("").await.assert_problem(400, "invalid_request");

    assert_eq!(api.number("select count(*) from chat_sessions").await, 0);
}
