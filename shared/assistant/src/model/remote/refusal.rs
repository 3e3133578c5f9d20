//! Refusals that genai drops or takes for something else: OpenAI says their words beside the content, and
//! Gemini answers a question that it blocks with nothing but the reason.

use genai::ModelIden;
use genai::chat::{ChatResponse, ContentPart, StopReason, Usage};
use serde_json::Value;

/// The place of a refusal's words in an answer of OpenAI, and in a part of a streamed one.
const WORDS: [&str; 2] = ["/choices/0/message/refusal", "/choices/0/delta/refusal"];

/// The place of the reason why OpenAI's Responses API did not complete an answer.
const INCOMPLETE_REASON: &str = "/incomplete_details/reason";

/// Its word for the one that is a refusal. genai takes all of them for the limit of tokens.
const FILTERED: &str = "content_filter";

/// The place of the reason for which Gemini blocks a question.
const BLOCK_REASON: &str = "/promptFeedback/blockReason";

/// What a provider says of a refusal.
#[derive(Debug, Default)]
pub struct Refusal {
    words: String,
    /// Whether the answer was withheld, or cut off.
    is_filtered: bool,
    /// An answer that is nothing but the reason.
    blocked: Option<Value>,
}

impl Refusal {
    /// Whether the text of an answer, or of a part of one, may have to do with a refusal. It spares most
    /// parts from being parsed once more.
    pub fn may_be_in(text: &str) -> bool {
        ["\"refusal\"", "\"content_filter\"", "\"blockReason\""]
            .iter()
            .any(|word| text.contains(word))
    }

    /// Takes what there is of a refusal in an answer, or in a part of one.
    pub fn read(&mut self, answer: &Value) {
        let words = WORDS.iter().filter_map(|place| answer.pointer(place));
        self.words.extend(words.filter_map(Value::as_str));
        // A streamed answer of the Responses API has all of it at its end once more.
        self.read_response(answer.get("response").unwrap_or(answer));
        if answer.pointer(BLOCK_REASON).is_some_and(Value::is_string) {
            self.blocked = Some(answer.clone());
        }
    }

    fn read_response(&mut self, response: &Value) {
        let items = response["output"].as_array().into_iter().flatten();
        let parts = items.filter_map(|item| item["content"].as_array());
        let words = parts.flatten().map(|part| &part["refusal"]);
        self.words.extend(words.filter_map(Value::as_str));
        let reason = response.pointer(INCOMPLETE_REASON);
        self.is_filtered |= reason.and_then(Value::as_str) == Some(FILTERED);
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

    /// Makes an answer one that was refused, if it was, and returns the words that it has thereby.
    pub fn add_to(self, response: &mut ChatResponse) -> Option<String> {
        let has_words = !self.words.trim().is_empty();
        if has_words || self.is_filtered {
            response.stop_reason = Some(StopReason::ContentFilter(FILTERED.to_owned()));
        }
        if !has_words {
            return None;
        }
        response.content.push(ContentPart::from_text(&self.words));
        Some(self.words)
    }
}
