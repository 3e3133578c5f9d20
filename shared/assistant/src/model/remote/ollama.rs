//! What is different with Ollama.

use genai::adapter::AdapterKind;
use genai::chat::{ChatMessage, ChatRequest, ChatRole};

/// A request with the results of calls as genai needs them for a provider: of those in one message it
/// sends only the last to Ollama. The others want them together.
pub fn results_for(kind: AdapterKind, mut request: ChatRequest) -> ChatRequest {
    if is_ollama(kind) {
        let messages = request.messages.into_iter().flat_map(|message| {
            if message.role != ChatRole::Tool {
                return vec![message];
            }
            let parts = message.content.into_parts().into_iter();
            parts
                .map(|part| ChatMessage::new(ChatRole::Tool, part))
                .collect()
        });
        request.messages = messages.collect();
    }
    request
}

/// Whether a provider speaks Ollama's own protocol.
pub fn is_ollama(kind: AdapterKind) -> bool {
    matches!(kind, AdapterKind::Ollama | AdapterKind::OllamaCloud)
}
