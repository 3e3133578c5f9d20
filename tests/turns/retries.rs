//! Models that fail: when they are asked again, and when the next one is asked.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::TestApi;
use support::model_server::{ModelServer, Reply};
use support::model_stream::{Part, text};

use super::model_streams::streamed::{agent, events, stream};

fn says(text: &str) -> Reply {
    Reply::Text(text.into())
}

fn refused(status: u16) -> Reply {
    Reply::Raw(status, "application/json", "{}".into())
}

/// The settings for a model at one server that falls back to one at another.
fn with_fallback(first: &ModelServer, second: &ModelServer) -> Vec<(&'static str, String)> {
    vec![
        ("MODEL", "first-model".to_owned()),
        ("MODEL_BASE_URL", first.base_url.clone()),
        (
            "MODEL_FALLBACKS",
            format!("second-model={}", second.base_url),
        ),
    ]
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    let settings = settings.iter();
    settings
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again_and_any_other_is_not() {
    for (replies, status, requests) in [
        (vec![refused(500), refused(503), says("Hello")], 200, 3),
        (vec![refused(429), says("Hello")], 200, 2),
        (vec![refused(529), says("Hello")], 200, 2),
        (vec![refused(500), refused(500), refused(500)], 502, 3),
        (vec![refused(401), says("Hello")], 502, 1),
        (vec![refused(404), says("Hello")], 502, 1),
    ] {
        let server = ModelServer::start(replies).await;
        let api = TestApi::with_settings(&server.settings()).await;
        let answer = api.chat(json!({ "query": "Hi" })).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(server.requests().len(), requests);
    }
}

#[tokio::test]
async fn a_provider_is_not_asked_before_the_time_it_names() {
    let server = ModelServer::start([Reply::Refused(429, "2"), says("Hello")]).await;
    let api = TestApi::with_settings(&server.settings()).await;
    let started = Instant::now();
    let answer = api.chat(json!({ "query": "Hi" })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(started.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn nobody_waits_for_a_time_that_comes_too_late() {
    for retry_after in ["60", "Fri, 31 Dec 2100 23:59:59 GMT"] {
        let server = ModelServer::start([Reply::Refused(429, retry_after), says("Hello")]).await;
        let api = TestApi::with_settings(&server.settings()).await;
        let started = Instant::now();
        let answer = api.chat(json!({ "query": "Hi" })).await;
        answer.assert_problem(502, "model_error");
        assert!(started.elapsed() < Duration::from_secs(10));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_tried_again_only_before_its_first_word() {
    let broken = || events([Part::Bytes(b": hello\n\n".to_vec()), Part::Reset]);
    let server = ModelServer::start([broken(), says("Good day")]).await;
    let streamed = stream(&agent(&server.settings()).await).await;
    assert_eq!(streamed.answer().content, "Good day");

    let server = ModelServer::start([events([text("Good "), Part::Reset]), says("Other")]).await;
    let streamed = stream(&agent(&server.settings()).await).await;
    assert_eq!(streamed.texts(), "Good ");
    assert!(streamed.answer.is_err());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn the_next_model_is_asked_when_one_fails_and_is_named_in_the_answer() {
    for failure in [refused(401), refused(500), Reply::Refused(429, "600")] {
        let first = ModelServer::start([failure]).await;
        let second = ModelServer::start([says("Hello")]).await;
        let settings = with_fallback(&first, &second);
        let api = TestApi::with_settings(&borrowed(&settings)).await;
        let answer = api.chat(json!({ "query": "Hi" })).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["response"], "Hello");
        assert_eq!(answer.body["model"], "test-model-2026");
        assert_eq!(second.requests()[0]["model"], "second-model");
    }
}

#[tokio::test]
async fn a_model_that_is_silent_leaves_time_for_the_next_one() {
    for is_streamed in [false, true] {
        let first = ModelServer::start([Reply::Late(Duration::from_secs(30), "late".into())]).await;
        let second = ModelServer::start([says("Hello")]).await;
        let mut settings = with_fallback(&first, &second);
        settings.push(("MODEL_TIMEOUT_SECONDS", "4".to_owned()));
        let started = Instant::now();
        if is_streamed {
            let streamed = stream(&agent(&borrowed(&settings)).await).await;
            assert_eq!(streamed.answer().content, "Hello");
        } else {
            let api = TestApi::with_settings(&borrowed(&settings)).await;
            let answer = api.chat(json!({ "query": "Hi" })).await;
            assert_eq!(answer.body["response"], "Hello", "{}", answer.body);
        }
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn the_next_model_goes_on_with_the_calls_of_the_first() {
    let first = ModelServer::start([Reply::Call("look_up", json!({ "a": 1 })), refused(500)]).await;
    let second = ModelServer::start([says("Hello")]).await;
    let settings = with_fallback(&first, &second);
    let api = TestApi::with_settings(&borrowed(&settings)).await;

    let answer = api.chat(json!({ "query": "Hi" })).await;

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["function_calls"][0]["name"], "look_up");
    let messages = second.requests()[0]["messages"].clone();
    let roles: Vec<&Value> = messages
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["role"])
        .collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool"]);
}

#[tokio::test]
async fn when_every_model_fails_the_last_failure_is_reported() {
    let first = ModelServer::start([refused(500)]).await;
    let second = ModelServer::start([refused(401)]).await;
    let settings = with_fallback(&first, &second);
    let api = TestApi::with_settings(&borrowed(&settings)).await;
    let answer = api.chat(json!({ "query": "Hi" })).await;
    answer.assert_problem(502, "model_error");
    assert_eq!((first.requests().len(), second.requests().len()), (3, 1));
}
