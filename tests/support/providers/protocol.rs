//! The protocols, and what tells them apart.

use serde_json::Value;

use super::conversation::Asked;
use super::request::{KEY, Received, Refused};
use super::script::Answer;
use super::{anthropic, bedrock, gemini, ollama, openai, openai_responses};
use crate::model_stream::Part;

/// A provider's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI's chat completions, which most other servers speak.
    OpenAi,
    /// OpenAI's responses.
    OpenAiResponses,
    /// Anthropic's messages.
    Anthropic,
    /// Bedrock's Converse.
    Bedrock,
    /// Gemini's `generateContent`.
    Gemini,
    /// Ollama's chat.
    Ollama,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::OpenAi,
        Self::OpenAiResponses,
        Self::Anthropic,
        Self::Bedrock,
        Self::Gemini,
        Self::Ollama,
    ];

    /// The value of `MODEL` that chooses it.
    pub fn model(self) -> &'static str {
        match self {
            Self::OpenAi => "openai::gpt-4o-mini",
            Self::OpenAiResponses => "openai_resp::gpt-5-mini",
            Self::Anthropic => "anthropic::claude-sonnet-4-5",
            Self::Bedrock => "bedrock::anthropic.claude-sonnet-4-5-20250929-v1:0",
            Self::Gemini => "gemini::gemini-2.5-flash",
            Self::Ollama => "ollama::llama3.2",
        }
    }

    /// The variable with its key, and the key; Ollama asks for none.
    pub(super) fn key(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::OpenAi | Self::OpenAiResponses => Some(("OPENAI_API_KEY", KEY)),
            Self::Anthropic => Some(("ANTHROPIC_API_KEY", KEY)),
            Self::Gemini => Some(("GEMINI_API_KEY", KEY)),
            Self::Bedrock | Self::Ollama => None,
        }
    }

    /// Whether its calls have ids.
    pub(super) fn has_call_ids(self) -> bool {
        !matches!(self, Self::Gemini | Self::Ollama)
    }

    /// What comes after the host in its base URL.
    pub(super) fn base_path(self) -> &'static str {
        match self {
            Self::OpenAi | Self::OpenAiResponses | Self::Anthropic => "/v1",
            Self::Gemini => "/v1beta",
            Self::Bedrock | Self::Ollama => "",
        }
    }

    /// The name of the model in stored answers: the one that the provider returns, if it does.
    pub fn name_in_answers(self) -> String {
        let name = self.model().split_once("::").unwrap().1;
        match self {
            Self::OpenAi | Self::OpenAiResponses | Self::Anthropic | Self::Gemini => {
                format!("{name}-2026")
            }
            Self::Bedrock => name.to_owned(),
            Self::Ollama => self.model().to_owned(),
        }
    }

    /// Reads a request, as strictly as the provider.
    pub(super) fn read(self, request: &Received) -> Result<Asked, Refused> {
        match self {
            Self::OpenAi => openai::read(request),
            Self::OpenAiResponses => openai_responses::read(request),
            Self::Anthropic => anthropic::read(request),
            Self::Bedrock => bedrock::read(request),
            Self::Gemini => gemini::read(request),
            Self::Ollama => ollama::read(request),
        }
    }

    /// An answer in one piece.
    pub(super) fn whole(self, answer: &Answer) -> Value {
        match self {
            Self::OpenAi => openai::whole(answer),
            Self::OpenAiResponses => openai_responses::whole(answer),
            Self::Anthropic => anthropic::whole(answer),
            Self::Bedrock => bedrock::whole(answer),
            Self::Gemini => gemini::whole(answer),
            Self::Ollama => ollama::whole(answer),
        }
    }

    /// A streamed answer, after its content type.
    pub(super) fn streamed(self, answer: &Answer, asked: &Asked) -> (&'static str, Vec<Part>) {
        let events = "text/event-stream";
        match self {
            Self::OpenAi => (events, openai::streamed(answer, asked.with_usage)),
            Self::OpenAiResponses => (events, openai_responses::streamed(answer)),
            Self::Anthropic => (events, anthropic::streamed(answer)),
            Self::Bedrock => (
                "application/vnd.amazon.eventstream",
                bedrock::streamed(answer),
            ),
            Self::Gemini => (events, gemini::streamed(answer)),
            Self::Ollama => ("application/x-ndjson", ollama::streamed(answer)),
        }
    }

    /// An error in the provider's form.
    pub(super) fn error(self, status: u16, message: &str) -> Value {
        match self {
            Self::OpenAi | Self::OpenAiResponses => openai::error(message),
            Self::Anthropic => anthropic::error(status, message),
            Self::Bedrock => bedrock::error(message),
            Self::Gemini => gemini::error(status, message),
            Self::Ollama => ollama::error(message),
        }
    }
}
