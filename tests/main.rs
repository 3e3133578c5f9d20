//! The contract, tested against real components: PostgreSQL, HTTP, the command line, Lambda events.
//!
//! Each test has its own database and asserts on nothing global. A missing PostgreSQL is a failure,
//! never a skip.

// A helper that cannot continue fails its test.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod arrows;
mod chat;
mod concurrency;
mod cors_and_routes;
mod credentials;
mod database_faults;
mod emulator;
mod environment;
mod event_sources;
mod history;
mod kill_nine;
mod load_session;
mod local_server;
mod migrate;
mod model;
mod model_based;
mod operations;
mod outages;
mod poolers;
mod repetition;
mod reset;
mod roles;
mod round_trips;
mod seed_examples;
mod status;
mod support;
mod template;
mod tls;
mod verify;
mod wire_faults;
