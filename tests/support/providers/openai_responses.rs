//! OpenAI's responses.

use serde_json::{Value, json};

use super::conversation::{Asked, Call, Given, Said};
use super::request::{self, KEY, Received, Refused, bad, demand, list, text};
use super::script::{Answer, Reason, halves};
use crate::model_stream::{Part, event};

/// Reads a request, as strictly as OpenAI.
pub fn read(received: &Received) -> Result<Asked, Refused> {
    request::key(received, "authorization", &format!("Bearer {KEY}"), 401)?;
    if received.path != "/v1/responses" {
        return Err((404, format!("{} is no path", received.path)));
    }
    let body = &received.body;
    // Conversations are nothing that OpenAI should keep, which it does by default.
    demand(body["store"] == false, "store to be false")?;
    let mut messages = Vec::new();
    for item in list(body, "input")? {
        add(item, &mut messages)?;
    }
    Ok(Asked {
        model: text(body, "model")?.to_owned(),
        system: body["instructions"].as_str().map(str::to_owned),
        messages,
        tools: request::tools(&body["tools"], |tool| {
            demand(tool["type"] == "function", "a function as a tool")?;
            request::offered(tool, &tool["parameters"])
        })?,
        is_streamed: body["stream"] == true,
        with_usage: true,
    })
}

/// Adds an item to the messages: what the model says and calls are items of their own.
fn add(item: &Value, messages: &mut Vec<Said>) -> Result<(), Refused> {
    match (item["type"].as_str(), item["role"].as_str()) {
        (None | Some("message"), Some("user")) => {
            messages.push(Said::User(text(item, "content")?.to_owned()));
        }
        (Some("message"), Some("assistant")) => {
            let parts = list(item, "content")?.iter().map(|part| {
                demand(part["type"] == "output_text", "the model's text")?;
                text(part, "text")
            });
            messages.push(Said::Assistant {
                thoughts: None,
                text: parts.collect::<Result<_, _>>()?,
                calls: Vec::new(),
            });
        }
        (Some("function_call"), None) => {
            let arguments = serde_json::from_str(text(item, "arguments")?);
            let arguments = arguments.ok().filter(Value::is_object);
            let call = Call {
                id: Some(text(item, "call_id")?.to_owned()),
                name: text(item, "name")?.to_owned(),
                arguments: arguments.ok_or_else(|| bad("arguments that are an object"))?,
            };
            match messages.last_mut() {
                Some(Said::Assistant { calls, .. }) => calls.push(call),
                _ => messages.push(Said::Assistant {
                    thoughts: None,
                    text: String::new(),
                    calls: vec![call],
                }),
            }
        }
        (Some("function_call_output"), None) => {
            let given = Given {
                id: Some(text(item, "call_id")?.to_owned()),
                name: None,
                text: text(item, "output")?.to_owned(),
            };
            match messages.last_mut() {
                Some(Said::Results(results)) => results.push(given),
                _ => messages.push(Said::Results(vec![given])),
            }
        }
        _ => return Err(bad("an item that is allowed there")),
    }
    Ok(())
}

/// The items of an answer.
fn output(answer: &Answer) -> Vec<Value> {
    let part = if answer.is_refusal {
        json!({ "type": "refusal", "refusal": answer.text })
    } else {
        json!({ "type": "output_text", "text": answer.text, "annotations": [] })
    };
    let said = json!({
        "id": format!("msg_{}", answer.number), "type": "message", "role": "assistant",
        "status": "completed", "content": [part],
    });
    let calls = answer.calls.iter().map(|call| {
        json!({
            "id": format!("fc_{}", call.name), "type": "function_call", "call_id": call.id,
            "name": call.name, "arguments": call.arguments.to_string(), "status": "completed",
        })
    });
    let said = (!answer.text.is_empty()).then_some(said);
    said.into_iter().chain(calls).collect()
}

/// An answer in one piece.
pub fn whole(answer: &Answer) -> Value {
    let tokens = answer.tokens;
    let (status, incomplete) = match answer.reason {
        Reason::Stop => ("completed", None),
        Reason::Length => ("incomplete", Some("max_output_tokens")),
        Reason::Own(reason) | Reason::Blocked(reason) => ("incomplete", Some(reason)),
    };
    json!({
        "id": format!("resp_{}", answer.number), "object": "response", "created_at": 0,
        "status": status, "error": null,
        "incomplete_details": incomplete.map(|reason| json!({ "reason": reason })),
        "model": answer.model, "output": output(answer),
        "usage": {
            "input_tokens": tokens.input,
            "input_tokens_details": { "cached_tokens": tokens.cached },
            "output_tokens": tokens.output,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": tokens.input + tokens.output,
        },
    })
}

/// An answer word by word, its arguments in halves.
pub fn streamed(answer: &Answer) -> Vec<Part> {
    let send = |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        event(kind, &data)
    };
    let whole = whole(answer);
    let mut begun = whole.clone();
    begun["status"] = "in_progress".into();
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    let mut parts = vec![send("response.created", json!({ "response": begun }))];
    for (index, item) in output(answer).into_iter().enumerate() {
        let mut start = item.clone();
        let (name, kind) = match item["type"].as_str() {
            Some("function_call") => ("arguments", "response.function_call_arguments.delta"),
            _ if answer.is_refusal => ("content", "response.refusal.delta"),
            _ => ("content", "response.output_text.delta"),
        };
        start["status"] = "in_progress".into();
        start[name] = if name == "content" {
            json!([])
        } else {
            "".into()
        };
        let added = json!({ "output_index": index, "item": start });
        parts.push(send("response.output_item.added", added));
        let delta = |delta: &str| {
            let data = json!({ "output_index": index, "content_index": 0, "delta": delta });
            send(kind, data)
        };
        match item["arguments"].as_str() {
            Some(arguments) => parts.extend(halves(arguments).map(delta)),
            None => parts.extend(answer.words().map(delta)),
        }
        let done = json!({ "output_index": index, "item": item });
        parts.push(send("response.output_item.done", done));
    }
    let end = format!("response.{}", whole["status"].as_str().unwrap());
    parts.push(send(&end, json!({ "response": whole })));
    parts
}
