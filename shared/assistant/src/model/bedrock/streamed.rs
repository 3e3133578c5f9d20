//! Puts the events of a streamed answer together, in the form in which Converse gives a whole one.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::failure::ModelFailure;
use super::frames::Event;

/// A streamed answer, as far as it has come.
#[derive(Debug, Default)]
pub struct StreamedAnswer {
    /// By their position.
    blocks: BTreeMap<u64, Block>,
    stop_reason: Value,
    usage: Value,
}

/// A block of the answer, as far as it has come: text, a call or reasoning.
#[derive(Debug, Default)]
struct Block {
    text: String,
    /// Name and id of a call.
    call: Map<String, Value>,
    /// The arguments of a call, as JSON.
    input: String,
    reasoning: String,
    signature: String,
    redacted: String,
}

impl StreamedAnswer {
    /// Adds an event, and returns the text in it. Events of other kinds are of no use here.
    pub fn add<'a>(&mut self, event: &'a Event) -> Option<&'a str> {
        let data = &event.data;
        match event.kind.as_str() {
            "contentBlockStart" => {
                if let Value::Object(call) = &data["start"]["toolUse"] {
                    self.block(data).call = call.clone();
                }
                None
            }
            "contentBlockDelta" => self.block(data).add(&data["delta"]),
            "messageStop" => {
                self.stop_reason = data["stopReason"].clone();
                None
            }
            "metadata" => {
                self.usage = data["usage"].clone();
                None
            }
            _ => None,
        }
    }

    fn block(&mut self, data: &Value) -> &mut Block {
        let position = data["contentBlockIndex"].as_u64().unwrap_or_default();
        self.blocks.entry(position).or_default()
    }

    /// Whether nothing more will come.
    pub fn is_complete(&self) -> bool {
        self.has_stopped() && !self.usage.is_null()
    }

    fn has_stopped(&self) -> bool {
        !self.stop_reason.is_null()
    }

    /// The answer, as Converse gives it.
    ///
    /// # Errors
    /// [`ModelFailure`] if the model had not stopped by itself.
    pub fn finish(self) -> Result<Value, ModelFailure> {
        if !self.has_stopped() {
            return Err(ModelFailure::ended_early());
        }
        let blocks = self.blocks.into_values().filter_map(Block::finish);
        let blocks = blocks.collect::<Result<Vec<Value>, ModelFailure>>()?;
        Ok(json!({
            "output": { "message": { "role": "assistant", "content": blocks } },
            "stopReason": self.stop_reason,
            "usage": self.usage,
        }))
    }
}

impl Block {
    fn add<'a>(&mut self, delta: &'a Value) -> Option<&'a str> {
        let reasoning = &delta["reasoningContent"];
        for (part, addition) in [
            (&mut self.text, &delta["text"]),
            (&mut self.input, &delta["toolUse"]["input"]),
            (&mut self.reasoning, &reasoning["text"]),
            (&mut self.signature, &reasoning["signature"]),
            (&mut self.redacted, &reasoning["redactedContent"]),
        ] {
            part.push_str(addition.as_str().unwrap_or_default());
        }
        delta["text"].as_str()
    }

    /// The block; `None` for one of which nothing came, which Bedrock would not take back.
    fn finish(mut self) -> Option<Result<Value, ModelFailure>> {
        if !self.call.is_empty() {
            let input = match self.input.as_str() {
                "" => Ok(json!({})),
                input => serde_json::from_str(input),
            };
            return Some(match input {
                Ok(input) => {
                    self.call.insert("input".to_owned(), input);
                    Ok(json!({ "toolUse": self.call }))
                }
                Err(_) => Err(ModelFailure::new(
                    "the arguments of a function call are not JSON",
                )),
            });
        }
        if !self.redacted.is_empty() {
            return Some(Ok(
                json!({ "reasoningContent": { "redactedContent": self.redacted } }),
            ));
        }
        if !self.reasoning.is_empty() || !self.signature.is_empty() {
            let mut reasoning = json!({ "text": self.reasoning });
            if !self.signature.is_empty() {
                reasoning["signature"] = Value::String(self.signature);
            }
            return Some(Ok(
                json!({ "reasoningContent": { "reasoningText": reasoning } }),
            ));
        }
        (!self.text.is_empty()).then(|| Ok(json!({ "text": self.text })))
    }
}
