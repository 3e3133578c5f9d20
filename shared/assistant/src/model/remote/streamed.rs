//! An answer of a provider that genai knows, while it is written.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use genai::adapter::AdapterKind;
use genai::chat::{
    ChatFrameSink, ChatOptions, ChatRequest, ChatResponse, ChatStreamEvent, ContentPart, FrameCtx,
    RawFrameRef, StreamEnd,
};
use genai::{Client, ModelIden, ServiceTarget};
use serde_json::{Map, Value};

use super::super::draft::Draft;
use super::super::failure::{ModelFailure, failure};
use super::ollama::{is_ollama, results_for};
use super::refusal::Refusal;

/// The place of the model's name in the frames of the providers that tell it.
const NAMES: [&str; 4] = [
    "/model",
    "/message/model",
    "/response/model",
    "/modelVersion",
];

/// How many frames are searched for the model's name. It comes first, if it comes at all.
const FRAMES_WITH_NAME: u32 = 8;

/// Takes from the frames of the stream what genai's events do not have: the model's name and a refusal.
#[derive(Default)]
struct Unreported {
    name: OnceLock<String>,
    refusal: Mutex<Refusal>,
}

impl Unreported {
    fn take_refusal(&self) -> Refusal {
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *refusal)
    }
}

impl ChatFrameSink for Unreported {
    fn on_frame(&self, _: &FrameCtx, frame: RawFrameRef<'_>) {
        let may_have_name = frame.index < FRAMES_WITH_NAME && self.name.get().is_none();
        if !may_have_name && !Refusal::may_be_in(frame.data) {
            return;
        }
        let Some(frame) = frame.json() else { return };
        let refusal = self.refusal.lock();
        refusal.unwrap_or_else(PoisonError::into_inner).read(&frame);
        let names = NAMES.iter().filter_map(|place| frame.pointer(place));
        if let Some(name) = names
            .filter_map(Value::as_str)
            .find(|name| !name.is_empty())
        {
            let _ = self.name.set(name.to_owned());
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
    let request = results_for(kind, request);
    let unreported = Arc::new(Unreported::default());
    let options = ChatOptions::default()
        .with_capture_usage(true)
        .with_capture_content(true)
        .with_capture_tool_calls(true)
        .with_capture_reasoning_content(keeps_reasoning(&target.model))
        .with_stream_header_timeout(silence)
        .with_stream_read_timeout(silence)
        .with_raw_frame_sink_arc(Arc::clone(&unreported) as Arc<dyn ChatFrameSink>);
    let mut stream = client
        .exec_chat_stream(target.clone(), request, Some(&options))
        .await
        .map_err(|error| failure(&error))?
        .stream;
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            // The first error ends it: genai may go on after one, up to an end that looks like success.
            Err(error) => {
                let blocked = unreported.take_refusal().blocked(&target.model);
                return blocked.ok_or_else(|| failure(&error));
            }
        };
        match event {
            ChatStreamEvent::Chunk(chunk) => draft.say(&chunk.content),
            ChatStreamEvent::End(end) if is_fabricated(&end, kind) => break,
            ChatStreamEvent::End(end) => {
                // An answer of Ollama that is not streamed has the configured name.
                let name = unreported.name.get().filter(|_| !is_ollama(kind));
                let mut response = response(end, &target.model, name)?;
                if let Some(words) = unreported.take_refusal().add_to(&mut response) {
                    draft.say(&words);
                }
                return Ok(response);
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
