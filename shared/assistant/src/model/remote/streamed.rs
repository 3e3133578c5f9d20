//! An answer of a provider that genai knows, while it is written.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use genai::adapter::AdapterKind;
use genai::chat::{
    ChatFrameSink, ChatOptions, ChatRequest, ChatResponse, ChatStreamEvent, ContentPart, FrameCtx,
    RawFrameRef, StreamEnd,
};
use genai::{Client, ModelIden, ServiceTarget};
use serde_json::{Map, Value};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::super::draft::Draft;
use super::super::failure::{ModelFailure, failure};

/// The place of the model's name in the frames of the providers that tell it.
const NAMES: [&str; 4] = [
    "/model",
    "/message/model",
    "/response/model",
    "/modelVersion",
];

/// How many frames are searched for the model's name. It comes first, if it comes at all.
const FRAMES_WITH_NAME: u32 = 8;

/// Takes the model's name from the frames of the stream: genai's events do not have it.
#[derive(Default)]
struct Name(OnceLock<String>);

impl ChatFrameSink for Name {
    fn on_frame(&self, _: &FrameCtx, frame: RawFrameRef<'_>) {
        if frame.index >= FRAMES_WITH_NAME || self.0.get().is_some() {
            return;
        }
        let Some(frame) = frame.json() else { return };
        let names = NAMES.iter().filter_map(|place| frame.pointer(place));
        if let Some(name) = names
            .filter_map(Value::as_str)
            .find(|name| !name.is_empty())
        {
            let _ = self.0.set(name.to_owned());
        }
    }
}

/// Sends one request, and gives to the draft what the model says at the moment it comes.
pub async fn ask(
    client: &Client,
    target: &ServiceTarget,
    request: ChatRequest,
    silence: Duration,
    draft: &mut Draft<'_>,
) -> Result<ChatResponse, ModelFailure> {
    let kind = target.model.adapter_kind;
    let name = Arc::new(Name::default());
    let options = ChatOptions::default()
        .with_capture_usage(true)
        .with_capture_content(true)
        .with_capture_tool_calls(true)
        .with_capture_reasoning_content(keeps_reasoning(&target.model))
        .with_stream_header_timeout(silence)
        .with_stream_read_timeout(silence)
        .with_raw_frame_sink_arc(Arc::clone(&name) as Arc<dyn ChatFrameSink>);
    // genai logs what cannot be read of a stream, and that quotes the conversation.
    let mut stream = client
        .exec_chat_stream(target.clone(), request, Some(&options))
        .with_subscriber(Dispatch::none())
        .await
        .map_err(|error| failure(&error))?
        .stream;
    while let Some(event) = stream.next().with_subscriber(Dispatch::none()).await {
        // The first error ends it: genai may go on after one, up to an end that looks like success.
        match event.map_err(|error| failure(&error))? {
            ChatStreamEvent::Chunk(chunk) => draft.say(&chunk.content),
            ChatStreamEvent::End(end) if is_fabricated(&end, kind) => break,
            ChatStreamEvent::End(end) => {
                let name = name.0.get().filter(|_| !is_ollama(kind));
                return response(end, &target.model, name);
            }
            ChatStreamEvent::Start
            | ChatStreamEvent::ReasoningChunk(_)
            | ChatStreamEvent::ThoughtSignatureChunk(_)
            | ChatStreamEvent::ToolCallChunk(_)
            | ChatStreamEvent::Heartbeat => {}
        }
    }
    Err(ModelFailure::ended_early())
}

/// Whether the model's reasoning is kept for the next round. Some providers want it back with the
/// results of the calls. To these it would mean that summaries of it are to be written for the
/// caller, which costs, and is refused to some; the other delivery does not ask for them either.
fn keeps_reasoning(model: &ModelIden) -> bool {
    match model.adapter_kind {
        AdapterKind::OpenAIResp | AdapterKind::Gemini | AdapterKind::GeminiIx => false,
        AdapterKind::Vertex => model.model_name.contains("claude"),
        _ => true,
    }
}

/// Whether genai made this end up because the connection was closed. Then it lacks what these
/// providers say at the end of every answer.
fn is_fabricated(end: &StreamEnd, kind: AdapterKind) -> bool {
    let has_no_reason = end.captured_stop_reason.is_none();
    match kind {
        AdapterKind::Ollama | AdapterKind::OllamaCloud => {
            has_no_reason && end.captured_usage.is_none()
        }
        AdapterKind::BedrockApi
        | AdapterKind::Gemini
        | AdapterKind::GeminiIx
        | AdapterKind::OpenAIResp
        | AdapterKind::Vertex => has_no_reason,
        _ => false,
    }
}

/// Answers that are not streamed have the configured name with Ollama.
fn is_ollama(kind: AdapterKind) -> bool {
    matches!(kind, AdapterKind::Ollama | AdapterKind::OllamaCloud)
}

/// The same as if the answer had come in one piece.
fn response(
    end: StreamEnd,
    model: &ModelIden,
    name: Option<&String>,
) -> Result<ChatResponse, ModelFailure> {
    let mut parts = end.captured_content.unwrap_or_default().into_parts();
    for part in &mut parts {
        if let ContentPart::ToolCall(call) = part {
            call.fn_arguments = arguments(call.fn_arguments.take())?;
        }
    }
    Ok(ChatResponse {
        content: parts.into_iter().collect(),
        reasoning_content: end.captured_reasoning_content,
        model_iden: model.clone(),
        provider_model_iden: name.map_or_else(|| model.clone(), |name| model.from_name(name)),
        stop_reason: end.captured_stop_reason,
        usage: end.captured_usage.unwrap_or_default(),
        captured_raw_body: None,
        response_id: end.captured_response_id,
    })
}

/// The arguments of a call. They are still text where they were none or are no JSON, because the
/// answer ended in the middle of them.
fn arguments(arguments: Value) -> Result<Value, ModelFailure> {
    match arguments {
        Value::String(text) if text.trim().is_empty() => Ok(Value::Object(Map::new())),
        Value::String(_) => Err(ModelFailure::new(
            "the arguments of a function call are not JSON",
        )),
        arguments => Ok(arguments),
    }
}
