//! `cargo run` with an issuer of tokens: who is let in, whose sessions they see, and what happens when the
//! issuer's keys change or cannot be fetched.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::{IntoResponse, Redirect};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use support::TestApi;
use support::api::Answer;
use support::issuer::{Issuer, SigningKey};
use support::local_run::{LocalRun, run};
use support::postgres;

async fn api(issuer: &Issuer) -> TestApi {
    TestApi::with_settings(&issuer.settings()).await
}

async fn status(address: &str, token: &str) -> Answer {
    let request = reqwest::Client::new()
        .get(format!("{address}/chat/status"))
        .bearer_auth(token);
    Answer::over_http(request).await.unwrap()
}

#[tokio::test]
async fn a_server_with_an_issuer_tells_callers_apart() {
    let issuer = Issuer::start().await;
    let database = postgres::migrated_database().await;
    let url = postgres::server().url(&database);
    let settings = [&issuer.settings()[..], &[("DATABASE_URL", &*url)]].concat();
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &settings).await;
    let tokens = format!("tokens    of {} for daissy", issuer.name);
    assert!(local.printed.contains(&tokens), "{:?}", local.printed);
    let client = reqwest::Client::new();
    let send = async |method: Method, path: &str, token: Option<&str>, body: &Value| {
        let request = client.request(method, format!("{}{path}", local.address));
        let request = request.json(body);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        Answer::over_http(request).await.unwrap()
    };
    let [alice, bob] = ["alice", "bob"].map(|subject| issuer.token(subject));

    let question = json!({ "query": "Hello" });
    let turn = send(Method::POST, "/chat", Some(&alice), &question).await;
    assert_eq!(turn.status, 200, "{}", turn.body);
    let history = format!("/chat/history/{}", turn.id("session_id"));
    let own = send(Method::GET, &history, Some(&alice), &Value::Null).await;
    assert_eq!((own.status, own.said().len()), (200, 2));
    let foreign = send(Method::GET, &history, Some(&bob), &Value::Null).await;
    foreign.assert_problem(404, "session_not_found");
    let nobody = send(Method::GET, &history, None, &Value::Null).await;
    nobody.assert_problem(401, "unauthorized");

    // A client that sends its whole body, more than fits into the sockets' buffers, before it reads.
    let mut socket = TcpStream::connect(local.address.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    let head = "POST /chat HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let head = format!("{head}content-length: 8000000\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&vec![b'x'; 8_000_000]).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");

    let document = client.get(format!("{}/openapi.yaml", local.address));
    assert_eq!(document.send().await.unwrap().status(), 200);
    let logged = local.complaints().text();
    assert!(!logged.contains(&alice), "{logged}");
    local.stop().await;

    let connection = postgres::connect(&url).await;
    let owners = "select distinct owner from chat_sessions";
    let owners = connection.client().query_typed(owners, &[]).await.unwrap();
    let owners: Vec<&str> = owners.iter().map(|row| row.get(0)).collect();
    assert_eq!(owners, ["jwt:alice"], "as on API Gateway");
}

