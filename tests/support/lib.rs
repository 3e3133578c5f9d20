//! The tests' foundation: a real server, an API on its own database, a model server, a proxy.

// A helper that cannot continue fails its test.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

pub mod agent;
pub mod api;
pub mod aws;
pub mod contract;
pub mod conversation;
pub mod embedder;
pub mod emulator;
pub mod https;
pub mod iam_gate;
pub mod issuer;
pub mod lambda;
pub mod legacy;
pub mod local_run;
pub mod log;
pub mod maintain;
pub mod model_server;
pub mod model_stream;
pub mod pgbouncer;
pub mod postgres;
pub mod providers;
pub mod proxy;
pub mod python;
pub mod recordings;
pub mod stream;
pub mod tls_server;
pub mod tool_server;
pub mod yaml;

pub use api::TestApi;
pub use rig::{certificates, ports, programs};
