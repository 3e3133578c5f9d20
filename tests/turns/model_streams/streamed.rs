//! What the tests of streamed answers share.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use assistant::{Agent, AssistantConfig, Delivery, ModelFailure, Piece};
use serde_json::{Value, json};
use shared::store::turns::Answer;
use tokio::time::timeout;

use support::agent::greet;
use support::model_server::Reply;
use support::model_stream::Part;

/// How long the models of these tests may be silent.
pub const SILENCE: Duration = Duration::from_millis(700);

/// More than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(20);

/// What a streamed answer gave on the way, and what it is.
pub struct Streamed {
    /// Texts as strings, function calls as objects.
    pub pieces: Vec<Value>,
    /// What it ended with.
    pub answer: Result<Answer, ModelFailure>,
    /// How long it took.
    pub took: Duration,
}

impl Streamed {
    /// All texts.
    pub fn texts(&self) -> String {
        self.pieces.iter().filter_map(Value::as_str).collect()
    }

    /// The answer, whose parts must be what was given.
    pub fn answer(&self) -> &Answer {
        let answer = self.answer.as_ref().unwrap();
        assert_eq!(self.texts(), answer.content);
        let calls: Vec<&Value> = self
            .pieces
            .iter()
            .filter(|piece| piece.is_object())
            .collect();
        assert_eq!(calls, answer.function_calls.iter().collect::<Vec<_>>());
        answer
    }
}

/// The agent with the model that these settings name.
pub async fn agent(settings: &[(&str, &str)]) -> Agent {
    let settings: HashMap<&str, &str> = settings.iter().copied().collect();
    let variable = |name: &str| settings.get(name).map(|value| (*value).to_owned());
    AssistantConfig::read(variable).await.unwrap().agent
}

/// Streams an answer.
pub async fn stream(agent: &Agent) -> Streamed {
    let mut pieces = Vec::new();
    let mut sink = |piece: Piece<'_>| {
        pieces.push(match piece {
            Piece::Text(text) => json!(text),
            Piece::FunctionCall(call) => call.clone(),
            Piece::Recordings(_) => panic!("there is no catalogue"),
        });
    };
    let delivery = Delivery::Streamed {
        sink: &mut sink,
        silence: SILENCE,
    };
    let started = Instant::now();
    let answer = timeout(LIMIT, greet(agent, delivery)).await;
    Streamed {
        answer: answer.expect("it ends by itself"),
        took: started.elapsed(),
        pieces,
    }
}

/// Server-sent events.
pub fn events(parts: impl Into<Vec<Part>>) -> Reply {
    Reply::Stream("text/event-stream", parts.into())
}

/// A message of the assistant that says something and calls a function.
pub fn says_and_calls(content: &str) -> Reply {
    let call = json!({
        "id": "call_1", "type": "function",
        "function": { "name": "recommend_audio", "arguments": "{\"topic\": \"sleep\"}" },
    });
    Reply::Message(json!({ "role": "assistant", "content": content, "tool_calls": [call] }))
}
