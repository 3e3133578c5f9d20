//! Requests and answers in the form of the Converse API.

use genai::ModelIden;
use genai::chat::{
    ChatMessage, ChatRequest, ChatResponse, ChatRole, ContentPart, PromptTokensDetails, StopReason,
    ToolCall, Usage,
};
use serde_json::{Map, Value, json};

/// Bedrock's own reasons for withholding an answer, which may have a text in its place.
const WITHHELD: [&str; 2] = ["content_filtered", "guardrail_intervened"];

/// The body of a request.
pub fn body(request: ChatRequest) -> Value {
    let mut body = json!({
        "messages": request.messages.into_iter().map(message).collect::<Vec<_>>(),
    });
    if let Some(system) = request.system {
        body["system"] = json!([{ "text": system }]);
    }
    if let Some(tools) = request.tools {
        let tools = tools.into_iter().map(|tool| {
            json!({ "toolSpec": {
                "name": tool.name.as_str(),
                "description": tool.description,
                "inputSchema": { "json": tool.schema },
            } })
        });
        body["toolConfig"] = json!({ "tools": tools.collect::<Vec<_>>() });
    }
    body
}

/// The results of calls are a message of the user.
fn message(message: ChatMessage) -> Value {
    let role = match message.role {
        ChatRole::Assistant => "assistant",
        ChatRole::User | ChatRole::Tool | ChatRole::System => "user",
    };
    let blocks = message.content.into_parts().into_iter().filter_map(block);
    json!({ "role": role, "content": blocks.collect::<Vec<_>>() })
}

/// A part of a message; `None` for those that no conversation here has.
fn block(part: ContentPart) -> Option<Value> {
    match part {
        ContentPart::Text(text) => Some(json!({ "text": text })),
        ContentPart::ToolCall(call) => Some(json!({ "toolUse": {
            "toolUseId": call.call_id,
            "name": call.fn_name,
            "input": call.fn_arguments,
        } })),
        ContentPart::ToolResponse(result) => Some(json!({ "toolResult": {
            "toolUseId": result.call_id,
            "content": [{ "text": result.content }],
        } })),
        ContentPart::Custom(custom) => Some(custom.data),
        ContentPart::Binary(_)
        | ContentPart::ThoughtSignature(_)
        | ContentPart::ReasoningContent(_) => None,
    }
}

/// Reads an answer. Keeps blocks that are neither text nor a call, such as the model's reasoning, as they are:
/// some models want them back with the results of their calls.
pub fn response(mut answer: Value, model: &ModelIden) -> ChatResponse {
    let content = answer.pointer_mut("/output/message/content");
    let blocks = match content.map(Value::take) {
        Some(Value::Array(blocks)) => blocks,
        _ => Vec::new(),
    };
    let parts = blocks.into_iter().map(|block| {
        if let Some(text) = block["text"].as_str() {
            return ContentPart::from_text(text);
        }
        match &block["toolUse"] {
            Value::Object(call) => ContentPart::ToolCall(tool_call(call)),
            _ => ContentPart::from_custom(block, Some(model.clone())),
        }
    });
    ChatResponse {
        content: parts.collect(),
        reasoning_content: None,
        model_iden: model.clone(),
        provider_model_iden: model.clone(),
        stop_reason: answer["stopReason"].as_str().map(stop_reason),
        usage: usage(&answer["usage"]),
        captured_raw_body: None,
        response_id: None,
    }
}

fn stop_reason(reason: &str) -> StopReason {
    if WITHHELD.contains(&reason) {
        StopReason::ContentFilter(reason.to_owned())
    } else {
        reason.to_owned().into()
    }
}

/// The tokens, with those of the cache among the input tokens, as other providers count them. Bedrock
/// counts them beside.
fn usage(counted: &Value) -> Usage {
    let tokens = |name: &str| i32::try_from(counted[name].as_i64()?).ok();
    let (read, written) = (
        tokens("cacheReadInputTokens"),
        tokens("cacheWriteInputTokens"),
    );
    Usage {
        prompt_tokens: tokens("inputTokens").map(|input| {
            input
                .saturating_add(read.unwrap_or_default())
                .saturating_add(written.unwrap_or_default())
        }),
        prompt_tokens_details: read.or(written).map(|_| PromptTokensDetails {
            cache_creation_tokens: written,
            cached_tokens: read,
            ..PromptTokensDetails::default()
        }),
        completion_tokens: tokens("outputTokens"),
        total_tokens: tokens("totalTokens"),
        ..Usage::default()
    }
}

fn tool_call(call: &Map<String, Value>) -> ToolCall {
    let text = |name: &str| call.get(name).and_then(Value::as_str).unwrap_or_default();
    ToolCall {
        call_id: text("toolUseId").to_owned(),
        fn_name: text("name").to_owned(),
        // Bedrock takes back only an object.
        fn_arguments: call
            .get("input")
            .filter(|input| input.is_object())
            .cloned()
            .unwrap_or_else(|| json!({})),
        thought_signatures: None,
    }
}
