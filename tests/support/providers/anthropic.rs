//! Anthropic's messages.

use serde_json::{Value, json};

use super::conversation::{Asked, Call, Given, Said, Thoughts};
use super::request::{self, KEY, Received, Refused, bad, demand, list, object, text};
use super::script::{Answer, halves};
use crate::model_stream::{Part, event};

/// Reads a request, as strictly as Anthropic.
pub fn read(received: &Received) -> Result<Asked, Refused> {
    request::key(received, "x-api-key", KEY, 401)?;
    request::key(received, "anthropic-version", "2023-06-01", 400)?;
    if received.path != "/v1/messages" {
        return Err((404, format!("{} is no path", received.path)));
    }
    let body = &received.body;
    demand(body["max_tokens"].as_u64() > Some(0), "max_tokens")?;
    let messages = list(body, "messages")?.iter().map(message);
    Ok(Asked {
        model: text(body, "model")?.to_owned(),
        system: match &body["system"] {
            Value::Null => None,
            _ => Some(text(body, "system")?.to_owned()),
        },
        messages: messages.collect::<Result<_, _>>()?,
        tools: request::tools(&body["tools"], |tool| {
            request::offered(tool, &tool["input_schema"])
        })?,
        is_streamed: body["stream"] == true,
        with_usage: true,
    })
}

fn message(message: &Value) -> Result<Said, Refused> {
    let role = text(message, "role")?;
    if let Value::String(text) = &message["content"] {
        return match role {
            "user" => Ok(Said::User(text.clone())),
            "assistant" => Ok(assistant(None, text.clone(), Vec::new())),
            _ => Err(bad("a role that is allowed there")),
        };
    }
    let (mut thoughts, mut said, mut calls, mut results) =
        (None, String::new(), Vec::new(), Vec::new());
    for block in list(message, "content")? {
        match (text(block, "type")?, role) {
            ("text", _) => {
                let text = text(block, "text")?;
                demand(!text.trim().is_empty(), "text that is not white space")?;
                said.push_str(text);
            }
            ("thinking", "assistant") => {
                demand(said.is_empty() && calls.is_empty(), "thinking first")?;
                thoughts = Some(Thoughts {
                    words: Some(text(block, "thinking")?.to_owned()),
                    signature: text(block, "signature")?.to_owned(),
                });
            }
            ("tool_use", "assistant") => calls.push(Call {
                id: Some(text(block, "id")?.to_owned()),
                name: text(block, "name")?.to_owned(),
                arguments: object(block, "input")?,
            }),
            ("tool_result", "user") => {
                demand(said.is_empty(), "results first")?;
                results.push(Given {
                    id: Some(text(block, "tool_use_id")?.to_owned()),
                    name: None,
                    text: text(block, "content")?.to_owned(),
                });
            }
            _ => return Err(bad("a block that is allowed there")),
        }
    }
    Ok(match role {
        "assistant" => assistant(thoughts, said, calls),
        "user" if results.is_empty() => Said::User(said),
        "user" => Said::Results(results),
        _ => return Err(bad("a role that is allowed there")),
    })
}

fn assistant(thoughts: Option<Thoughts>, text: String, calls: Vec<Call>) -> Said {
    Said::Assistant {
        thoughts,
        text,
        calls,
    }
}

fn stop_reason(answer: &Answer) -> &'static str {
    answer.reason(["tool_use", "end_turn", "max_tokens"])
}

/// The tokens of the cache are counted beside the others.
fn usage(answer: &Answer, output: i64) -> Value {
    let tokens = answer.tokens;
    json!({
        "input_tokens": tokens.input - tokens.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": tokens.cached,
        "output_tokens": output,
    })
}

/// An answer in one piece.
pub fn whole(answer: &Answer) -> Value {
    let mut content = Vec::new();
    content.extend(answer.thoughts.as_ref().map(|thoughts| {
        json!({
            "type": "thinking", "thinking": thoughts.words, "signature": thoughts.signature,
        })
    }));
    if !answer.text.is_empty() {
        content.push(json!({ "type": "text", "text": answer.text }));
    }
    content.extend(answer.calls.iter().map(|call| {
        json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments })
    }));
    json!({
        "id": format!("msg_{}", answer.number), "type": "message", "role": "assistant",
        "model": answer.model, "content": content, "stop_reason": stop_reason(answer),
        "stop_sequence": null, "usage": usage(answer, answer.tokens.output),
    })
}

/// An answer word by word, with pings.
pub fn streamed(answer: &Answer) -> Vec<Part> {
    let send = |data: Value| event(data["type"].as_str().unwrap(), &data);
    let message = json!({
        "id": format!("msg_{}", answer.number), "type": "message", "role": "assistant",
        "model": answer.model, "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": usage(answer, 1),
    });
    let mut parts = vec![
        send(json!({ "type": "message_start", "message": message })),
        send(json!({ "type": "ping" })),
    ];
    let mut blocks: Vec<(Value, Vec<Value>)> = Vec::new();
    if let Some(thoughts) = &answer.thoughts {
        let words = thoughts
            .words
            .iter()
            .flat_map(|words| words.split_inclusive(' '));
        let words = words.map(|word| json!({ "type": "thinking_delta", "thinking": word }));
        let signature = halves(&thoughts.signature);
        let signature =
            signature.map(|half| json!({ "type": "signature_delta", "signature": half }));
        blocks.push((
            json!({ "type": "thinking", "thinking": "", "signature": "" }),
            words.chain(signature).collect(),
        ));
    }
    if !answer.text.is_empty() {
        let words = answer.words();
        let words = words.map(|word| json!({ "type": "text_delta", "text": word }));
        blocks.push((json!({ "type": "text", "text": "" }), words.collect()));
    }
    for call in &answer.calls {
        let arguments = call.arguments.to_string();
        let pieces = halves(&arguments);
        let pieces = pieces.map(|half| json!({ "type": "input_json_delta", "partial_json": half }));
        let start = json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": {} });
        blocks.push((start, pieces.into()));
    }
    for (index, (start, deltas)) in blocks.into_iter().enumerate() {
        parts.push(send(json!({
            "type": "content_block_start", "index": index, "content_block": start,
        })));
        parts.extend(deltas.into_iter().map(|delta| {
            send(json!({ "type": "content_block_delta", "index": index, "delta": delta }))
        }));
        parts.push(send(
            json!({ "type": "content_block_stop", "index": index }),
        ));
    }
    parts.push(send(json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(answer), "stop_sequence": null },
        "usage": { "output_tokens": answer.tokens.output },
    })));
    parts.push(send(json!({ "type": "message_stop" })));
    parts
}

/// An error.
pub fn error(status: u16, message: &str) -> Value {
    let kind = match status {
        401 => "authentication_error",
        404 => "not_found_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}
