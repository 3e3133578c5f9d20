//! Ollama's chat.

use serde_json::{Value, json};

use super::conversation::{Asked, Call, Given, Said};
use super::request::{self, Received, Refused, bad, demand, list, object, text};
use super::script::Answer;
use crate::model_stream::Part;

/// Reads a request; more strictly than Ollama, which takes nearly everything and then answers badly.
pub fn read(received: &Received) -> Result<Asked, Refused> {
    if received.path != "/api/chat" {
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
            // A result belongs to the call at its position; its function may be named.
            "tool" => {
                let given = Given {
                    id: None,
                    name: message["tool_name"].as_str().map(str::to_owned),
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
    Ok(Asked {
        model: text(body, "model")?.to_owned(),
        system,
        messages,
        tools: request::tools(&body["tools"], |tool| {
            demand(tool["type"] == "function", "a function as a tool")?;
            request::offered(&tool["function"], &tool["function"]["parameters"])
        })?,
        // Without a word about it, Ollama streams.
        is_streamed: body["stream"] != false,
        with_usage: true,
    })
}

fn assistant(message: &Value) -> Result<Said, Refused> {
    let calls = match &message["tool_calls"] {
        Value::Null => Vec::new(),
        _ => {
            let calls = list(message, "tool_calls")?.iter().map(|call| {
                let function = &call["function"];
                Ok(Call {
                    id: None,
                    name: text(function, "name")?.to_owned(),
                    arguments: object(function, "arguments")?,
                })
            });
            calls.collect::<Result<Vec<_>, Refused>>()?
        }
    };
    Ok(Said::Assistant {
        thoughts: None,
        text: message["content"].as_str().unwrap_or_default().to_owned(),
        calls,
    })
}

fn line(answer: &Answer, message: &Value, end: Option<&Value>) -> Value {
    let mut line = json!({
        "model": answer.model,
        "created_at": "2026-01-01T00:00:00Z",
        "message": message,
        "done": end.is_some(),
    });
    for (name, value) in end.and_then(Value::as_object).into_iter().flatten() {
        line[name] = value.clone();
    }
    line
}

/// Ollama has no reason of its own for calls.
fn end(answer: &Answer) -> Value {
    let tokens = answer.tokens;
    json!({
        "done_reason": answer.reason(["stop", "stop", "length"]),
        "prompt_eval_count": tokens.input,
        "prompt_eval_cached_count": tokens.cached,
        "eval_count": tokens.output,
    })
}

fn calls(answer: &Answer) -> Value {
    let calls = answer
        .calls
        .iter()
        .map(|call| json!({ "function": { "name": call.name, "arguments": call.arguments } }));
    calls.collect()
}

/// An answer in one piece.
pub fn whole(answer: &Answer) -> Value {
    let mut message = json!({ "role": "assistant", "content": answer.text });
    if !answer.calls.is_empty() {
        message["tool_calls"] = calls(answer);
    }
    line(answer, &message, Some(&end(answer)))
}

/// An answer word by word, its calls in a line of their own.
pub fn streamed(answer: &Answer) -> Vec<Part> {
    let message = |content: &str| json!({ "role": "assistant", "content": content });
    let mut lines: Vec<Value> = answer
        .words()
        .map(|word| line(answer, &message(word), None))
        .collect();
    if !answer.calls.is_empty() {
        let mut message = message("");
        message["tool_calls"] = calls(answer);
        lines.push(line(answer, &message, None));
    }
    lines.push(line(answer, &message(""), Some(&end(answer))));
    let bytes = |line: &Value| Part::Bytes(format!("{line}\n").into_bytes());
    lines.iter().map(bytes).collect()
}

/// An error.
pub fn error(message: &str) -> Value {
    json!({ "error": message })
}
