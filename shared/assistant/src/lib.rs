//! The assistant: a model, the functions it may call, and the turn in which it is asked. Functions
//! that take turns share this crate; no other crate links a model's client.

mod config;
mod context;
mod metrics;
mod model;
mod partial;
mod recordings;
mod turn;

pub use config::AssistantConfig;
pub use model::{Delivery, Model, ModelFailure, Piece, Sink};
pub use turn::{Assistant, StreamStart, TurnEnd};
