//! OpenAI's chat completions.

use serde_json::{Value, json};

use super::conversation::{Asked, Call, Given, Said};
use super::request::{self, KEY, Received, Refused, bad, demand, list, text};
use super::script::{Answer, halves};
use crate::model_stream::{Part, data, done};

/// Reads a request, as strictly as OpenAI.
pub fn read(received: &Received) -> Result<Asked, Refused> {
    request::key(received, "authorization", &format!("Bearer {KEY}"), 401)?;
    if received.path != "/v1/chat/completions" {
        return Err((404, format!("{} is no path", received.path)));
    }
    let body = &received.body;
    let mut system = None;
    let mut messages = Vec::new();
    for message in list(body, "messages")? {
        match text(message, "role")? {
            "system" if system.is_none() && messages.is_empty() => {
                system = Some(text(message, "content")?.to_owned());
            }
            "user" => messages.push(Said::User(text(message, "content")?.to_owned())),
            "assistant" => messages.push(assistant(message)?),
            "tool" => {
                let given = Given {
                    id: Some(text(message, "tool_call_id")?.to_owned()),
                    name: None,
                    text: text(message, "content")?.to_owned(),
                };
                match messages.last_mut() {
                    Some(Said::Results(results)) => results.push(given),
                    _ => messages.push(Said::Results(vec![given])),
                }
            }
            _ => return Err(bad("a role that is allowed there")),
        }
    }
    let is_streamed = body["stream"] == true;
    let has_options = !body["stream_options"].is_null();
    demand(is_streamed || !has_options, "no stream_options")?;
    Ok(Asked {
        model: text(body, "model")?.to_owned(),
        system,
        messages,
        tools: request::tools(&body["tools"], |tool| {
            demand(tool["type"] == "function", "a function as a tool")?;
            request::offered(&tool["function"], &tool["function"]["parameters"])
        })?,
        is_streamed,
        with_usage: body["stream_options"]["include_usage"] == true,
    })
}

fn assistant(message: &Value) -> Result<Said, Refused> {
    let calls = match &message["tool_calls"] {
        Value::Null => Vec::new(),
        _ => list(message, "tool_calls")?
            .iter()
            .map(call)
            .collect::<Result<_, _>>()?,
    };
    let text = match &message["content"] {
        Value::Null if !calls.is_empty() => String::new(),
        _ => text(message, "content")?.to_owned(),
    };
    Ok(Said::Assistant {
        thoughts: None,
        text,
        calls,
    })
}

fn call(call: &Value) -> Result<Call, Refused> {
    demand(call["type"] == "function", "a function call")?;
    let arguments = text(&call["function"], "arguments")?;
    let arguments = serde_json::from_str(arguments)
        .ok()
        .filter(Value::is_object);
    Ok(Call {
        id: Some(text(call, "id")?.to_owned()),
        name: text(&call["function"], "name")?.to_owned(),
        arguments: arguments.ok_or_else(|| bad("arguments that are an object"))?,
    })
}

fn finish_reason(answer: &Answer) -> &'static str {
    answer.reason(["tool_calls", "stop", "length"])
}

fn usage(answer: &Answer) -> Value {
    let tokens = answer.tokens;
    json!({
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": { "cached_tokens": tokens.cached, "audio_tokens": 0 },
    })
}

/// An answer in one piece.
pub fn whole(answer: &Answer) -> Value {
    let mut message = json!({ "role": "assistant", "content": answer.text, "refusal": null });
    if answer.is_refusal && !answer.text.is_empty() {
        message["content"] = Value::Null;
        message["refusal"] = answer.text.as_str().into();
    }
    if !answer.calls.is_empty() {
        let calls = answer.calls.iter().map(|call| {
            json!({ "id": call.id, "type": "function", "function": {
                "name": call.name, "arguments": call.arguments.to_string(),
            } })
        });
        message["tool_calls"] = calls.collect();
    }
    json!({
        "id": format!("chatcmpl-{}", answer.number), "object": "chat.completion", "created": 0,
        "model": answer.model,
        "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason(answer) }],
        "usage": usage(answer),
    })
}

/// An answer word by word, its arguments in halves.
pub fn streamed(answer: &Answer, with_usage: bool) -> Vec<Part> {
    let chunk = |choices: Value, usage: Value| {
        data(&json!({
            "id": format!("chatcmpl-{}", answer.number), "object": "chat.completion.chunk",
            "created": 0, "model": answer.model, "choices": choices, "usage": usage,
        }))
    };
    let choice = |delta: Value, reason: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        chunk(json!([choice]), Value::Null)
    };
    let start = json!({ "role": "assistant", "content": "", "refusal": null });
    let mut parts = vec![choice(start, None)];
    let place = if answer.is_refusal {
        "refusal"
    } else {
        "content"
    };
    parts.extend(
        answer
            .words()
            .map(|word| choice(json!({ place: word }), None)),
    );
    for (index, call) in answer.calls.iter().enumerate() {
        let [first, second] = halves(&call.arguments.to_string()).map(str::to_owned);
        let function = json!({ "name": call.name, "arguments": first });
        let start =
            json!({ "index": index, "id": call.id, "type": "function", "function": function });
        let rest = json!({ "index": index, "function": { "arguments": second } });
        parts.extend([start, rest].map(|call| choice(json!({ "tool_calls": [call] }), None)));
    }
    parts.push(choice(json!({}), Some(finish_reason(answer))));
    if with_usage {
        parts.push(chunk(json!([]), usage(answer)));
    }
    parts.push(done());
    parts
}

/// An error.
pub fn error(message: &str) -> Value {
    json!({ "error": {
        "message": message, "type": "invalid_request_error", "param": null, "code": null,
    } })
}
