//! The contract, tested against real components: PostgreSQL, HTTP, the command line, Lambda events.
//!
//! Each test has its own database and asserts on nothing global. A missing PostgreSQL is a failure,
//! never a skip.

// A helper that cannot continue fails its test.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod arrows;

/// What each endpoint answers. These tests can run against the local server and the emulator too.
mod endpoints {
    mod chat;
    mod export;
    mod history;
    mod links;
    mod load_session;
    mod reset;
    mod search;
    mod seed_examples;
    mod sessions;
    mod status;
    mod stream;
}

/// How a turn runs and what of it is kept: models, repetition, concurrency, faults in the middle.
mod turns {
    mod catalogue_file;
    mod concurrency;
    mod context;
    mod crowd;
    mod embeddings;
    mod kill_nine;
    mod model;
    mod model_based;
    mod model_streams {
        mod answers;
        mod bedrock;
        mod failures;
        pub mod streamed;
    }
    mod outages;
    mod providers {
        mod answers;
        mod one_turn;
        mod requests;
    }
    mod recommendations;
    mod record;
    mod repetition;
    mod retries;
    mod stream_faults;
    mod tools;
}

/// What is erased, and what is kept.
mod erasing {
    mod commands;
    mod kill_nine;
    mod owner;
    mod record;
    mod retention;
}

/// The connection, the schema and the roles.
mod database {
    mod credentials;
    mod distribution;
    mod faults;
    mod migrate;
    mod pool;
    mod poolers;
    mod recordings;
    mod roles;
    mod round_trips;
    mod search;
    mod takeover;
    mod tls;
    mod wire_faults;
}

/// How the functions are reached, deployed and operated: events, routes, template, log.
mod delivery {
    mod authorizer;
    mod contract;
    mod cors_and_routes;
    mod dependencies;
    mod emulator;
    mod environment;
    mod event_sources;
    mod operations;
    mod streaming;
    mod template;
}

/// What `cargo run` offers.
mod local {
    mod audio;
    mod chat;
    mod server;
    mod tokens;
    mod transfer;
    mod verify;
}
