//! The requests from the document that the product began with, by its paths and fields, over HTTP,
//! before and after a restart.

use serde_json::{Value, json};

use support::api::Answer;
use support::local_run::LocalRun;

async fn post(address: &str, path: &str, body: Option<Value>) -> Value {
    let request = reqwest::Client::new().post(format!("{address}{path}"));
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    successful(request).await
}

async fn get(address: &str, path: &str) -> Value {
    successful(reqwest::Client::new().get(format!("{address}{path}"))).await
}

async fn successful(request: reqwest::RequestBuilder) -> Value {
    let answer = Answer::over_http(request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// The fields of a chat response and their types.
fn assert_chat_response(body: &Value, query: &str, length: u64) {
    assert!(body["response"].is_string());
    assert_eq!(body["query"], query);
    assert!(body["audio_files"].is_array());
    assert!(body["audio_provided"].is_boolean());
    assert_eq!(body["conversation_length"], length);
    assert!(body["session_id"].is_string());
}

#[tokio::test]
async fn a_client_of_the_first_system_works_unchanged_and_the_history_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &[]).await;
    let address = local.address.clone();

    // Starting a new chat session.
    let query = "Hello, I need consultation advice";
    let started = post(&address, "/chat", Some(json!({ "query": query }))).await;
    assert_chat_response(&started, query, 2);
    let session_id = started["session_id"].as_str().unwrap();

    // Continuing an existing session.
    let query = "Can you elaborate on that?";
    let body = json!({ "query": query, "session_id": session_id });
    let continued = post(&address, "/chat", Some(body)).await;
    assert_chat_response(&continued, query, 4);
    assert_eq!(continued["session_id"], session_id);

    // Getting the chat history.
    let path = format!("/chat/history/{session_id}");
    let history = get(&address, &path).await;
    let messages = history["history"].as_array().unwrap();
    assert_eq!(messages.len(), 4);
    for message in messages {
        for text in ["message_id", "role", "content", "timestamp"] {
            assert!(message[text].is_string(), "{text}");
        }
        for json in ["audio_files", "function_calls", "metadata"] {
            assert!(message.get(json).is_some(), "{json}");
        }
    }

    // The other endpoints it names.
    let query = format!("?session_id={session_id}");
    let loaded = post(&address, &format!("/chat/load-session{query}"), None).await;
    assert_eq!(loaded["session_id"], session_id);
    let status = get(&address, &format!("/chat/status{query}")).await;
    assert_eq!(status["session_stats"]["message_count"], 4);
    assert!(status["session_stats"]["duration_seconds"].is_number());
    local.stop().await;

    let local = LocalRun::start(folder.path(), &[]).await;
    assert_eq!(get(&local.address, &path).await, history);
    let reset = post(&local.address, &format!("/chat/reset{query}"), None).await;
    assert!(reset["message"].is_string());
    local.stop().await;
}
