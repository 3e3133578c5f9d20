//! The database fails in the middle of a thousand requests: connections are cut, packets dropped, the
//! server restarted. Each request is answered in time, and nothing is lost or duplicated.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use local::postgres::{Durability, PostgresServer};
use serde_json::json;
use uuid::Uuid;

use support::proxy::Proxy;
use support::{TestApi, postgres};

const REQUESTS: usize = 1000;

const CALLERS: usize = 20;

/// The environments that share the callers' requests.
const ENVIRONMENTS: usize = 4;

/// The longest a turn may take according to docs/configuration.md: two statements, each with connecting, giving up
/// and repeating (9 s).
const BOUND: Duration = Duration::from_secs(18);

/// Timeout for a statement; a dead path shows in no other way.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// Half of the requests are turns, the others reads; each is repeated until it succeeds. Returns the
/// longest time, and how many repetitions there were.
async fn caller(api: &TestApi, done: &AtomicUsize) -> (Duration, usize) {
    let session_id = Uuid::now_v7();
    let (mut longest, mut asked_again) = (Duration::ZERO, 0);
    for turn in 0..REQUESTS / CALLERS / 2 {
        let body = json!({
            "query": format!("turn {turn}"),
            "session_id": session_id,
            "message_id": Uuid::now_v7(),
        });
        for is_turn in [true, false] {
            loop {
                let started = Instant::now();
                let answer = if is_turn {
                    api.chat(body.clone()).await
                } else {
                    api.history(session_id, "").await
                };
                longest = longest.max(started.elapsed());
                if answer.status == 200 {
                    break;
                }
                answer.assert_problem(503, "database_unavailable");
                assert!(answer.headers.contains_key("retry-after"));
                asked_again += 1;
            }
            done.fetch_add(1, Ordering::SeqCst);
        }
    }
    let said = api.history(session_id, "").await.said();
    assert_eq!(
        said.len(),
        REQUESTS / CALLERS,
        "each turn is there, and once"
    );
    (longest, asked_again)
}

async fn at(done: &AtomicUsize, requests: usize) {
    while done.load(Ordering::SeqCst) < requests {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn start_server(folder: &Path) -> PostgresServer {
    postgres::another_server(&folder.join("server"), Durability::Durable).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_outlive_a_cut_a_dead_path_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_server(folder.path()).await;
    let url = server.url("daissy");
    postgres::migrate(&url).await;
    let proxy = Proxy::start(server.port()).await;
    let through = proxy.through(&url);
    let api = TestApi::on_in_environments("daissy".into(), &through, &[], ENVIRONMENTS).await;
    let (api, done) = (Arc::new(api), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (api, done) = (Arc::clone(&api), Arc::clone(&done));
            tokio::spawn(async move { caller(&api, &done).await })
        })
        .collect();

    at(&done, REQUESTS / 4).await;
    let administrator = postgres::connect(&url).await;
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()
               and backend_type = 'client backend'";
    administrator.client().batch_execute(cut).await.unwrap();
    drop(administrator);

    at(&done, REQUESTS / 2).await;
    proxy.swallow_packets();

    at(&done, REQUESTS * 3 / 4).await;
    server.stop().await;
    let server = start_server(folder.path()).await;
    proxy.lead_to(server.port());

    let mut slowest = Duration::ZERO;
    for caller in callers {
        let (longest, asked_again) = caller.await.unwrap();
        slowest = slowest.max(longest);
        assert!(longest < BOUND, "a request took {longest:?}");
        // A 503 while there is no server at all is acceptable; more would mean giving up too early.
        assert!(asked_again <= 2, "asked again {asked_again} times");
    }
    assert!(slowest > STATEMENT_TIMEOUT, "no path was dead: {slowest:?}");
    // One connection for each environment, and another after each of the three losses.
    assert!(
        proxy.connections() >= 4 * ENVIRONMENTS,
        "{}",
        proxy.connections()
    );
    let config = shared::database::DatabaseConfig::parse(&server.url("daissy")).unwrap();
    assert_eq!(local::verify::violations(&config).await.unwrap(), []);
}
