//! Sessions to a file in JSON Lines, and back.

pub(crate) mod export;
mod foreign;
pub(crate) mod import;
mod line;
mod session;
