//! What every function of Daissy shares: configuration, the database connection, the two tables and
//! the HTTP border.
//!
//! Nothing here knows a route or a model. A function is an [`endpoint::Endpoint`]; it reads typed
//! values from a [`request::Request`], asks one of the table modules once, and answers with a
//! [`endpoint::Reply`] or a [`problem::Problem`].

pub mod aws;
pub mod caller;
pub mod causes;
mod configured;
pub mod cursor;
pub mod database;
pub mod endpoint;
pub mod event;
pub mod fields;
pub mod ids;
pub mod lambda;
pub mod logging;
pub mod messages;
mod metrics;
pub mod monitor;
pub mod problem;
pub mod record;
pub mod request;
pub mod route;
pub mod sessions;
pub mod settings;
pub mod time;
pub mod turns;

/// The version of the product, as `status` reports it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
