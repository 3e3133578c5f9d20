//! Streamed answers in the protocols of the providers, in parts that a test can delay, hold back and break
//! off.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use aws_smithy_types::str_bytes::StrBytes;
use axum::body::Body;
use futures_util::stream::unfold;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// A part of a streamed answer. After the last one the connection is closed properly.
#[derive(Clone)]
pub enum Part {
    /// Sends bytes.
    Bytes(Vec<u8>),
    /// Sends nothing for a while.
    Wait(Duration),
    /// Sends nothing until [`super::model_server::ModelServer::release`] is called.
    Held,
    /// Sends nothing any more, and keeps the connection.
    Stall,
    /// Breaks the connection.
    Reset,
}

/// An answer with these parts; `over` gets a permit when nobody reads it any more.
pub fn body(parts: Vec<Part>, held: Arc<Semaphore>, over: Arc<Semaphore>) -> Body {
    let reader = Reader(over);
    let parts = parts.into_iter();
    Body::from_stream(unfold((parts, reader), move |(mut parts, reader)| {
        let held = Arc::clone(&held);
        async move {
            loop {
                let sent = match parts.next()? {
                    Part::Bytes(bytes) => Ok(bytes),
                    Part::Reset => {
                        // Else what was sent before would be lost with the connection.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        Err(io::Error::other("broken off"))
                    }
                    Part::Wait(wait) => {
                        tokio::time::sleep(wait).await;
                        continue;
                    }
                    Part::Held => {
                        held.acquire().await.unwrap().forget();
                        continue;
                    }
                    Part::Stall => std::future::pending().await,
                };
                return Some((sent, (parts, reader)));
            }
        }
    }))
}

/// Says that an answer is no longer read.
struct Reader(Arc<Semaphore>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// A server-sent event without a name.
pub fn data(data: &Value) -> Part {
    Part::Bytes(format!("data: {data}\n\n").into_bytes())
}

/// A server-sent event.
pub fn event(name: &str, data: &Value) -> Part {
    Part::Bytes(format!("event: {name}\ndata: {data}\n\n").into_bytes())
}

/// What OpenAI sends of an answer: an addition to its only choice.
pub fn delta(delta: &Value, finish_reason: Option<&str>) -> Part {
    data(&json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "test-model-2026",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
    }))
}

/// Text from OpenAI.
pub fn text(text: &str) -> Part {
    delta(&json!({ "content": text }), None)
}

/// The end of an answer of OpenAI, without its usage.
pub fn stop(finish_reason: &str) -> Part {
    delta(&json!({}), Some(finish_reason))
}

/// OpenAI's count of tokens.
pub fn usage() -> Part {
    data(&json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0,
        "model": "test-model-2026", "choices": [],
        "usage": { "prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42 },
    }))
}

/// The end of OpenAI's stream.
pub fn done() -> Part {
    Part::Bytes(b"data: [DONE]\n\n".to_vec())
}

/// A message of the assistant as OpenAI streams it: its text word by word, its calls in halves.
pub fn completion(message: &Value, finish_reason: &str, with_usage: bool) -> Vec<Part> {
    let mut parts = vec![delta(&json!({ "role": "assistant", "content": "" }), None)];
    let content = message["content"].as_str().unwrap_or_default();
    parts.extend(content.split_inclusive(' ').map(text));
    let calls = message["tool_calls"].as_array();
    for (index, call) in calls.into_iter().flatten().enumerate() {
        let arguments = call["function"]["arguments"].as_str().unwrap();
        let (first, second) =
            arguments.split_at(arguments.floor_char_boundary(arguments.len() / 2));
        let mut call = call.clone();
        call["index"] = json!(index);
        call["function"]["arguments"] = json!(first);
        parts.push(delta(&json!({ "tool_calls": [call] }), None));
        let rest = json!({ "index": index, "function": { "arguments": second } });
        parts.push(delta(&json!({ "tool_calls": [rest] }), None));
    }
    parts.push(stop(finish_reason));
    if with_usage {
        parts.push(usage());
    }
    parts.push(done());
    parts
}

