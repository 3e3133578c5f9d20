//! Bedrock's Converse.

use serde_json::{Value, json};

use super::conversation::{Asked, Call, Given, Said, Thoughts};
use super::request::{self, ACCESS_KEY_ID, Received, Refused, bad, demand, list, object, text};
use super::script::{Answer, halves};
use crate::model_stream::{Part, bedrock_event};

/// Reads a request, as strictly as Bedrock.
pub fn read(received: &Received) -> Result<Asked, Refused> {
    let signature = received.headers.get("authorization");
    let signature = signature
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let credential = format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/");
    if !signature.starts_with(&credential)
        || !signature.contains("/eu-central-1/bedrock/aws4_request")
    {
        return Err((403, "the request is not signed".into()));
    }
    let path = received.path.strip_prefix("/model/");
    let (model, action) = path
        .and_then(|path| path.split_once('/'))
        .ok_or((404, "no such path".into()))?;
    demand(
        ["converse", "converse-stream"].contains(&action) && !model.contains(':'),
        "the path of an action, encoded",
    )?;
    let body = &received.body;
    let messages = list(body, "messages")?.iter().map(message);
    Ok(Asked {
        model: model.to_owned(),
        system: match &body["system"] {
            Value::Null => None,
            _ => Some(text(&list(body, "system")?[0], "text")?.to_owned()),
        },
        messages: messages.collect::<Result<_, _>>()?,
        tools: request::tools(&body["toolConfig"]["tools"], |tool| {
            let tool = &tool["toolSpec"];
            request::offered(tool, &tool["inputSchema"]["json"])
        })?,
        is_streamed: action == "converse-stream",
        with_usage: true,
    })
}

fn message(message: &Value) -> Result<Said, Refused> {
    let role = text(message, "role")?;
    let (mut thoughts, mut said, mut calls, mut results) =
        (None, String::new(), Vec::new(), Vec::new());
    for block in list(message, "content")? {
        let members = block.as_object().map(|block| block.keys());
        let kind = members.and_then(|mut members| members.next());
        let kind = kind.ok_or_else(|| bad("blocks that are not empty"))?;
        let value = &block[kind];
        match (kind.as_str(), role) {
            ("text", _) => {
                let text = text(block, "text")?;
                demand(!text.trim().is_empty(), "text that is not blank")?;
                said.push_str(text);
            }
            ("reasoningContent", "assistant") => {
                let reasoning = &value["reasoningText"];
                thoughts = Some(Thoughts {
                    words: Some(text(reasoning, "text")?.to_owned()),
                    signature: text(reasoning, "signature")?.to_owned(),
                });
            }
            ("toolUse", "assistant") => calls.push(Call {
                id: Some(text(value, "toolUseId")?.to_owned()),
                name: text(value, "name")?.to_owned(),
                arguments: object(value, "input")?,
            }),
            ("toolResult", "user") => results.push(Given {
                id: Some(text(value, "toolUseId")?.to_owned()),
                name: None,
                text: text(&list(value, "content")?[0], "text")?.to_owned(),
            }),
            _ => return Err(bad("a block that is allowed there")),
        }
    }
    Ok(match role {
        "assistant" => Said::Assistant {
            thoughts,
            text: said,
            calls,
        },
        "user" if results.is_empty() => Said::User(said),
        "user" => Said::Results(results),
        _ => return Err(bad("a role that is allowed there")),
    })
}

fn stop_reason(answer: &Answer) -> &'static str {
    answer.reason(["tool_use", "end_turn", "max_tokens"])
}

/// The tokens of the cache are counted beside the others.
fn usage(answer: &Answer) -> Value {
    let tokens = answer.tokens;
    json!({
        "inputTokens": tokens.input - tokens.cached,
        "outputTokens": tokens.output,
        "totalTokens": tokens.input + tokens.output,
        "cacheReadInputTokens": tokens.cached,
        "cacheWriteInputTokens": 0,
    })
}

/// An answer in one piece.
pub fn whole(answer: &Answer) -> Value {
    let mut content = Vec::new();
    content.extend(answer.thoughts.as_ref().map(|thoughts| {
        json!({ "reasoningContent": { "reasoningText": {
            "text": thoughts.words, "signature": thoughts.signature,
        } } })
    }));
    if !answer.text.is_empty() {
        content.push(json!({ "text": answer.text }));
    }
    content.extend(answer.calls.iter().map(|call| {
        json!({ "toolUse": {
            "toolUseId": call.id, "name": call.name, "input": call.arguments,
        } })
    }));
    json!({
        "output": { "message": { "role": "assistant", "content": content } },
        "stopReason": stop_reason(answer),
        "usage": usage(answer),
        "metrics": { "latencyMs": 1 },
    })
}

/// An answer word by word.
pub fn streamed(answer: &Answer) -> Vec<Part> {
    let mut parts = vec![bedrock_event(
        "messageStart",
        &json!({ "role": "assistant" }),
    )];
    let mut blocks: Vec<(Option<Value>, Vec<Value>)> = Vec::new();
    if let Some(thoughts) = &answer.thoughts {
        let words = thoughts
            .words
            .iter()
            .flat_map(|words| words.split_inclusive(' '));
        let words = words.map(|word| json!({ "reasoningContent": { "text": word } }));
        let signature = json!({ "reasoningContent": { "signature": thoughts.signature } });
        blocks.push((None, words.chain([signature]).collect()));
    }
    if !answer.text.is_empty() {
        let words = answer.words().map(|word| json!({ "text": word }));
        blocks.push((None, words.collect()));
    }
    for call in &answer.calls {
        let start = json!({ "toolUse": { "toolUseId": call.id, "name": call.name } });
        let arguments = call.arguments.to_string();
        let pieces = halves(&arguments).map(|half| json!({ "toolUse": { "input": half } }));
        blocks.push((Some(start), pieces.into()));
    }
    for (index, (start, deltas)) in blocks.into_iter().enumerate() {
        let send = |kind: &str, name: &str, value: Value| {
            let data = json!({ "contentBlockIndex": index, name: value });
            bedrock_event(kind, &data)
        };
        parts.extend(start.map(|start| send("contentBlockStart", "start", start)));
        let deltas = deltas.into_iter();
        parts.extend(deltas.map(|delta| send("contentBlockDelta", "delta", delta)));
        let data = json!({ "contentBlockIndex": index });
        parts.push(bedrock_event("contentBlockStop", &data));
    }
    let stopped = json!({ "stopReason": stop_reason(answer) });
    let counted = json!({ "usage": usage(answer), "metrics": { "latencyMs": 1 } });
    parts.push(bedrock_event("messageStop", &stopped));
    parts.push(bedrock_event("metadata", &counted));
    parts
}

/// An error.
pub fn error(message: &str) -> Value {
    json!({ "message": message })
}
