//! What every function of Daissy shares, in three wings on common ground.
//!
//! [`database`] is the connection to PostgreSQL and knows no table; [`store`] holds every statement;
//! [`http`] is the boundary. `store` and `http` know nothing of each other. [`problem`] is what can go
//! wrong, for both, and everything else is ground that knows no wing. [`lambda`] puts them together.
//!
//! Nothing here knows a route or a model. A function is an [`http::endpoint::Endpoint`]; it reads typed
//! values from a [`http::request::Request`], asks the store once, and answers with a
//! [`http::endpoint::Reply`] or a [`problem::Problem`].

pub mod aws;
pub mod caller;
pub mod causes;
pub mod database;
pub mod http;
pub mod ids;
pub mod lambda;
pub mod logging;
pub mod observed;
pub mod problem;
pub mod settings;
pub mod store;
pub mod time;

/// The version of the product, as `status` reports it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
