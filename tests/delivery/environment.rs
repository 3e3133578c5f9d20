//! The connection during the life of a Lambda environment: opened in advance, kept, frozen, found dead,
//! shared, closed.

use std::time::{Duration, Instant};

use serde_json::json;

use support::lambda::Environment;
use support::postgres;
use support::proxy::Proxy;

/// A database behind a proxy; returns its name, the proxy and the connection string.
async fn database() -> (String, Proxy, String) {
    let database = postgres::migrated_database().await;
    let proxy = Proxy::start(postgres::app_port()).await;
    let url = proxy.through(&postgres::app_url(&database));
    (database, proxy, url)
}

/// Waits until `reached` returns true.
async fn until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_connection_is_made_before_the_first_request_and_kept() {
    let (_, proxy, url) = database().await;
    let environment = Environment::start(&url, &[]).await;
    environment.started().await;
    assert_eq!(proxy.connections(), 1);

    for _ in 0..3 {
        let (status, body) = environment.service_status().await;
        assert_eq!((status, &body["service"]["database"]), (200, &json!("ok")));
    }

    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_died_while_frozen_is_replaced_unnoticed() {
    let (database, proxy, url) = database().await;
    let environment = Environment::start(&url, &[]).await;
    assert_eq!(environment.service_status().await.0, 200);

    environment.freeze();
    postgres::cut_connections(&database).await;
    proxy.cut_all();
    environment.thaw();

    let (status, body) = environment.service_status().await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn a_dead_network_path_is_detected_by_the_probe() {
    let (_, proxy, url) = database().await;
    let settings = [("DATABASE_IDLE_CHECK_SECONDS", "0")];
    let environment = Environment::start(&url, &settings).await;
    assert_eq!(environment.service_status().await.0, 200);

    proxy.swallow_packets();
    let started = Instant::now();
    let (status, body) = environment.service_status().await;

    assert_eq!(status, 200, "{body}");
    // One second for the probe; a statement would have waited for four.
    let took = started.elapsed();
    assert!(took > Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_millis(3900), "{took:?}");
}

#[tokio::test]
async fn a_database_that_is_down_at_startup_is_reported_and_found_later() {
    let database = postgres::migrated_database().await;
    let nobody = support::ports::free_port();
    let proxy = Proxy::start(nobody).await;
    let url = proxy.through(&postgres::app_url(&database));
    let environment = Environment::start(&url, &[]).await;

    let (status, body) = environment.service_status().await;
    assert_eq!(
        (status, &body["code"]),
        (503, &json!("database_unavailable"))
    );

    proxy.lead_to(postgres::app_port());
    assert_eq!(environment.service_status().await.0, 200);
}

#[tokio::test]
async fn a_function_that_is_not_configured_says_so_and_logs_why_once() {
    let cases = [
        ("", "DATABASE_URL is not set"),
        (
            "postgresql://u:hunter2@h/d?colour=blue",
            "the parameter colour",
        ),
    ];
    for (url, reason) in cases {
        let environment = Environment::start(url, &[]).await;
        for _ in 0..3 {
            let started = Instant::now();
            let (status, body) = environment.service_status().await;
            assert_eq!(
                (status, &body["code"]),
                (500, &json!("not_configured")),
                "{body}"
            );
            assert!(!body.to_string().contains("DATABASE_URL"), "{body}");
            assert!(started.elapsed() < Duration::from_secs(3));
        }
        let log = environment.log();
        assert_eq!(log.matches(reason).count(), 1, "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_answered_and_the_function_lives_on() {
    let (_, _, url) = database().await;
    let environment = Environment::start(&url, &[]).await;
    let odd = [
        json!({ "detail": {} }),
        json!("text"),
        json!({
            "rawPath": "/chat/status", "rawQueryString": "x".repeat(70_000),
            "requestContext": { "http": { "method": "GET" } },
        }),
    ];
    for event in odd {
        let answer = environment.invoke(event).await;
        assert_eq!(answer["statusCode"], 400, "{answer}");
        assert!(answer["headers"]["x-request-id"].is_string(), "{answer}");
        let body: serde_json::Value =
            serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["code"], "invalid_request");
    }
    assert_eq!(environment.service_status().await.0, 200);
}

#[tokio::test]
async fn concurrent_invocations_share_a_few_connections() {
    const AT_ONCE: usize = 20;
    let (_, proxy, url) = database().await;
    let settings = [("AWS_LAMBDA_MAX_CONCURRENCY", "20")];
    let environment = Environment::start(&url, &settings).await;

    let requests = (0..5 * AT_ONCE).map(|_| environment.service_status());
    for (status, body) in futures_util::future::join_all(requests).await {
        assert_eq!(status, 200, "{body}");
    }

    until("it asks for several concurrently", || {
        environment.most_asking() == AT_ONCE
    })
    .await;
    assert!(proxy.connections() <= 8, "{}", proxy.connections());
    assert_eq!(proxy.most_at_once(), 1);

    let connections = proxy.connections();
    assert!(environment.end().await, "it ends with exit code 0");
    until("it says goodbye on each", || {
        proxy.goodbyes() == connections
    })
    .await;
}

#[tokio::test]
async fn the_connection_is_closed_politely_when_the_environment_ends() {
    let (_, proxy, url) = database().await;
    let environment = Environment::start(&url, &[]).await;
    assert_eq!(environment.service_status().await.0, 200);
    assert_eq!(proxy.goodbyes(), 0);

    assert!(environment.end().await, "it ends with exit code 0");

    until("it says goodbye", || proxy.goodbyes() == 1).await;
}

#[tokio::test]
async fn a_snapshot_holds_no_connection_and_a_new_one_is_made_after_it() {
    let (_, proxy, url) = database().await;
    let settings = [("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")];
    let environment = Environment::start(&url, &settings).await;

    environment.snapshot_taken().await;
    until("it says goodbye", || proxy.goodbyes() == 1).await;
    let before = proxy.connections();

    environment.restore();
    until("it connects again", || proxy.connections() == before + 1).await;
    assert_eq!(environment.service_status().await.0, 200);
    assert_eq!(proxy.connections(), before + 1);
}
