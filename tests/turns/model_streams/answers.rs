//! Streamed answers of models over real HTTP: what arrives and when, and what the answer is in the end.

use assistant::{Agent, Delivery, Piece};
use serde_json::json;
use shared::store::turns::{Answer, Usage};
use tokio::sync::mpsc;
use tokio::time::timeout;

use support::agent::greet;
use support::model_server::{ModelServer, Reply};
use support::model_stream::{self, Part, delta, done, stop, text, usage};

use super::streamed::{LIMIT, SILENCE, agent, events, says_and_calls, stream};

async fn whole(agent: &Agent) -> Answer {
    greet(agent, Delivery::Whole).await.unwrap()
}

fn reply(text: &str) -> Reply {
    Reply::Text(text.into())
}

#[tokio::test]
async fn text_is_given_at_the_moment_the_provider_sends_it() {
    let parts = [
        text("Good "),
        Part::Held,
        text("d"),
        text("ay"),
        Part::Held,
        stop("stop"),
        usage(),
        done(),
    ];
    let server = ModelServer::start([events(parts)]).await;
    let agent = agent(&server.settings()).await;
    let (sender, mut pieces) = mpsc::unbounded_channel();
    let mut sink = |piece: Piece<'_>| {
        let Piece::Text(text) = piece else { panic!() };
        sender.send(text.to_owned()).unwrap();
    };
    let delivery = Delivery::Streamed {
        sink: &mut sink,
        silence: LIMIT,
    };

    let reading = async {
        assert_eq!(pieces.recv().await.unwrap(), "Good ");
        server.release();
        assert_eq!(pieces.recv().await.unwrap(), "d");
        assert_eq!(pieces.recv().await.unwrap(), "ay");
        server.release();
    };
    let answering = greet(&agent, delivery);
    let (answer, ()) = timeout(LIMIT, async { tokio::join!(answering, reading) })
        .await
        .unwrap();

    let answer = answer.unwrap();
    assert_eq!(answer.content, "Good day");
    assert_eq!(answer.model, "test-model-2026", "the provider's name");
    assert_eq!(agent.models().first().name(), "test-model");
    assert_eq!(answer.finish_reason.as_deref(), Some("stop"));
    let counted = Usage {
        input_tokens: Some(12),
        cached_input_tokens: None,
        output_tokens: Some(30),
    };
    assert_eq!(answer.usage, counted);
}

