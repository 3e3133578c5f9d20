//! Everything that can go wrong while a model streams its answer.

use std::time::Duration;

use assistant::{Delivery, ModelFailure, Piece};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use support::agent::greet;
use support::log::Log;
use support::model_server::{ModelServer, Reply};
use support::model_stream::{self, Part, data, delta, done, stop, text};

use super::streamed::{LIMIT, SILENCE, agent, events, says_and_calls, stream};

/// What a failure is, besides its description.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    ContextExceeded,
    Timeout,
}

fn kind(failure: &ModelFailure) -> Kind {
    match (failure.is_context_exceeded(), failure.is_timeout()) {
        (true, false) => Kind::ContextExceeded,
        (false, true) => Kind::Timeout,
        (false, false) => Kind::Failed,
        (true, true) => panic!("{failure}"),
    }
}

#[tokio::test]
async fn failures_are_told_apart_and_none_of_them_is_an_answer() {
    let refused = |status, body: &str| Reply::Raw(status, "application/json", body.into());
    let error = |error: Value| data(&json!({ "error": error }));
    let cut_call = json!({ "tool_calls": [{
        "index": 0, "id": "call_1", "type": "function",
        "function": { "name": "recommend_audio", "arguments": "{\"topic\": \"canary" },
    }] });
    let ended = "the provider ended the stream before the answer";
    let cases: Vec<(Reply, &str, &str, Kind)> = vec![
        (
            refused(
                401,
                r#"{"error": {"code": "invalid_api_key", "message": "canary"}}"#,
            ),
            "",
            "the provider answered 401 Unauthorized (invalid_api_key)",
            Kind::Failed,
        ),
        (
            refused(500, "canary"),
            "",
            "the provider answered 500",
            Kind::Failed,
        ),
        (
            refused(
                400,
                r#"{"error": {"code": "context_length_exceeded", "message": "canary"}}"#,
            ),
            "",
            "the provider answered 400 Bad Request (context_length_exceeded)",
            Kind::ContextExceeded,
        ),
        (
            refused(429, r#"{"error": {"message": "too many tokens: canary"}}"#),
            "",
            "the provider answered 429",
            Kind::Failed,
        ),
        (
            Reply::Redirect("http://127.0.0.1:1/canary".into()),
            "",
            "answered 307",
            Kind::Failed,
        ),
        (events([text("canary")]), "canary", ended, Kind::Failed),
        (
            events([text("canary"), stop("stop")]),
            "canary",
            ended,
            Kind::Failed,
        ),
        (events([]), "", ended, Kind::Failed),
        (
            refused(200, r#"{"choices": [{"message": "canary"}]}"#),
            "",
            ended,
            Kind::Failed,
        ),
        (
            events([text("canary"), Part::Reset]),
            "canary",
            "the provider's answer broke off",
            Kind::Failed,
        ),
        (
            events([
                text("canary"),
                error(json!({ "type": "server_error", "message": "canary" })),
                done(),
            ]),
            "canary",
            "the provider reported an error while it answered (server_error)",
            Kind::Failed,
        ),
        (
            events([
                error(json!({ "code": 400, "message": "maximum context length: canary" })),
                done(),
            ]),
            "",
            "the provider reported an error while it answered",
            Kind::ContextExceeded,
        ),
        (
            events([
                text("canary"),
                Part::Bytes(b"data: {\"canary\n\n".to_vec()),
                done(),
            ]),
            "canary",
            "the answer cannot be parsed",
            Kind::Failed,
        ),
        (
            events([
                text("canary"),
                Part::Bytes(b"data: \xff\n\n".to_vec()),
                done(),
            ]),
            "canary",
            "the provider's stream cannot be read",
            Kind::Failed,
        ),
        (
            events([text("canary"), Part::Stall]),
            "canary",
            "the provider gave nothing for too long",
            Kind::Timeout,
        ),
        (
            events([Part::Stall]),
            "",
            "the provider gave nothing for too long",
            Kind::Timeout,
        ),
        (
            Reply::Late(LIMIT, "canary".into()),
            "",
            "the provider gave nothing for too long",
            Kind::Timeout,
        ),
        (
            events([text(" "), text("\n"), done()]),
            "",
            "the model returned no text (reason: none given)",
            Kind::Failed,
        ),
        (
            events([
                text("canary"),
                delta(&cut_call, None),
                stop("length"),
                done(),
            ]),
            "canary",
            "the arguments of a function call are not JSON",
            Kind::Failed,
        ),
        (
            events([stop("odd"), done()]),
            "",
            "the model returned no text (reason: odd)",
            Kind::Failed,
        ),
        (
            says_and_calls(""),
            "",
            "called functions in more than 5 rounds",
            Kind::Failed,
        ),
    ];
    for (reply, given, description, expected) in cases {
        let server = ModelServer::start([reply]).await;
        let agent = agent(&server.settings()).await;
        let (log, _guard) = Log::capture("debug");

        let streamed = stream(&agent).await;

        let failure = streamed.answer.as_ref().expect_err(description);
        let said = failure.to_string();
        assert!(
            said.contains(description),
            "{said}, expected: {description}"
        );
        assert_eq!(kind(failure), expected, "{said}");
        assert_eq!(streamed.texts(), given, "{said}");
        assert!(!said.contains("canary"), "{said}");
        let log = log.text();
        assert!(!log.contains("canary"), "{log}");
        assert!(streamed.took < SILENCE + Duration::from_secs(5), "{said}");
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_a_failure() {
    let settings = [
        ("MODEL", "x"),
        ("MODEL_BASE_URL", "http://127.0.0.1:1/v1?key=canary"),
    ];
    let failure = stream(&agent(&settings).await).await.answer.unwrap_err();
    let said = failure.to_string();
    assert!(said.contains("cannot be reached"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    assert_eq!(kind(&failure), Kind::Failed);
}

#[tokio::test]
async fn other_protocols_that_break_off_are_no_answers_either() {
    let before_the_end = |mut parts: Vec<Part>| {
        parts.pop();
        parts
    };
    let overloaded = json!({ "type": "error", "error": {
        "type": "overloaded_error", "message": "canary",
    } });
    let mut failing = before_the_end(model_stream::anthropic("Good day"));
    failing.push(model_stream::event("error", &overloaded));
    let cases = [
        (
            "anthropic::claude",
            before_the_end(model_stream::anthropic("Good day")),
            "ended the stream before the answer",
        ),
        ("anthropic::claude", failing, "(overloaded_error)"),
        (
            "ollama::llama3",
            before_the_end(model_stream::ollama("Good day")),
            "ended the stream before the answer",
        ),
    ];
    for (name, parts, description) in cases {
        let server = ModelServer::start([events(parts)]).await;
        let settings = [
            ("MODEL", name),
            ("MODEL_BASE_URL", &server.base_url),
            ("ANTHROPIC_API_KEY", "key"),
        ];
        let agent = agent(&settings).await;
        let (log, _guard) = Log::capture("debug");
        let streamed = stream(&agent).await;
        assert_eq!(streamed.texts(), "Good day");
        let said = streamed.answer.unwrap_err().to_string();
        assert!(said.contains(description), "{name}: {said}");
        assert!(!log.text().contains("canary"), "{}", log.text());
    }
}

#[tokio::test]
async fn giving_up_on_an_answer_closes_the_providers_connection() {
    let server = ModelServer::start([events([text("Good "), Part::Stall])]).await;
    let agent = agent(&server.settings()).await;
    let (sender, mut pieces) = mpsc::unbounded_channel();
    let mut sink = |_: Piece<'_>| sender.send(()).unwrap();
    let delivery = Delivery::Streamed {
        sink: &mut sink,
        silence: LIMIT,
    };
    let answering = greet(&agent, delivery);

    tokio::select! {
        _ = answering => panic!("it has no end"),
        _ = pieces.recv() => {}
    }

    timeout(LIMIT, server.streamed())
        .await
        .expect("the provider notices");
}
