//! Several connections for many callers: opened as they are needed, replaced when they die, and never
//! more than the setting or the server allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;
use uuid::Uuid;

use support::api::Answer;
use support::proxy::Proxy;
use support::{TestApi, postgres};

const CALLERS: usize = 64;

const CONNECTIONS: usize = 8;

const SETTINGS: [(&str, &str); 1] = [("DATABASE_CONNECTIONS", "8")];

/// The default timeout for connecting: how long the first caller tries when the database is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A turn of each of [`CALLERS`], all concurrently, each in a session of its own.
async fn turns(api: &TestApi) -> Vec<Answer> {
    let turn = || api.chat(json!({ "query": "Hi", "session_id": Uuid::now_v7() }));
    join_all((0..CALLERS).map(|_| turn())).await
}

#[track_caller]
fn assert_all_answered(answers: &[Answer]) {
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// How long a status takes while a turn in another session waits for a lock.
async fn status_beside_a_lock(connections: &str) -> Duration {
    let api = TestApi::with_settings(&[("DATABASE_CONNECTIONS", connections)]).await;
    let (locked, free) = (api.session(&["Hi"]).await, api.session(&["Hi"]).await);
    let holder = api.connection().await;
    let lock = format!("begin; select from chat_sessions where session_id = '{locked}' for update");
    holder.client().batch_execute(&lock).await.unwrap();
    let api = Arc::new(api);
    let turn = api.chat_meanwhile(json!({ "query": "Hi", "session_id": locked }));
    let waiting = "select count(*) from pg_stat_activity
                   where wait_event_type = 'Lock' and datname = current_database()";
    while api.number(waiting).await == 0 {
        sleep(Duration::from_millis(5)).await;
    }

    let started = Instant::now();
    let status = api.status(free).await;
    let elapsed = started.elapsed();

    assert_eq!(status.status, 200, "{}", status.body);
    holder.client().batch_execute("rollback").await.unwrap();
    let turn = turn.await.unwrap();
    assert!([200, 504].contains(&turn.status), "{}", turn.body);
    elapsed
}

#[tokio::test]
async fn a_statement_that_waits_for_a_lock_holds_up_nobody_else() {
    let elapsed = status_beside_a_lock("2").await;
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
    // The same with one connection takes until the statement is cancelled.
    let elapsed = status_beside_a_lock("1").await;
    assert!(elapsed > Duration::from_secs(2), "{elapsed:?}");
}

#[tokio::test]
async fn connections_are_opened_as_they_are_needed_and_no_more_than_the_setting_says() {
    let (api, proxy) = TestApi::behind_proxy(&SETTINGS).await;
    api.session(&["one", "two", "three"]).await;
    assert_eq!(proxy.connections(), 1, "one caller needs no more");

    // Long enough for statements to overlap.
    api.slow_messages(0.05).await;
    for _ in 0..2 {
        assert_all_answered(&turns(&api).await);
        assert_eq!(proxy.connections(), CONNECTIONS);
    }
    assert_eq!(proxy.most_at_once(), 1, "each statement on its own");
    api.verify().await;
}

#[tokio::test]
async fn connections_that_are_all_cut_are_replaced_unnoticed() {
    let api = Arc::new(TestApi::with_settings(&SETTINGS).await);
    api.slow_messages(0.02).await;
    // Idle ones.
    assert_all_answered(&turns(&api).await);
    api.cut_connections().await;
    assert_all_answered(&turns(&api).await);

    // Those in use.
    let is_over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (api, is_over) = (Arc::clone(&api), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    let body = json!({ "query": "Hi", "session_id": Uuid::now_v7() });
                    let answer = api.chat(body).await;
                    assert_eq!(answer.status, 200, "{}", answer.body);
                }
            })
        })
        .collect();
    // Once: a statement is repeated once.
    sleep(Duration::from_millis(200)).await;
    api.cut_connections().await;
    sleep(Duration::from_millis(200)).await;
    is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    api.verify().await;
}

#[tokio::test]
async fn paths_that_all_died_cost_a_request_one_timeout() {
    let (api, proxy) = TestApi::behind_proxy(&SETTINGS).await;
    api.slow_messages(0.05).await;
    assert_all_answered(&turns(&api).await);
    proxy.swallow_packets();
    let started = Instant::now();

    let answer = api.service_status().await;

    assert_eq!(answer.status, 200, "{}", answer.body);
    // A statement's 4 s, and the second in which its cancellation is not answered.
    assert!(
        started.elapsed() < Duration::from_secs(7),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_server_with_fewer_free_slots_serves_callers_with_those() {
    let database = postgres::migrated_database().await;
    let role = format!("few_{}", Uuid::new_v4().simple());
    postgres::run(
        &database,
        &format!(
            "create role {role} login password 'p' connection limit 2;
             grant select, insert, update on all tables in schema public to {role};
             grant execute on all functions in schema public to {role}"
        ),
    )
    .await;
    // Past a pooler, which has slots for everyone.
    let proxy = Proxy::start(postgres::server().port()).await;
    let url = proxy.through(&postgres::url_as(&role, "p", &database));
    let api = TestApi::on(database, &url, &SETTINGS).await;
    api.slow_messages(0.01).await;

    assert_all_answered(&turns(&api).await);

    // Those two, and now and then a try, but not one for each caller.
    assert!(proxy.connections() < 10, "{}", proxy.connections());
}

#[tokio::test]
async fn callers_of_a_database_that_is_down_share_the_failure() {
    // Nothing listens behind the proxy.
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(unused.local_addr().unwrap().port()).await;
    drop(unused);
    let url = proxy.through("postgresql://u:p@127.0.0.1:1/d");
    let api = TestApi::on(String::new(), &url, &SETTINGS).await;
    let started = Instant::now();

    let requests = (0..CALLERS).map(|_| api.service_status());
    for answer in join_all(requests).await {
        answer.assert_problem(503, "database_unavailable");
    }

    let elapsed = started.elapsed();
    assert!(elapsed < 2 * CONNECT_TIMEOUT, "{elapsed:?}");
    // One caller tries, with pauses that double.
    assert!(proxy.connections() < 10, "{}", proxy.connections());
}
