//! The HTTP boundary: events and requests in, answers and log lines out.

pub mod body;
pub(crate) mod configured;
pub mod cors;
pub mod cursor;
mod emf;
pub mod endpoint;
pub mod event;
pub mod events;
mod identity;
mod line;
pub mod reporter;
pub mod request;
pub mod response;
pub mod route;
