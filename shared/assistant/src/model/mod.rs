//! The models that answer, and in which order they are asked.

mod bedrock;
mod built_in;
mod delivery;
mod draft;
pub mod failure;
mod kinds;
mod models;
pub mod provider;
pub mod remote;
mod storable;

pub use self::delivery::{Delivery, Piece, Sink};
pub use self::draft::Draft;
pub use self::failure::ModelFailure;
pub use self::kinds::Model;
pub use self::models::{Attempts, Models};
pub use self::provider::Rank;
pub use self::remote::Remote;
pub use self::storable::{storable, storable_text, those_that_fit};
