//! Gemini's `generateContent`.

use serde_json::{Value, json};

use super::conversation::{Asked, Call, Given, Said, Thoughts};
use super::request::{self, KEY, Received, Refused, bad, demand, list, object, text};
use super::script::{Answer, Reason};
use crate::model_stream::{Part, data};

/// What a request may have; Gemini refuses names that it does not know.
const MEMBERS: [&str; 6] = [
    "contents",
    "generationConfig",
    "safetySettings",
    "systemInstruction",
    "toolConfig",
    "tools",
];

/// Reads a request, as strictly as Gemini.
pub fn read(received: &Received) -> Result<Asked, Refused> {
    request::key(received, "x-goog-api-key", KEY, 400)?;
    let path = received.path.strip_prefix("/v1beta/models/");
    let (model, action) = path
        .and_then(|path| path.split_once(':'))
        .ok_or((404, "no such path".into()))?;
    let is_streamed = action == "streamGenerateContent?alt=sse";
    demand(is_streamed || action == "generateContent", "a method")?;
    let body = &received.body;
    let members = body.as_object().ok_or_else(|| bad("an object"))?;
    let is_known = |name: &String| MEMBERS.contains(&name.as_str());
    demand(members.keys().all(is_known), "known names")?;
    let messages = list(body, "contents")?.iter().map(content);
    Ok(Asked {
        model: model.to_owned(),
        system: match &body["systemInstruction"] {
            Value::Null => None,
            system => Some(text(&list(system, "parts")?[0], "text")?.to_owned()),
        },
        messages: messages.collect::<Result<_, _>>()?,
        tools: request::tools(&body["tools"][0]["functionDeclarations"], |tool| {
            request::offered(tool, &tool["parametersJsonSchema"])
        })?,
        is_streamed,
        with_usage: true,
    })
}

fn content(content: &Value) -> Result<Said, Refused> {
    let role = text(content, "role")?;
    let (mut thoughts, mut said, mut calls, mut results) =
        (None, String::new(), Vec::new(), Vec::new());
    for part in list(content, "parts")? {
        if let Some(signature) = part["thoughtSignature"].as_str() {
            thoughts = Some(Thoughts {
                words: None,
                signature: signature.to_owned(),
            });
        }
        let (call, result) = (&part["functionCall"], &part["functionResponse"]);
        match role {
            _ if part["text"].is_string() => said.push_str(text(part, "text")?),
            "model" if call.is_object() => calls.push(Call {
                id: call["id"].as_str().map(str::to_owned),
                name: text(call, "name")?.to_owned(),
                arguments: object(call, "args")?,
            }),
            "user" if result.is_object() => results.push(Given {
                id: result["id"].as_str().map(str::to_owned),
                name: Some(text(result, "name")?.to_owned()),
                text: object(result, "response")?.to_string(),
            }),
            _ => return Err(bad("a part that is allowed there")),
        }
    }
    Ok(match role {
        "model" => Said::Assistant {
            thoughts,
            text: said,
            calls,
        },
        "user" if results.is_empty() => Said::User(said),
        "user" => Said::Results(results),
        _ => return Err(bad("a role that is allowed there")),
    })
}

fn usage(answer: &Answer) -> Value {
    let tokens = answer.tokens;
    json!({
        "promptTokenCount": tokens.input,
        "cachedContentTokenCount": tokens.cached,
        "candidatesTokenCount": tokens.output,
        "totalTokenCount": tokens.input + tokens.output,
    })
}

/// The parts of an answer: text word by word, then calls, the first of them with its signature.
fn parts(answer: &Answer) -> Vec<Value> {
    let words = answer.words().map(|word| json!({ "text": word }));
    let calls = answer.calls.iter().enumerate().map(|(index, call)| {
        let function = json!({ "name": call.name, "args": call.arguments });
        let mut part = json!({ "functionCall": function });
        if let (0, Some(thoughts)) = (index, &answer.thoughts) {
            part["thoughtSignature"] = thoughts.signature.as_str().into();
        }
        part
    });
    words.chain(calls).collect()
}

/// The end of an answer, or all of one that is blocked; `None` as parts leaves the content out.
fn end(answer: &Answer, parts: Option<Vec<Value>>) -> Value {
    if let Reason::Blocked(reason) = answer.reason {
        return json!({
            "promptFeedback": { "blockReason": reason, "safetyRatings": [] },
            "usageMetadata": {
                "promptTokenCount": answer.tokens.input, "totalTokenCount": answer.tokens.input,
            },
            "modelVersion": answer.model,
        });
    }
    let reason = answer.reason(["STOP", "STOP", "MAX_TOKENS"]);
    let mut candidate = json!({ "finishReason": reason, "index": 0 });
    if let Some(parts) = parts {
        candidate["content"] = json!({ "role": "model", "parts": parts });
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": usage(answer),
        "modelVersion": answer.model,
    })
}

/// An answer in one piece.
pub fn whole(answer: &Answer) -> Value {
    let parts = parts(answer);
    end(answer, (!parts.is_empty()).then_some(parts))
}

/// An answer part by part.
pub fn streamed(answer: &Answer) -> Vec<Part> {
    let said = parts(answer).into_iter().map(|part| {
        data(&json!({
            "candidates": [{ "content": { "role": "model", "parts": [part] }, "index": 0 }],
            "modelVersion": answer.model,
        }))
    });
    said.chain([data(&end(answer, None))]).collect()
}

/// An error.
pub fn error(status: u16, message: &str) -> Value {
    let name = match status {
        404 => "NOT_FOUND",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    json!({ "error": { "code": status, "message": message, "status": name } })
}
