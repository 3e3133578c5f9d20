//! The code shared by all of Daissy's functions: three wings on common ground.
//!
//! [`database`] is the connection to PostgreSQL and knows no table; [`store`] holds every
//! statement; [`http`] is the boundary. `store` and `http` do not know each other. [`problem`]
//! lists what can go wrong in either. Everything else is ground and knows no wing. [`lambda`] puts
//! them together.
//!
//! Nothing here knows a route or a model. A function is an [`http::endpoint::Endpoint`]: it reads
//! typed values from a [`http::request::Request`], makes one call to the store, and returns a
//! [`http::endpoint::Reply`] or a [`problem::Problem`].

pub mod aws;
pub mod buckets;
pub mod caller;
pub mod causes;
pub mod database;
pub mod http;
mod https;
pub mod ids;
pub mod jwt;
pub mod lambda;
pub mod logging;
pub mod observed;
pub mod problem;
pub mod settings;
pub mod store;
pub mod time;

/// The version of the product, as `status` reports it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
