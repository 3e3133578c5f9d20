//! A real PostgreSQL as a child process: found on this machine or downloaded, set up, started, and
//! stopped when this process ends, however it ends.

mod account;
mod error;
mod files;
mod folder;
mod home;
mod packages;
mod process;
mod programs;
mod search;

pub use error::PostgresError;
pub use folder::Durability;
pub(crate) use folder::url_in;
pub use process::{DATABASE, PostgresServer};