/// A text as Anthropic streams it, with the pings it sends in between.
pub fn anthropic(text: &str) -> Vec<Part> {
    let mut parts = vec![
        event(
            "message_start",
            &json!({ "type": "message_start", "message": {
                "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-2026",
                "content": [], "stop_reason": null,
                "usage": { "input_tokens": 12, "output_tokens": 1 },
            } }),
        ),
        event(
            "content_block_start",
            &json!({ "type": "content_block_start", "index": 0,
                "content_block": { "type": "text", "text": "" } }),
        ),
    ];
    for word in text.split_inclusive(' ') {
        parts.push(event("ping", &json!({ "type": "ping" })));
        parts.push(event(
            "content_block_delta",
            &json!({ "type": "content_block_delta", "index": 0,
                "delta": { "type": "text_delta", "text": word } }),
        ));
    }
    parts.extend([
        event(
            "content_block_stop",
            &json!({ "type": "content_block_stop", "index": 0 }),
        ),
        event(
            "message_delta",
            &json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" },
                "usage": { "output_tokens": 30 } }),
        ),
        event("message_stop", &json!({ "type": "message_stop" })),
    ]);
    parts
}

/// A text as Ollama streams it.
pub fn ollama(text: &str) -> Vec<Part> {
    let line = |line: Value| Part::Bytes(format!("{line}\n").into_bytes());
    let words = text.split_inclusive(' ').map(|word| {
        line(json!({
            "model": "llama-2026", "message": { "role": "assistant", "content": word }, "done": false,
        }))
    });
    let end = line(json!({
        "model": "llama-2026", "message": { "role": "assistant", "content": "" },
        "done": true, "done_reason": "stop", "prompt_eval_count": 12, "eval_count": 30,
    }));
    words.chain([end]).collect()
}

/// A text as Bedrock streams it.
pub fn bedrock(text: &str) -> Vec<Part> {
    let words = text.split_inclusive(' ').map(|word| {
        bedrock_event(
            "contentBlockDelta",
            &json!({ "contentBlockIndex": 0, "delta": { "text": word } }),
        )
    });
    let start = bedrock_event("messageStart", &json!({ "role": "assistant" }));
    [start]
        .into_iter()
        .chain(words)
        .chain([
            bedrock_event("contentBlockStop", &json!({ "contentBlockIndex": 0 })),
            bedrock_event("messageStop", &json!({ "stopReason": "end_turn" })),
            bedrock_usage(),
        ])
        .collect()
}

/// Bedrock's count of tokens, which ends its stream.
pub fn bedrock_usage() -> Part {
    bedrock_event(
        "metadata",
        &json!({
            "usage": { "inputTokens": 12, "outputTokens": 30, "totalTokens": 42 },
            "metrics": { "latencyMs": 100 },
        }),
    )
}

/// A frame of Bedrock's stream.
pub fn bedrock_event(kind: &str, data: &Value) -> Part {
    frame(&[(":event-type", kind), (":message-type", "event")], data)
}

/// A frame in which Bedrock reports that it failed.
pub fn bedrock_exception(kind: &str, data: &Value) -> Part {
    frame(
        &[(":exception-type", kind), (":message-type", "exception")],
        data,
    )
}

fn frame(headers: &[(&str, &str)], data: &Value) -> Part {
    let headers = headers
        .iter()
        .chain(&[(":content-type", "application/json")]);
    let text = |text: &str| StrBytes::from(text.to_owned());
    let headers =
        headers.map(|(name, value)| Header::new(text(name), HeaderValue::String(text(value))));
    let message = Message::new_from_parts(headers.collect(), data.to_string().into_bytes());
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    Part::Bytes(bytes)
}
