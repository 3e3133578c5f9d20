//! The built-in model: not a language model, but it says so, remembers, and calls functions.

use std::time::Duration;

use genai::ModelIden;
use genai::adapter::AdapterKind;
use genai::chat::{
    ChatMessage, ChatRequest, ChatResponse, ChatRole, MessageContent, ToolCall, Usage,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::draft::Draft;
use crate::tools::SEARCH_FUNCTION;

/// Its name, as used in `MODEL` and in answers.
pub const NAME: &str = "built-in";

/// Words with which a user asks for something to listen to.
const AUDIO_WORDS: &[&str] = &[
    "audio",
    "recording",
    "recordings",
    "listen",
    "podcast",
    "track",
    "mp3",
    "aufnahme",
    "aufnahmen",
    "hören",
    "anhören",
];

/// How much of an earlier message is quoted, in characters.
const QUOTE_CHARACTERS: usize = 80;

/// The pause between two words that are streamed, so that one can watch the answer arrive.
const PAUSE: Duration = Duration::from_millis(20);

/// Responds to a request; the same request always gets the same response. If it is streamed, the text comes
/// word by word.
pub async fn round(
    request: &ChatRequest,
    is_streamed: bool,
    draft: &mut Draft<'_>,
) -> ChatResponse {
    let messages = &request.messages;
    let asked = messages
        .iter()
        .rposition(|message| matches!(message.role, ChatRole::User));
    let (context, rest) = messages.split_at(asked.unwrap_or_default());
    let question = rest.first().map(text).unwrap_or_default();
    let found = rest.iter().rev().find_map(recordings);
    if found.is_none() && asks_for_audio(&question) && is_offered(request) {
        return response(
            MessageContent::from_tool_calls(vec![ToolCall {
                call_id: "1".to_owned(),
                fn_name: SEARCH_FUNCTION.to_owned(),
                fn_arguments: json!({ "query": question }),
                thought_signatures: None,
            }]),
            Usage::default(),
        );
    }

    let content = answer(context, &question, found.as_deref());
    for (index, word) in words(&content).enumerate() {
        if is_streamed && index > 0 {
            sleep(PAUSE).await;
        }
        draft.say(word);
    }
    let read: i32 = context
        .iter()
        .map(|message| count_words(&text(message)))
        .sum();
    let usage = Usage {
        prompt_tokens: Some(read + count_words(&question)),
        completion_tokens: Some(count_words(&content)),
        ..Usage::default()
    };
    response(MessageContent::from_text(content), usage)
}

fn response(content: MessageContent, usage: Usage) -> ChatResponse {
    // It belongs to no provider; nobody asks which.
    let name = ModelIden::new(AdapterKind::OpenAI, NAME);
    ChatResponse {
        content,
        reasoning_content: None,
        model_iden: name.clone(),
        provider_model_iden: name,
        stop_reason: Some("stop".to_owned().into()),
        usage,
        captured_raw_body: None,
        response_id: None,
    }
}

fn answer(context: &[ChatMessage], question: &str, found: Option<&[String]>) -> String {
    let mut sentences = vec![
        "I am Daissy's built-in model: not a language model, just enough to try out the service. Set \
         MODEL to talk to a real one."
            .to_owned(),
        format!("You said: “{}”.", quote(question)),
    ];
    sentences.extend(memory(context));
    sentences.extend(found.map(recommendation));
    sentences.join(" ")
}

/// The sentence about the user's earlier messages.
fn memory(context: &[ChatMessage]) -> Option<String> {
    let mut said = context
        .iter()
        .filter(|message| matches!(message.role, ChatRole::User))
        .map(text);
    let last = said.next_back()?;
    Some(match said.next() {
        None => format!("Before that you said: “{}”.", quote(&last)),
        Some(first) => format!(
            "Before that you said: “{}”; the earliest message I can see is: “{}”.",
            quote(&last),
            quote(&first)
        ),
    })
}

/// The sentence about the recordings that were found.
fn recommendation(titles: &[String]) -> String {
    match titles.first() {
        Some(title) => format!("I recommend: {title}."),
        None => "I have no recording to recommend.".to_owned(),
    }
}

/// The titles in the result of a search; `None` for a message that is none.
fn recordings(message: &ChatMessage) -> Option<Vec<String>> {
    let response = *message.content.tool_responses().first()?;
    let content: Value = serde_json::from_str(&response.content).unwrap_or_default();
    let found = content["result"].as_array().cloned().unwrap_or_default();
    let titles = found
        .iter()
        .filter_map(|recording| recording["title"].as_str());
    Some(titles.map(str::to_owned).collect())
}

fn is_offered(request: &ChatRequest) -> bool {
    let mut tools = request.tools.iter().flatten();
    tools.any(|tool| tool.name.as_str() == SEARCH_FUNCTION)
}

fn asks_for_audio(question: &str) -> bool {
    question
        .split(|character: char| !character.is_alphanumeric())
        .any(|word| AUDIO_WORDS.contains(&word.to_lowercase().as_str()))
}

fn text(message: &ChatMessage) -> String {
    message.content.joined_texts().unwrap_or_default()
}

/// The words of a text, each with the white space after it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

fn quote(text: &str) -> String {
    let mut quoted: String = text.trim().chars().take(QUOTE_CHARACTERS).collect();
    if quoted.len() < text.trim().len() {
        quoted.push('…');
    }
    quoted
}

/// It has no tokens; words stand in for them.
fn count_words(text: &str) -> i32 {
    i32::try_from(text.split_whitespace().count()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use genai::chat::{Tool, ToolResponse};

    use super::*;

    async fn content(request: &ChatRequest) -> String {
        let mut draft = Draft::new(None);
        round(request, false, &mut draft).await;
        draft.finish().0
    }

    #[tokio::test]
    async fn it_says_what_it_is_and_remembers() {
        let request = ChatRequest::from_messages(vec![
            ChatMessage::user("I am Ada"),
            ChatMessage::assistant("Hello"),
            ChatMessage::user("Tea?"),
            ChatMessage::assistant("Yes"),
            ChatMessage::user("Who am I?"),
        ]);
        let content = content(&request).await;
        for expected in ["built-in model", "“Who am I?”", "“Tea?”", "“I am Ada”"] {
            assert!(content.contains(expected), "{expected}: {content}");
        }
        assert!(!content.contains("recommend"));
    }

    #[tokio::test]
    async fn it_calls_the_function_when_asked_for_audio_and_names_what_was_found() {
        let question = "Any recording about stress?";
        let request = ChatRequest::from_user(question).with_tools([Tool::new(SEARCH_FUNCTION)]);
        let mut draft = Draft::new(None);
        let called = round(&request, false, &mut draft).await;
        let call = called.tool_calls()[0].clone();
        assert_eq!(call.fn_arguments, json!({ "query": question }));
        assert!(draft.is_blank());

        for (result, said) in [
            (
                json!([{ "title": "Calm" }, { "title": "Run" }]),
                "I recommend: Calm.",
            ),
            (json!([]), "I have no recording to recommend."),
        ] {
            let result = json!({ "result": result }).to_string();
            let request = request
                .clone()
                .append_messages(called.clone().into_assistant_message_for_tool_use())
                .append_message(ToolResponse::from_tool_call(&call, result));
            let content = content(&request).await;
            assert!(content.contains(said), "{content}");
        }
    }

    #[tokio::test]
    async fn a_long_message_is_quoted_in_part() {
        let request = ChatRequest::from_user("ü".repeat(100));
        let content = content(&request).await;
        assert!(content.contains(&format!("{}…”", "ü".repeat(QUOTE_CHARACTERS))));
    }
}
