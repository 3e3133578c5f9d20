//! What the tests stand on: a real server, an API on a database of its own, a model server, a proxy.

pub mod api;
pub mod local_run;
pub mod model_server;
pub mod postgres;
pub mod proxy;

pub use api::TestApi;
