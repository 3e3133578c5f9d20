//! A model of Bedrock, asked through its Converse API with the AWS credentials of the environment.
//! genai can do this too, but only with an AWS SDK that brings a second TLS library along.

use genai::adapter::AdapterKind;
use genai::chat::{ChatMessage, ChatRequest, ChatResponse, ChatRole, ContentPart, ToolCall, Usage};
use genai::{Error, ModelIden, webc};
use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};
use shared::aws;

use super::failure::{ModelFailure, failure};

/// The service a request is for, as named in its signature.
const SERVICE: &str = "bedrock";

/// A model of Bedrock.
#[derive(Debug)]
pub struct Bedrock {
    client: Client,
    model: ModelIden,
    region: String,
    /// Where Bedrock answers, with a slash at the end.
    base_url: String,
}

impl Bedrock {
    /// A model in a region, at `base_url` instead of the region's address if one is given.
    pub fn new(client: Client, model: &str, region: String, base_url: Option<String>) -> Self {
        let base_url =
            base_url.unwrap_or_else(|| format!("https://bedrock-runtime.{region}.amazonaws.com/"));
        Self {
            client,
            model: ModelIden::new(AdapterKind::BedrockApi, model.to_owned()),
            region,
            base_url,
        }
    }

    /// The id of the model.
    pub fn name(&self) -> &str {
        &self.model.model_name
    }

    /// Where it is asked.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Sends one request and reads its answer.
    pub async fn ask(&self, request: ChatRequest) -> Result<ChatResponse, ModelFailure> {
        let body = body(request).to_string();
        let model = aws::percent_encoded(self.name());
        let url = format!("{}model/{model}/converse", self.base_url);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        aws::sign_post(SERVICE, &self.region, &url, &mut headers, body.as_bytes())
            .await
            .map_err(|why| ModelFailure::new(format!("cannot sign the request: {why}")))?;
        let request = self.client.post(url).headers(headers).body(body);
        let answer = read(request).await.map_err(|webc_error| {
            failure(&Error::WebModelCall {
                model_iden: self.model.clone(),
                webc_error,
            })
        })?;
        Ok(self.response(answer))
    }

    /// Keeps blocks that are neither text nor a call, such as the model's reasoning, as they are:
    /// some models want them back with the results of their calls.
    fn response(&self, mut answer: Value) -> ChatResponse {
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
                _ => ContentPart::from_custom(block, Some(self.model.clone())),
            }
        });
        let tokens = |name: &str| i32::try_from(answer["usage"][name].as_i64()?).ok();
        ChatResponse {
            content: parts.collect(),
            reasoning_content: None,
            model_iden: self.model.clone(),
            provider_model_iden: self.model.clone(),
            stop_reason: answer["stopReason"]
                .as_str()
                .map(|reason| reason.to_owned().into()),
            usage: Usage {
                prompt_tokens: tokens("inputTokens"),
                completion_tokens: tokens("outputTokens"),
                total_tokens: tokens("totalTokens"),
                ..Usage::default()
            },
            captured_raw_body: None,
            response_id: None,
        }
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<Value, webc::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text().await?;
    if !status.is_success() {
        return Err(webc::Error::ResponseFailedStatus {
            status,
            body,
            headers: Box::new(headers),
        });
    }
    serde_json::from_str(&body).map_err(|error| webc::Error::ResponseFailedInvalidJson {
        body,
        cause: error.to_string(),
    })
}

fn body(request: ChatRequest) -> Value {
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
