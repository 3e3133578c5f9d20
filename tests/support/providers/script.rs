//! What a model says, whichever provider it is of.

use serde_json::{Map, Value};

use super::conversation::{Asked, Call, Thoughts};

/// The tokens that a provider counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tokens {
    /// All of the request.
    pub input: i64,
    /// Those of them that came from the cache.
    pub cached: i64,
    /// All of the answer.
    pub output: i64,
}

/// Why a model stops.
#[derive(Debug, Clone, Copy)]
pub enum Reason {
    /// It has said all.
    Stop,
    /// It may not say more.
    Length,
    /// Another reason, in the provider's word.
    Own(&'static str),
    /// The question is blocked for a reason in the provider's word, and there is no answer. Gemini alone
    /// does this.
    Blocked(&'static str),
}

/// One answer of the model.
#[derive(Debug, Clone)]
pub struct Turn {
    thoughts: Option<Thoughts>,
    text: String,
    is_refusal: bool,
    calls: Vec<Scripted>,
    reason: Reason,
    tokens: Tokens,
}

#[derive(Debug, Clone)]
enum Scripted {
    Named(String, Value),
    /// The function that is offered, with these words for each argument it needs.
    Offered(String),
}

/// A turn as an answer to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its number.
    pub number: usize,
    /// The model's name.
    pub model: String,
    /// What it thought before.
    pub thoughts: Option<Thoughts>,
    /// What it says.
    pub text: String,
    /// Whether it says that it does not answer.
    pub is_refusal: bool,
    /// What it calls.
    pub calls: Vec<Call>,
    /// Why it stops, if not for its calls.
    pub reason: Reason,
    /// What was counted.
    pub tokens: Tokens,
}

impl Turn {
    /// It says something and stops.
    pub fn says(text: &str, tokens: Tokens, reason: Reason) -> Self {
        Self {
            thoughts: None,
            text: text.to_owned(),
            is_refusal: false,
            calls: Vec::new(),
            reason,
            tokens,
        }
    }

    /// It says that it does not answer, in words or without.
    pub fn refuses(words: &str, tokens: Tokens, reason: Reason) -> Self {
        Self {
            is_refusal: true,
            ..Self::says(words, tokens, reason)
        }
    }

    /// It calls a function.
    pub fn calls(name: &str, arguments: Value, tokens: Tokens) -> Self {
        Self::says("", tokens, Reason::Stop).and(Scripted::Named(name.to_owned(), arguments))
    }

    /// It calls the function that the request offers, with these words for each argument it needs.
    pub fn calls_what_is_offered(words: &str, tokens: Tokens) -> Self {
        Self::says("", tokens, Reason::Stop).and(Scripted::Offered(words.to_owned()))
    }

    /// It calls the function that the request offers once more.
    #[must_use]
    pub fn and_again(self, words: &str) -> Self {
        self.and(Scripted::Offered(words.to_owned()))
    }

    /// It says this before its calls.
    #[must_use]
    pub fn after_saying(mut self, text: &str) -> Self {
        text.clone_into(&mut self.text);
        self
    }

    /// It thinks first.
    #[must_use]
    pub fn after_thinking(mut self, words: &str, signature: &str) -> Self {
        self.thoughts = Some(Thoughts {
            words: Some(words.to_owned()),
            signature: signature.to_owned(),
        });
        self
    }

    fn and(mut self, call: Scripted) -> Self {
        self.calls.push(call);
        self
    }

    /// The answer to a request, the n-th of all.
    pub(super) fn answer(self, asked: &Asked, number: usize, has_call_ids: bool) -> Answer {
        let calls = self.calls.into_iter().enumerate().map(|(index, call)| {
            let (name, arguments) = match call {
                Scripted::Named(name, arguments) => (name, arguments),
                Scripted::Offered(words) => {
                    let offered = asked.tools.first().expect("a function is offered");
                    let needed = offered.required.iter();
                    let arguments: Map<String, Value> = needed
                        .map(|name| (name.clone(), words.as_str().into()))
                        .collect();
                    (offered.name.clone(), Value::Object(arguments))
                }
            };
            Call {
                id: has_call_ids.then(|| format!("call_{number}_{index}")),
                name,
                arguments,
            }
        });
        Answer {
            number,
            model: format!("{}-2026", asked.model),
            thoughts: self.thoughts,
            text: self.text,
            is_refusal: self.is_refusal,
            calls: calls.collect(),
            reason: self.reason,
            tokens: self.tokens,
        }
    }
}

impl Answer {
    /// The reason in the provider's words: for its calls, for its end, for the limit.
    pub(super) fn reason(&self, [calls, stop, length]: [&'static str; 3]) -> &'static str {
        match self.reason {
            _ if !self.calls.is_empty() => calls,
            Reason::Stop => stop,
            Reason::Length => length,
            Reason::Own(reason) | Reason::Blocked(reason) => reason,
        }
    }

    /// What it says word by word.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive(' ')
    }
}

/// A text in two halves, as providers stream arguments and signatures.
pub(super) fn halves(text: &str) -> [&str; 2] {
    let (first, second) = text.split_at(text.floor_char_boundary(text.len() / 2));
    [first, second]
}
