//! The table `audio_resources`: the catalogue of recordings that the assistant may recommend, and the search
//! in it.

mod embeddings;
mod import;
mod listing;
mod only_row;
mod recording;
mod search;

pub use embeddings::{Embedded, Unembedded, index, set_embeddings, without_embedding};
pub use import::{Put, changed, put, remove};
pub use listing::{Listed, known, list, whole};
pub use recording::{MAX_TRANSCRIPT_CHARACTERS, Recording};
pub use search::{Embedding, Found, Given, Ranked, Search, search};