#[tokio::test]
async fn every_route_needs_a_token_and_nothing_else_does() {
    let issuer = Issuer::start().await;
    let api = api(&issuer).await;
    for (name, answer) in api.every_endpoint(Uuid::now_v7()).await {
        answer.assert_problem(401, "unauthorized");
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{name}");
    }
    api.request(Method::GET, "/nowhere")
        .await
        .assert_problem(404, "route_not_found");
    let preflight = Request::options("/chat")
        .header("origin", "http://localhost:5173")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization");
    let answer = api.send(preflight.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers["access-control-allow-headers"],
        "authorization"
    );
    // A page can read why it was refused.
    let page = Request::get("/chat/status").header("origin", "http://localhost:5173");
    let answer = api.send(page.body(Body::empty()).unwrap()).await;
    answer.assert_problem(401, "unauthorized");
    assert!(answer.headers.contains_key("access-control-allow-origin"));
    assert_eq!(issuer.fetches(), 0, "without a token there is no key");

    let alice = api.with_token(issuer.token("alice"));
    let session_id = alice.session(&["Hi"]).await;
    for (name, answer) in alice.every_endpoint(session_id).await {
        assert!(
            [200, 409].contains(&answer.status),
            "{name}: {}",
            answer.body
        );
    }
    let answer = alice.request(Method::PUT, "/chat").await;
    answer.assert_problem(405, "method_not_allowed");
    // As API Gateway takes it.
    for authorization in [
        issuer.token("alice"),
        format!("bearer {}", issuer.token("alice")),
    ] {
        let bare = Request::get("/chat/status").header("authorization", authorization);
        let answer = api.send(bare.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn a_session_is_its_owners_and_no_one_elses() {
    let issuer = Issuer::start().await;
    let api = api(&issuer).await;
    let [alice, bob] = ["alice", "bob"].map(|subject| api.with_token(issuer.token(subject)));
    let session_id = alice.session(&["Hi"]).await;
    for (name, answer) in bob.every_endpoint(session_id).await {
        match name {
            "service status" => {}
            "search" => assert_eq!(answer.body["results"], json!([])),
            "list sessions" => assert_eq!(answer.body["sessions"], json!([])),
            "export" => assert_eq!(answer.body, json!([])),
            _ => {
                answer.assert_problem(404, "session_not_found");
            }
        }
    }
    assert_eq!(alice.history(session_id, "").await.said().len(), 2);
    // Nobody else can read or stop an answer that is being written.
    let question = json!({ "query": "Hi", "session_id": session_id, "message_id": Uuid::new_v4() });
    let mut stream = alice.stream(question.clone()).await;
    assert_eq!(stream.next().await.unwrap().name, "started");
    for foreign in [
        bob.stream(question).await,
        bob.resume(session_id, "", None).await,
    ] {
        let refused = bob.refused(foreign).await;
        refused.assert_problem(404, "session_not_found");
    }
    let refused = bob.stop(session_id, "").await;
    refused.assert_problem(404, "session_not_found");
    let events = stream.all().await;
    assert_eq!(events.last().unwrap().data["finish_reason"], "stop");
    // The same message id is another message of another caller.
    let question = json!({ "query": "Hi", "message_id": Uuid::new_v4() });
    let sessions = [&alice, &bob].map(|caller| caller.chat(question.clone()));
    let [first, second] = futures_util::future::join_all(sessions)
        .await
        .try_into()
        .unwrap();
    assert_ne!(first.id("session_id"), second.id("session_id"));
}

#[tokio::test]
async fn a_token_that_is_not_valid_lets_no_one_in_and_says_why() {
    let issuer = Issuer::start().await;
    let api = api(&issuer).await;
    let secret = ("hunter2".to_owned(), "read");
    for (token, expected) in issuer.invalid_tokens().into_iter().chain([secret]) {
        let answer = api.with_token(&*token).service_status().await;
        let detail = answer.assert_problem(401, "unauthorized");
        let why = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(why.starts_with("Bearer error=\"invalid_token\""), "{why}");
        assert!(why.contains(expected), "{token}: {why}");
        assert!(!detail.contains("hunter2") && !why.contains("hunter2"));
    }
    // Which of two is meant would be a guess.
    let token = format!("Bearer {}", issuer.token("alice"));
    let two = Request::get("/chat/status")
        .header("authorization", &token)
        .header("authorization", &token);
    let answer = api.send(two.body(Body::empty()).unwrap()).await;
    answer.assert_problem(401, "unauthorized");
    let messages = api.number("select count(*) from chat_messages").await;
    assert_eq!(messages, 0);
}

#[tokio::test]
async fn a_new_key_is_used_without_a_restart_and_the_old_one_no_longer() {
    let issuer = Issuer::start().await;
    let api = api(&issuer).await;
    let old = issuer.token("alice");
    assert_eq!(api.with_token(&*old).service_status().await.status, 200);

    issuer.rotate(SigningKey::new("second"));
    let new = issuer.token("alice");

    assert_eq!(api.with_token(new).service_status().await.status, 200);
    let answer = api.with_token(old).service_status().await;
    answer.assert_problem(401, "unauthorized");
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn made_up_keys_are_asked_for_once_and_requests_share_a_fetch() {
    let issuer = Issuer::start().await;
    let api = api(&issuer).await;
    let good = api.with_token(issuer.token("alice"));
    let requests = (0..20).map(|_| good.service_status());
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(issuer.fetches(), 1);

    let key = SigningKey::new("made up");
    let made_up = api.with_token(key.sign(&issuer.claims("alice")));
    let requests = (0..20).map(|_| made_up.service_status());
    for answer in futures_util::future::join_all(requests).await {
        answer.assert_problem(401, "unauthorized");
    }
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(good.service_status().await.status, 200);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_is_no_fault_of_the_caller() {
    let issuer = Issuer::start().await;
    issuer.fail(true);
    let database = postgres::migrated_database().await;
    let url = postgres::server().url(&database);
    let settings = [&issuer.settings()[..], &[("DATABASE_URL", &*url)]].concat();
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &settings).await;
    let token = issuer.token("alice");

    for _ in 0..3 {
        let answer = status(&local.address, &token).await;
        answer.assert_problem(503, "issuer_unavailable");
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(issuer.fetches(), 1, "it is left alone for a while");
    let logged = local.complaints().text();
    assert!(logged.contains("500"), "the log says why: {logged}");
    assert!(!logged.contains(&token), "{logged}");

    issuer.fail(false);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = status(&local.address, &token).await;
        if answer.status == 200 {
            break;
        }
        answer.assert_problem(503, "issuer_unavailable");
        assert!(Instant::now() < deadline, "{}", answer.body);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The keys that are known stay in use. Another could be a new one, so there is no verdict.
    issuer.fail(true);
    let other = SigningKey::new("other").sign(&issuer.claims("alice"));
    let answer = status(&local.address, &other).await;
    answer.assert_problem(503, "issuer_unavailable");
    assert_eq!(status(&local.address, &token).await.status, 200);
    local.stop().await;
}

#[tokio::test]
async fn an_issuer_that_is_not_what_it_should_be_vouches_for_no_one() {
    let issuer = Issuer::start().await;
    let good = |name: &str| json!({ "issuer": name, "jwks_uri": format!("{}/keys", issuer.name) });
    for (configuration, expected) in [
        (good("NAME").to_string(), ""),
        (good("http://127.0.0.1:1").to_string(), "calls itself"),
        (good("NAME/").to_string(), "calls itself"),
        (
            json!({ "issuer": "NAME", "jwks_uri": "http://keys.example/" }).to_string(),
            "https",
        ),
        (
            json!({ "issuer": "NAME", "jwks_uri": "file:///etc/passwd" }).to_string(),
            "https",
        ),
        (json!({ "issuer": "NAME" }).to_string(), "jwks_uri"),
        (good("NAME").to_string(), "answered 307"),
        ("<html>".to_owned(), "not usable"),
        (" ".repeat(300_000) + "{}", "too long"),
    ] {
        let name = serve(&configuration, expected.contains("307")).await;
        let mut claims = issuer.claims("alice");
        claims["iss"] = json!(name);
        let token = issuer.key().sign(&claims);
        let variable = |asked: &str| {
            let settings = [("JWT_ISSUER", &*name), ("JWT_AUDIENCE", "daissy")];
            let setting = settings.iter().find(|(name, _)| *name == asked);
            setting.map(|(_, value)| (*value).to_owned())
        };
        let verifier = shared::jwt::Verifier::read(variable).unwrap().unwrap();

        match verifier.verify(&token).await {
            Ok(verified) => {
                assert_eq!(expected, "", "{configuration}");
                assert_eq!(verified.owner.to_string(), "jwt:alice");
                assert_eq!(verified.claims["aud"], "daissy");
            }
            Err(error) => {
                let is_unchecked = matches!(error, shared::jwt::TokenError::Unchecked(_));
                assert!(is_unchecked, "{configuration}: {error}");
                let error = error.to_string();
                assert!(
                    !expected.is_empty() && error.contains(expected),
                    "{configuration}: {error}"
                );
            }
        }
    }
}

/// The address of a server whose first document is this one, with its address for `NAME`. With `redirects`
/// the document is at another path, which the server redirects to.
async fn serve(configuration: &str, redirects: bool) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = format!("http://{}", listener.local_addr().unwrap());
    let configuration = configuration.replace("NAME", &name);
    let router = axum::Router::new().fallback(async move |request: Request<Body>| {
        if redirects && request.uri().path() != "/moved" {
            return Redirect::temporary("/moved").into_response();
        }
        configuration.into_response()
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    name
}

#[tokio::test]
async fn half_an_issuer_and_one_without_tls_are_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (settings, expected) in [
        (
            &[("JWT_ISSUER", "https://issuer.example")][..],
            "JWT_AUDIENCE is not",
        ),
        (&[("JWT_AUDIENCE", "daissy")][..], "JWT_ISSUER is not"),
        (
            &[
                ("JWT_ISSUER", "http://issuer.example"),
                ("JWT_AUDIENCE", "daissy"),
            ][..],
            "https address",
        ),
    ] {
        let ended = run(&[], folder.path(), settings).await;
        assert!(!ended.success, "{ended:?}");
        assert!(ended.complained.starts_with("error: JWT_"), "{ended:?}");
        assert!(ended.complained.contains(expected), "{ended:?}");
    }
}
