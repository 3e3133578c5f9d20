//! The assistant: a model, the functions it may call, and the turn in which it is asked. Functions
//! that take turns share this crate; no other crate links a model's client.

mod agent;
pub mod catalogue;
mod config;
mod context;
mod embeddings;
mod metrics;
mod model;
mod partial;
mod tools;
mod turn;

pub use agent::{Agent, Conversation};
pub use config::AssistantConfig;
pub use context::Fitted;
pub use embeddings::Embeddings;
pub use model::{Delivery, ModelFailure, Piece, Sink};
pub use turn::{Assistant, StreamStart, TurnEnd};
