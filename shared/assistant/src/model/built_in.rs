//! The built-in model: not a language model, but it says so, remembers, and calls functions.

use std::time::Duration;

use serde_json::{Value, json};
use shared::store::turns::{Answer, ContextMessage, Usage};
use tokio::time::sleep;

use super::delivery::Delivery;
use super::draft::Draft;
use crate::recordings::{Catalogue, FUNCTION_NAME};

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
];

/// How much of an earlier message is quoted, in characters.
const QUOTE_CHARACTERS: usize = 80;

/// The pause between two words that are streamed, so that one can watch the answer arrive.
const PAUSE: Duration = Duration::from_millis(20);

/// Answers a question; the same conversation always gets the same answer.
pub fn answer(catalogue: &Catalogue, context: &[ContextMessage], question: &str) -> Answer {
    let mut sentences = vec![
        "I am Daissy's built-in model: not a language model, just enough to try out the service. Set \
         MODEL to talk to a real one."
            .to_owned(),
        format!("You said: “{}”.", quote(question)),
    ];
    sentences.extend(memory(context));

    let (mut audio_files, mut function_calls) = (Vec::new(), Vec::new());
    if asks_for_audio(question) {
        let arguments = json!({ "topic": question });
        audio_files = catalogue.recommend(&arguments);
        if audio_files.is_empty() {
            audio_files = catalogue.first();
        }
        sentences.push(recommendation(&audio_files));
        function_calls
            .push(json!({ "name": FUNCTION_NAME, "arguments": arguments, "result": audio_files }));
    }

    let content = sentences.join(" ");
    let read = context
        .iter()
        .map(|message| count_words(&message.content))
        .sum::<i64>();
    Answer {
        usage: Usage {
            input_tokens: Some(read + count_words(question)),
            cached_input_tokens: None,
            output_tokens: Some(count_words(&content)),
        },
        content,
        audio_files,
        function_calls,
        model: NAME.to_owned(),
        finish_reason: Some("stop".to_owned()),
    }
}

/// Delivers an answer, fit to be stored: if it is streamed, its function calls and then its text, word
/// by word.
pub async fn deliver(answer: Answer, delivery: Delivery<'_>) -> Answer {
    let (sink, is_streamed) = match delivery {
        Delivery::Whole => (None, false),
        Delivery::Streamed { sink, .. } => (Some(sink), true),
    };
    let mut draft = Draft::new(sink);
    for call in answer.function_calls {
        draft.call(call);
    }
    for (index, word) in words(&answer.content).enumerate() {
        if is_streamed && index > 0 {
            sleep(PAUSE).await;
        }
        draft.say(word);
    }
    let (content, function_calls) = draft.finish();
    Answer {
        content,
        function_calls,
        ..answer
    }
}

/// The words of a text, each with the white space after it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

/// The sentence about the user's earlier messages.
fn memory(context: &[ContextMessage]) -> Option<String> {
    let mut said = context.iter().filter(|message| message.role == "user");
    let last = said.next_back()?;
    Some(match said.next() {
        None => format!("Before that you said: “{}”.", quote(&last.content)),
        Some(first) => format!(
            "Before that you said: “{}”; the earliest message I can see is: “{}”.",
            quote(&last.content),
            quote(&first.content)
        ),
    })
}

fn recommendation(audio_files: &[Value]) -> String {
    let titles: Vec<&str> = audio_files
        .iter()
        .filter_map(|recording| recording["title"].as_str())
        .collect();
    if titles.is_empty() {
        return "I have no recording to recommend.".to_owned();
    }
    format!("I recommend: {}.", titles.join(", "))
}

fn asks_for_audio(question: &str) -> bool {
    question
        .split(|character: char| !character.is_alphanumeric())
        .any(|word| AUDIO_WORDS.contains(&word.to_lowercase().as_str()))
}

fn quote(text: &str) -> String {
    let mut quoted: String = text.trim().chars().take(QUOTE_CHARACTERS).collect();
    if quoted.len() < text.trim().len() {
        quoted.push('…');
    }
    quoted
}

/// It has no tokens; words stand in for them.
fn count_words(text: &str) -> i64 {
    i64::try_from(text.split_whitespace().count()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(role: &str, content: &str) -> ContextMessage {
        ContextMessage {
            role: role.into(),
            content: content.into(),
        }
    }

    #[test]
    fn it_says_what_it_is_and_remembers() {
        let context = [
            said("user", "I am Ada"),
            said("assistant", "Hello"),
            said("user", "Tea?"),
        ];
        let answer = answer(&Catalogue::sample(), &context, "Who am I?");
        for expected in ["built-in model", "“Who am I?”", "“Tea?”", "“I am Ada”"] {
            assert!(
                answer.content.contains(expected),
                "{expected}: {}",
                answer.content
            );
        }
        assert!(answer.function_calls.is_empty() && answer.audio_files.is_empty());
    }

    #[test]
    fn it_calls_the_function_when_asked_for_audio() {
        let answer = answer(&Catalogue::sample(), &[], "Any recording about stress?");
        assert_eq!(answer.function_calls[0]["name"], FUNCTION_NAME);
        assert_eq!(
            answer.function_calls[0]["result"],
            json!(answer.audio_files)
        );
        assert_eq!(
            answer.audio_files[0]["title"],
            "Five minutes against stress"
        );
    }

    #[test]
    fn a_long_message_is_quoted_in_part() {
        let answer = answer(&Catalogue::sample(), &[], &"ü".repeat(100));
        assert!(
            answer
                .content
                .contains(&format!("{}…”", "ü".repeat(QUOTE_CHARACTERS)))
        );
    }
}
