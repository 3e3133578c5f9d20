//! Streamed answers of Bedrock, in its binary event stream.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use support::model_server::{ModelServer, Reply};
use support::model_stream::{Part, bedrock, bedrock_event, bedrock_exception, bedrock_usage};
use support::programs::build_folder;

/// More than an answer takes, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Streams an answer in a process of its own, because AWS's credentials are read from the environment.
/// Returns what was printed: pieces, then the answer or the failure.
async fn stream(server: &ModelServer) -> (Vec<Value>, Value) {
    let mut command = Command::new(build_folder().join("model-under-test"));
    command
        .env_clear()
        .env("MODEL", "bedrock::anthropic.claude")
        .env("MODEL_BASE_URL", &server.base_url)
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.unwrap().unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complained}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let end = lines.pop().unwrap();
    (lines, end)
}

fn frames(parts: Vec<Part>) -> Reply {
    Reply::Stream("application/vnd.amazon.eventstream", parts)
}

/// An addition to a block.
fn delta(block: u64, delta: &Value) -> Part {
    let data = json!({ "contentBlockIndex": block, "delta": delta });
    bedrock_event("contentBlockDelta", &data)
}

fn bytes(part: Part) -> Vec<u8> {
    match part {
        Part::Bytes(bytes) => bytes,
        _ => panic!("no frame"),
    }
}

#[tokio::test]
async fn bedrock_streams_and_gets_the_results_of_its_calls_with_its_reasoning() {
    let call = json!({ "contentBlockIndex": 3, "start": { "toolUse": {
        "toolUseId": "call-1", "name": "recommend_audio",
    } } });
    let stopped =
        |block: u64| bedrock_event("contentBlockStop", &json!({ "contentBlockIndex": block }));
    let first = [
        bedrock_event("messageStart", &json!({ "role": "assistant" })),
        delta(0, &json!({ "reasoningContent": { "text": "They sleep " } })),
        delta(0, &json!({ "reasoningContent": { "text": "badly." } })),
        delta(0, &json!({ "reasoningContent": { "signature": "signed" } })),
        stopped(0),
        delta(
            1,
            &json!({ "reasoningContent": { "redactedContent": "c2VjcmV0" } }),
        ),
        stopped(1),
        delta(2, &json!({ "text": "Let me " })),
        delta(2, &json!({ "text": "look." })),
        stopped(2),
        bedrock_event("contentBlockStart", &call),
        delta(3, &json!({ "toolUse": { "input": "{\"topic\": " } })),
        delta(3, &json!({ "toolUse": { "input": "\"sleep\"}" } })),
        stopped(3),
        bedrock_event("messageStop", &json!({ "stopReason": "tool_use" })),
        bedrock_usage(),
    ];
    // All frames in two pieces, cut in the middle of a frame's first bytes.
    let mut first: Vec<u8> = first.into_iter().flat_map(bytes).collect();
    let second = first.split_off(first.len() / 2);
    let wait = Part::Wait(Duration::from_millis(50));
    let first = vec![Part::Bytes(first), wait, Part::Bytes(second)];
    let server = ModelServer::start([frames(first), frames(bedrock("Good night"))]).await;

    let (pieces, answer) = stream(&server).await;

    let function_call = json!({
        "name": "recommend_audio", "arguments": { "topic": "sleep" },
        "result": null, "error": "there is no such function", "duration_ms": 0,
    });
    let expected = [
        json!({ "text": "Let me " }),
        json!({ "text": "look." }),
        json!({ "function_call": function_call }),
        json!({ "text": "\n\nGood " }),
        json!({ "text": "night" }),
    ];
    assert_eq!(pieces, expected);
    let expected = json!({
        "content": "Let me look.\n\nGood night",
        "function_calls": [function_call],
        "audio_files": [],
        "model": "anthropic.claude",
        "finish_reason": "stop",
        "usage": [24, 60],
    });
    assert_eq!(answer, expected);

    let authorization = server.authorization().unwrap();
    let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/";
    assert!(authorization.starts_with(expected), "{authorization}");
    let requests = server.requests();
    assert_eq!(
        requests[0]["messages"],
        json!([{ "role": "user", "content": [{ "text": "Hello" }] }])
    );
    let messages = requests[1]["messages"].as_array().unwrap();
    let reasoning = json!({ "text": "They sleep badly.", "signature": "signed" });
    let expected = json!([
        { "reasoningContent": { "reasoningText": reasoning } },
        { "reasoningContent": { "redactedContent": "c2VjcmV0" } },
        { "text": "Let me look." },
        { "toolUse": {
            "toolUseId": "call-1", "name": "recommend_audio", "input": { "topic": "sleep" },
        } },
    ]);
    assert_eq!(messages[1]["content"], expected);
    assert_eq!(
        messages[2]["content"][0]["toolResult"]["toolUseId"],
        "call-1"
    );
}