#[tokio::test]
async fn an_answer_is_the_same_streamed_or_not_and_so_are_its_requests() {
    let nothing = "";
    let cases: [(&str, Vec<Reply>); 6] = [
        ("test-model", vec![reply("Good day")]),
        ("anthropic::claude", vec![reply("Good day")]),
        ("ollama::llama3", vec![reply("Good day")]),
        (
            "test-model",
            vec![
                says_and_calls("Let me look."),
                says_and_calls(nothing),
                reply("Good night"),
            ],
        ),
        (
            "test-model",
            vec![says_and_calls(" \n"), reply("\n\nGood night")],
        ),
        (
            "test-model",
            vec![says_and_calls("That is all."), reply(nothing)],
        ),
    ];
    for (name, replies) in cases {
        let server = ModelServer::start([replies.clone(), replies.clone()].concat()).await;
        let settings = [
            ("MODEL", name),
            ("MODEL_BASE_URL", &server.base_url),
            ("ANTHROPIC_API_KEY", "key"),
        ];
        let agent = agent(&settings).await;

        let whole = whole(&agent).await;
        let streamed = stream(&agent).await;

        let streamed = streamed.answer();
        assert_eq!(format!("{streamed:?}"), format!("{whole:?}"), "{name}");
        let requests = server.requests();
        let (wholes, streams) = requests.split_at(replies.len());
        for (whole, stream) in wholes.iter().zip(streams) {
            assert_eq!(stream["stream"], true);
            let mut stream = stream.clone();
            stream.as_object_mut().unwrap().remove("stream_options");
            stream["stream"] = whole["stream"].clone();
            assert_eq!(&stream, whole, "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_said_before_a_call_is_joined_with_what_follows_and_the_call_is_given_in_between() {
    let server = ModelServer::start([
        says_and_calls("Let me look."),
        says_and_calls(""),
        reply("Good night"),
    ])
    .await;
    let streamed = stream(&agent(&server.settings()).await).await;

    let answer = streamed.answer();
    assert_eq!(answer.content, "Let me look.\n\nGood night");
    let call = json!({
        "name": "recommend_audio",
        "arguments": { "topic": "sleep" },
        "result": null,
        "error": "there is no such function",
        "duration_ms": 0,
    });
    let expected = [
        json!("Let "),
        json!("me "),
        json!("look."),
        call.clone(),
        call,
        json!("\n\nGood "),
        json!("night"),
    ];
    assert_eq!(streamed.pieces, expected);
    assert_eq!(answer.usage.input_tokens, Some(3 * 12), "of all rounds");
    assert_eq!(answer.usage.output_tokens, Some(3 * 30));
}

#[tokio::test]
async fn what_a_provider_does_not_say_is_null() {
    let cases = [
        (vec![text("Yes"), stop("stop"), done()], Some("stop")),
        (vec![text("Yes"), stop("length"), done()], Some("length")),
        (vec![text("Yes"), stop("odd"), done()], None),
        (vec![text("Yes"), done()], None),
    ];
    for (parts, finish_reason) in cases {
        let server = ModelServer::start([events(parts)]).await;
        let streamed = stream(&agent(&server.settings()).await).await;
        let answer = streamed.answer();
        assert_eq!(answer.finish_reason.as_deref(), finish_reason);
        assert_eq!(answer.usage, Usage::default());
    }
}

#[tokio::test]
async fn a_function_without_arguments_may_come_with_none() {
    let call = json!({ "tool_calls": [{
        "index": 0, "id": "call_1", "type": "function",
        "function": { "name": "anything", "arguments": "" },
    }] });
    let calls = events([delta(&call, None), stop("tool_calls"), done()]);
    let server = ModelServer::start([calls, reply("Good night")]).await;
    let streamed = stream(&agent(&server.settings()).await).await;
    assert_eq!(streamed.answer().function_calls[0]["arguments"], json!({}));
    let sent = &server.requests()[1]["messages"][2]["tool_calls"][0];
    assert_eq!(sent["function"]["arguments"], "{}");
}

#[tokio::test]
async fn what_cannot_be_stored_is_never_given() {
    let long = "\"ü\0".repeat(10_000);
    let mut parts: Vec<Part> = (0..10).map(|_| text(&long)).collect();
    parts.extend([stop("stop"), usage(), done()]);
    let server = ModelServer::start([
        events([text("a\0"), text("\0b"), stop("stop"), done()]),
        events(parts),
    ])
    .await;
    let agent = agent(&server.settings()).await;

    let replaced = stream(&agent).await;
    assert_eq!(replaced.pieces, ["a\u{fffd}", "\u{fffd}b"]);
    assert_eq!(replaced.answer().content, "a\u{fffd}\u{fffd}b");

    let cut = stream(&agent).await;
    let answer = cut.answer();
    assert!(answer.content.ends_with('…') && answer.content.len() <= 256 * 1024);
    assert!(answer.content.len() > 256 * 1024 - 10);
    assert_eq!(
        answer.usage.output_tokens,
        Some(30),
        "the provider was read to the end"
    );
}

#[tokio::test]
async fn whatever_the_provider_still_sends_is_a_sign_of_life() {
    let pings = (0..5).flat_map(|_| {
        let ping = model_stream::event("ping", &json!({ "type": "ping" }));
        [Part::Wait(SILENCE / 2), ping]
    });
    let comments = (0..5).flat_map(|_| {
        let comment = Part::Bytes(b": still thinking\n\n".to_vec());
        [Part::Wait(SILENCE / 2), comment]
    });
    let openai = [text("Good "), text("day"), stop("stop"), done()];
    let cases: [(&str, Vec<Part>); 2] = [
        (
            "anthropic::claude",
            pings.chain(model_stream::anthropic("Good day")).collect(),
        ),
        ("test-model", comments.chain(openai).collect()),
    ];
    for (name, parts) in cases {
        let server = ModelServer::start([events(parts)]).await;
        let settings = [
            ("MODEL", name),
            ("MODEL_BASE_URL", &server.base_url),
            ("ANTHROPIC_API_KEY", "key"),
        ];
        let streamed = stream(&agent(&settings).await).await;
        assert_eq!(streamed.answer().content, "Good day", "{name}");
        assert!(streamed.took > SILENCE * 2);
    }
}
