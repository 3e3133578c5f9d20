//! A request as every provider understands it.

use serde_json::Value;

/// A request, understood.
#[derive(Debug)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// The instructions.
    pub system: Option<String>,
    /// The conversation.
    pub messages: Vec<Said>,
    /// The functions that may be called.
    pub tools: Vec<Offered>,
    /// Whether the answer is to be streamed.
    pub is_streamed: bool,
    /// Whether a streamed answer is to have its tokens.
    pub with_usage: bool,
}

/// A message.
#[derive(Debug)]
pub enum Said {
    /// The user's.
    User(String),
    /// The model's.
    Assistant {
        /// What it thought.
        thoughts: Option<Thoughts>,
        /// What it said.
        text: String,
        /// What it called.
        calls: Vec<Call>,
    },
    /// The results of calls.
    Results(Vec<Given>),
}

/// The result of a call.
#[derive(Debug)]
pub struct Given {
    /// The call's id, where the provider has one.
    pub id: Option<String>,
    /// The function, where the provider wants it named.
    pub name: Option<String>,
    /// The result.
    pub text: String,
}

/// A function that may be called.
#[derive(Debug)]
pub struct Offered {
    /// Its name.
    pub name: String,
    /// The arguments it needs.
    pub required: Vec<String>,
}

/// A function call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The provider's id for it, if it has one.
    pub id: Option<String>,
    /// The function.
    pub name: String,
    /// Its arguments.
    pub arguments: Value,
}

/// What a model thought, with the signature without which it does not take it back.
#[derive(Debug, Clone, PartialEq)]
pub struct Thoughts {
    /// Its words, except where they do not come back.
    pub words: Option<String>,
    /// Their signature.
    pub signature: String,
}
