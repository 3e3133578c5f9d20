//! How an answer reaches the one who asked for it.

use std::time::Duration;

use serde_json::Value;

/// What a model gives while it answers, in order.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// Text. All texts together are the answer's content, exactly as it is stored.
    Text(&'a str),
    /// A call that the model made, with its result, as in the answer's `function_calls`.
    FunctionCall(&'a Value),
    /// The recordings that are recommended with the answer, as far as it is known: they replace those before.
    Recordings(&'a [Value]),
}

/// Takes the pieces of an answer.
pub type Sink<'a> = &'a mut (dyn FnMut(Piece<'_>) + Send);

/// How an answer is delivered.
pub enum Delivery<'a> {
    /// In one piece, when it is complete: nothing is given before.
    Whole,
    /// As it is written.
    Streamed {
        /// Takes the answer's pieces. They may be followed by a failure.
        sink: Sink<'a>,
        /// How long the model may give nothing at all.
        silence: Duration,
    },
}
