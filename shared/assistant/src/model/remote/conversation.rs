//! The conversation as providers want to see it.

use genai::adapter::AdapterKind;
use genai::chat::{ChatMessage, ChatRequest, ChatRole, ContentPart, MessageContent};
use shared::store::turns::ContextMessage;

/// The conversation in a form every provider accepts: it begins with the user, and the roles
/// alternate. A question that was never answered is merged with the next one, and an answer whose
/// question is out of the context is dropped. A message without words is left out, because providers
/// refuse it: an answer that the user stopped before its first word.
pub fn alternating(context: &[ContextMessage], question: &str) -> Vec<ChatMessage> {
    let mut said: Vec<(bool, String)> = Vec::new();
    let context = context
        .iter()
        .filter(|message| !message.content.trim().is_empty())
        .map(|message| (message.role == "user", message.content.as_str()));
    for (is_user, content) in context.chain([(true, question)]) {
        match said.last_mut() {
            Some((last_is_user, last)) if *last_is_user == is_user => {
                last.push_str("\n\n");
                last.push_str(content);
            }
            None if !is_user => {}
            _ => said.push((is_user, content.to_owned())),
        }
    }
    said.into_iter()
        .map(|(is_user, content)| {
            if is_user {
                ChatMessage::user(content)
            } else {
                ChatMessage::assistant(content)
            }
        })
        .collect()
}

/// What a model said, in a form in which every provider takes it back: some refuse a text of nothing
/// but white space, which their own models may write before a call.
pub fn without_blank_texts(content: MessageContent) -> MessageContent {
    let is_blank = |part: &ContentPart| part.as_text().is_some_and(|text| text.trim().is_empty());
    let parts = content.into_parts().into_iter();
    parts.filter(|part| !is_blank(part)).collect()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a provider is shown after these messages, each as its role and its text.
    fn shown(said: &[(&str, &str)]) -> Vec<String> {
        let context: Vec<ContextMessage> = said
            .iter()
            .map(|(role, content)| ContextMessage {
                role: (*role).into(),
                content: (*content).into(),
            })
            .collect();
        let shown = alternating(&context, "question");
        for (index, message) in shown.iter().enumerate() {
            let is_user = matches!(message.role, ChatRole::User);
            assert_eq!(is_user, index % 2 == 0, "{said:?}");
        }
        let texts = shown
            .iter()
            .filter_map(|message| message.content.first_text());
        texts.map(str::to_owned).collect()
    }

    #[test]
    fn roles_alternate_and_begin_with_the_user() {
        let said = [("assistant", "a"), ("user", "b"), ("assistant", "c")];
        assert_eq!(shown(&said), ["b", "c", "question"]);
        assert_eq!(
            shown(&[("user", "a"), ("user", "b")]),
            ["a\n\nb\n\nquestion"]
        );
    }

    #[test]
    fn messages_without_words_are_left_out() {
        let said = [("user", "a"), ("assistant", "")];
        assert_eq!(shown(&said), ["a\n\nquestion"]);
        let said = [
            ("user", "a"),
            ("assistant", " \n"),
            ("user", "b"),
            ("assistant", "c"),
        ];
        assert_eq!(shown(&said), ["a\n\nb", "c", "question"]);
    }
}
