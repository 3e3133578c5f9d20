//! The cost of each request, as a ratio to the floor of the same run: one round trip to the same
//! PostgreSQL for a statement that does nothing.
//!
//! `cargo bench --package tests`. Each request is measured on a session of 10 messages and on one of
//! 100,000: the two should not differ. The time includes the local server's routing, not HTTP.
//!
//! Also the cost of verified TLS in a cold start, as a ratio to one without TLS, from the start of the
//! process until it asks for its first invocation.

// Its output is its result, and a failed step ends it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

use std::time::{Duration, Instant};

use serde_json::json;
use shared::database::{Database, DatabaseConfig};
use support::certificates::Authority;
use support::lambda::Environment;
use support::tls_server::{EVERYBODY, TlsServer};
use support::{TestApi, postgres};

/// How often to send each request; the median counts.
const TIMES: usize = 500;

/// How often to start a function.
const STARTS: usize = 20;

/// The number of messages in each of the two sessions.
const LENGTHS: [usize; 2] = [10, 100_000];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let api = TestApi::start().await;
    let url = postgres::app_url(&api.database);
    let database = Database::new(DatabaseConfig::parse(&url).unwrap());
    let sessions = [
        api.long_session(LENGTHS[0], 100).await,
        api.long_session(LENGTHS[1], 100).await,
    ];
    api.sql("vacuum (analyze)").await;

    let floor = median(async || {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        database.query(deadline, "select 1", &[]).await.unwrap();
    })
    .await;
    println!(
        "floor: one round trip, {:.0} µs (median of {TIMES})",
        micros(floor)
    );
    println!(
        "{:<24}{:>14}{:>16}",
        "times the floor", "10 messages", "100,000 messages"
    );

    for name in ["status", "history, a page of 10", "load", "chat"] {
        let mut ratios = Vec::new();
        for session_id in sessions {
            let took = median(async || {
                let answer = match name {
                    "status" => api.status(session_id).await,
                    "load" => api.load(session_id).await,
                    "chat" => {
                        api.chat(json!({ "query": "Hi", "session_id": session_id }))
                            .await
                    }
                    _ => api.history(session_id, "?limit=10&order=desc").await,
                };
                assert_eq!(answer.status, 200, "{}", answer.body);
            })
            .await;
            ratios.push(took.as_secs_f64() / floor.as_secs_f64());
        }
        println!("{name:<24}{:>14.1}{:>16.1}", ratios[0], ratios[1]);
    }
    cold_starts().await;
}

async fn cold_starts() {
    let authority = Authority::new("known");
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, &authority.certificate).unwrap();
    let server = TlsServer::start().await;
    server
        .configure(Some(&authority.sign("localhost")), "", EVERYBODY)
        .await;
    let plain = format!("{} sslmode=disable", server.parameters());
    let verified = format!(
        "{} sslmode=verify-full sslrootcert={}",
        server.parameters(),
        roots.display()
    );
    // By default OpenSSL reads the system's authorities first; functions are told not to.
    let system = "/etc/ssl/certs/ca-certificates.crt";

    let floor = cold_start(&plain, &[]).await;
    println!(
        "\nfloor: a cold start without TLS, {:.1} ms (median of {STARTS})",
        micros(floor) / 1e3
    );
    println!("{:<40}{:>14}", "", "times the floor");
    for (name, settings) in [
        ("verified TLS", &[][..]),
        (
            "verified TLS, system's authorities read",
            &[("SSL_CERT_FILE", system)][..],
        ),
    ] {
        let took = cold_start(&verified, settings).await;
        println!(
            "{name:<40}{:>14.1}",
            took.as_secs_f64() / floor.as_secs_f64()
        );
    }
}

/// The median time from the start of the process until it asks for an invocation.
async fn cold_start(url: &str, settings: &[(&str, &str)]) -> Duration {
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let started = Instant::now();
        let environment = Environment::start(url, settings).await;
        environment.started().await;
        times.push(started.elapsed());
    }
    times.sort();
    times[STARTS / 2]
}

/// The median time of work done [`TIMES`] times.
async fn median(work: impl AsyncFn()) -> Duration {
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let started = Instant::now();
        work().await;
        times.push(started.elapsed());
    }
    times.sort();
    times[TIMES / 2]
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
