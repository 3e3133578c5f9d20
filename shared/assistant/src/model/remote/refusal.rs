//! Refusals that genai drops or takes for failures: OpenAI says their words beside the content, and Gemini
//! answers a question that it blocks with nothing but the reason.

use genai::ModelIden;
use genai::chat::{ChatResponse, ContentPart, StopReason, Usage};
use serde_json::Value;

/// The place of a refusal's words in an answer of OpenAI, and in a part of a streamed one.
const WORDS: [&str; 2] = ["/choices/0/message/refusal", "/choices/0/delta/refusal"];

/// The place of the reason for which Gemini blocks a question.
const BLOCK_REASON: &str = "/promptFeedback/blockReason";

/// What a provider says of a refusal.
#[derive(Debug, Default)]
pub struct Refusal {
    words: String,
    /// An answer that is nothing but the reason.
    blocked: Option<Value>,
}

impl Refusal {
    /// Whether the text of an answer, or of a part of one, may have to do with a refusal. It spares most
    /// parts from being parsed once more.
    pub fn may_be_in(text: &str) -> bool {
        text.contains("\"refusal\"") || text.contains("\"blockReason\"")
    }

    /// Takes what there is of a refusal in an answer, or in a part of one.
    pub fn read(&mut self, answer: &Value) {
        let words = WORDS.iter().filter_map(|place| answer.pointer(place));
        self.words.extend(words.filter_map(Value::as_str));
        if answer.pointer(BLOCK_REASON).is_some_and(Value::is_string) {
            self.blocked = Some(answer.clone());
        }
    }

    /// The answer to a question that was blocked, which is empty.
    pub fn blocked(&self, model: &ModelIden) -> Option<ChatResponse> {
        let answer = self.blocked.as_ref()?;
        let reason = answer.pointer(BLOCK_REASON)?.as_str()?;
        let tokens = answer["usageMetadata"]["promptTokenCount"].as_i64();
        let name = answer["modelVersion"].as_str();
        Some(ChatResponse {
            content: Vec::<ContentPart>::new().into_iter().collect(),
            reasoning_content: None,
            model_iden: model.clone(),
            provider_model_iden: name.map_or_else(|| model.clone(), |name| model.from_name(name)),
            stop_reason: Some(StopReason::ContentFilter(reason.to_owned())),
            usage: Usage {
                prompt_tokens: tokens.and_then(|tokens| i32::try_from(tokens).ok()),
                ..Usage::default()
            },
            captured_raw_body: None,
            response_id: None,
        })
    }

    /// Adds the words to an answer that was refused, and returns them.
    pub fn add_to(self, response: &mut ChatResponse) -> Option<String> {
        if self.words.trim().is_empty() {
            return None;
        }
        // Its own reason may be that the model stopped by itself.
        response.stop_reason = Some(StopReason::ContentFilter("refusal".to_owned()));
        response.content.push(ContentPart::from_text(&self.words));
        Some(self.words)
    }
}
