//! Methods, paths, CORS and the headers of every answer, as the local server routes them.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request};
use local::endpoints;
use serde_json::{Value, json};
use uuid::Uuid;

use support::TestApi;

/// The headers that a page needs: with the last, a stream is taken up again.
const ASKED_FOR: &str = "authorization,content-type,last-event-id";

#[tokio::test]
async fn a_path_that_is_no_route_is_not_found() {
    let api = TestApi::start().await;
    for path in [
        "/",
        "/chat/",
        "/Chat",
        "/chat/history",
        "/chat/history/",
        "/chat/status/",
        "/chat/reset/x",
        "/prod/chat",
        "/chat//status",
    ] {
        for method in [Method::GET, Method::POST] {
            api.request(method, path)
                .await
                .assert_problem(404, "route_not_found");
        }
    }
    let session_id = Uuid::now_v7().to_string();
    for route in endpoints::table()
        .iter()
        .flat_map(|endpoint| endpoint.routes)
    {
        let path = route.path.replace("{session_id}", &session_id) + "/";
        api.request(route.method.parse().unwrap(), &path)
            .await
            .assert_problem(404, "route_not_found");
    }
}

#[tokio::test]
async fn a_method_that_a_route_does_not_have_is_refused_with_the_one_it_has() {
    let api = TestApi::start().await;
    let session_id = Uuid::now_v7().to_string();
    let mut methods: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for route in endpoints::table()
        .iter()
        .flat_map(|endpoint| endpoint.routes)
    {
        let allowed = methods.entry(route.path).or_default();
        allowed.push(route.method);
        if route.method == "GET" {
            allowed.push("HEAD");
        }
    }
    for (path, allowed) in methods {
        let path = &path.replace("{session_id}", &session_id);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            if allowed.contains(&method) {
                continue;
            }
            let answer = api.request(method.parse().unwrap(), path).await;
            answer.assert_problem(405, "method_not_allowed");
            assert_eq!(
                answer.headers["allow"],
                allowed.join(", ").as_str(),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn head_is_a_get_and_nothing_else() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let status = api
        .request(
            Method::HEAD,
            &format!("/chat/status?session_id={session_id}"),
        )
        .await;
    assert_eq!(status.status, 200);
    assert_eq!(api.request(Method::HEAD, "/chat").await.status, 405);
}

#[tokio::test]
async fn pages_of_listed_origins_and_of_this_machine_may_call_every_route() {
    let listed = [("CORS_ALLOWED_ORIGINS", "https://app.example")];
    let api = TestApi::with_settings(&listed).await;
    for origin in ["https://app.example", "http://localhost:5173"] {
        for path in ["/chat", "/chat/status", "/chat/reset", "/chat/stream"] {
            let answer = api.send(preflight(path, origin)).await;
            assert_eq!((answer.status, &answer.body), (200, &Value::Null), "{path}");
            assert!(answer.headers.contains_key("x-request-id"), "{path}");
            assert_eq!(answer.headers["access-control-allow-origin"], origin);
            let methods = answer.headers["access-control-allow-methods"].to_str();
            let methods: Vec<&str> = methods.unwrap().split(',').collect();
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                assert!(methods.contains(&method), "{methods:?}");
            }
            // By name: `*` does not include `authorization`.
            let headers = answer.headers["access-control-allow-headers"].to_str();
            assert_eq!(headers.unwrap(), ASKED_FOR);
        }
        let refused = Request::post("/chat").header("origin", origin);
        let answer = api.send(refused.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.headers["access-control-allow-origin"], origin,
            "errors can be read, too"
        );
        let exposed = answer.headers["access-control-expose-headers"]
            .to_str()
            .unwrap();
        for header in [
            "x-request-id",
            "idempotent-replayed",
            "retry-after",
            "allow",
            "link",
            "www-authenticate",
        ] {
            assert!(exposed.contains(header), "{exposed}");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_site_can_neither_call_nor_read() {
    let api = TestApi::start().await;
    for origin in ["https://evil.example", "null"] {
        let answer = api.send(preflight("/chat", origin)).await;
        let headers = &answer.headers;
        assert!(!headers.contains_key("access-control-allow-origin"));

        // A simple request, which browsers send without a preflight.
        let simple = Request::post("/chat").header("origin", origin);
        let body = Body::from(r#"{"query": "spend"}"#);
        let answer = api.send(simple.body(body).unwrap()).await;
        answer.assert_problem(403, "forbidden");
        let headers = &answer.headers;
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
    // Its own name, pointed at this machine: to the browser this is the same origin.
    let rebound = Request::post("/chat")
        .header("host", "evil.example:8000")
        .header("origin", "http://evil.example:8000")
        .body(Body::from(r#"{"query": "spend"}"#))
        .unwrap();
    api.send(rebound).await.assert_problem(403, "forbidden");
    let rebound = Request::get("/chat/status").header("host", "evil.example:8000");
    let answer = api.send(rebound.body(Body::empty()).unwrap()).await;
    answer.assert_problem(403, "forbidden");
    let messages = api.number("select count(*) from chat_messages").await;
    assert_eq!(messages, 0);

    for host in ["localhost:8000", "127.0.0.1:8000", "[::1]:8000"] {
        let own = Request::get("/chat/status").header("host", host);
        let answer = api.send(own.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200, "{host}");
    }
}

fn preflight(path: &str, origin: &str) -> Request<Body> {
    Request::options(path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", ASKED_FOR)
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own() {
    let api = TestApi::start().await;
    let answers = [
        api.chat(json!({ "query": "Hi" })).await,
        api.chat(json!({})).await,
        api.service_status().await,
        api.request(Method::GET, "/nowhere").await,
        api.request(Method::PUT, "/chat").await,
    ];
    let ids: std::collections::BTreeSet<_> = answers
        .iter()
        .map(|answer| answer.headers["x-request-id"].to_str().unwrap())
        .collect();
    assert_eq!(ids.len(), answers.len());
}