#[tokio::test]
async fn every_way_in_which_bedrock_breaks_off_is_a_failure() {
    let refused = |body: &str| Reply::Raw(400, "application/json", body.into());
    let said = || {
        let mut parts = bedrock("canary");
        parts.truncate(2);
        parts
    };
    let then = |part: Part| {
        let mut parts = said();
        parts.push(part);
        frames(parts)
    };
    let truncated = {
        let mut frame = bytes(bedrock_usage());
        frame.truncate(frame.len() - 5);
        Part::Bytes(frame)
    };
    let damaged = {
        let mut frame = bytes(bedrock_event(
            "messageStop",
            &json!({ "stopReason": "end_turn" }),
        ));
        let last = frame.len() - 1;
        frame[last] ^= 1;
        Part::Bytes(frame)
    };
    let message = |message: &str| json!({ "message": message });
    let ended = "the provider ended the stream before the answer";
    let reported = "the provider reported an error while it answered";
    let cases: Vec<(Reply, bool, String, [bool; 2])> = vec![
        (
            refused(r#"{"message": "Input is too long: canary"}"#),
            false,
            "answered 400".into(),
            [true, false],
        ),
        (
            refused(r#"{"message": "canary"}"#),
            false,
            "answered 400".into(),
            [false, false],
        ),
        (frames(said()), true, ended.into(), [false, false]),
        (then(truncated), true, ended.into(), [false, false]),
        (
            then(damaged),
            true,
            "the provider's stream cannot be read".into(),
            [false, false],
        ),
        (
            then(Part::Reset),
            true,
            "the provider's answer broke off".into(),
            [false, false],
        ),
        (
            then(Part::Stall),
            true,
            "gave nothing for too long".into(),
            [false, true],
        ),
        (
            frames(vec![Part::Stall]),
            false,
            "gave nothing for too long".into(),
            [false, true],
        ),
        (
            Reply::Late(LIMIT, String::new()),
            false,
            "gave nothing for too long".into(),
            [false, true],
        ),
        (
            then(bedrock_exception(
                "modelStreamErrorException",
                &message("canary"),
            )),
            true,
            format!("{reported} (modelStreamErrorException)"),
            [false, false],
        ),
        (
            then(bedrock_exception(
                "throttlingException",
                &message("Too many tokens: canary"),
            )),
            true,
            format!("{reported} (throttlingException)"),
            [false, false],
        ),
        (
            frames(vec![bedrock_exception(
                "validationException",
                &message("Input is too long for requested model: canary"),
            )]),
            false,
            format!("{reported} (validationException)"),
            [true, false],
        ),
    ];
    for (reply, is_given, description, [is_context_exceeded, is_timeout]) in cases {
        let server = ModelServer::start([reply]).await;
        let (pieces, end) = stream(&server).await;
        let said = end["failure"].as_str().unwrap_or("an answer");
        assert!(
            said.contains(&description),
            "{said}, expected: {description}"
        );
        assert!(!said.contains("canary"), "{said}");
        assert_eq!(end["is_context_exceeded"], is_context_exceeded, "{said}");
        assert_eq!(end["is_timeout"], is_timeout, "{said}");
        assert_eq!(
            pieces == [json!({ "text": "canary" })],
            is_given,
            "{pieces:?}"
        );
        assert_eq!(pieces.is_empty(), !is_given);
    }
}

#[tokio::test]
async fn tokens_that_bedrock_does_not_count_are_null() {
    let mut parts = bedrock("Good day");
    parts.pop();
    let server = ModelServer::start([frames(parts)]).await;
    let (_, answer) = stream(&server).await;
    assert_eq!(answer["content"], "Good day");
    assert_eq!(answer["usage"], json!([null, null]));
}
