//! The operator's view: the log line of each request, and the metrics that are read from it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::Method;
use load_session::LoadSession;
use serde_json::{Value, json};
use shared::http::endpoint::Endpoint;
use uuid::Uuid;

use support::TestApi;
use support::api::{Answer, Lines};
use support::log::Log;
use support::model_server::{ModelServer, Reply};
use support::postgres;
use support::proxy::Proxy;

/// The fields of a line that are checked in the same way for each request.
const CONSTANT: [&str; 5] = ["_aws", "timestamp", "Stack", "duration_ms", "request_id"];

async fn on_lambda(settings: &[(&str, &str)]) -> (TestApi, Lines) {
    let database = postgres::migrated_database().await;
    let url = postgres::app_url(&database);
    TestApi::on_lambda(database, &url, settings).await
}

async fn behind_proxy(settings: &[(&str, &str)]) -> (TestApi, Lines, Proxy) {
    let database = postgres::migrated_database().await;
    let proxy = Proxy::start(postgres::app_port()).await;
    let url = proxy.through(&postgres::app_url(&database));
    let (api, lines) = TestApi::on_lambda(database, &url, settings).await;
    (api, lines, proxy)
}

/// Asserts that a line is valid for CloudWatch: each metric is defined once and has a number, each
/// dimension has a text, and nothing else is measured. Returns the metrics.
#[track_caller]
fn metrics(line: &Value) -> Value {
    let written_ms = line["_aws"]["Timestamp"].as_u64().expect("a time");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let age = now.checked_sub(Duration::from_millis(written_ms));
    assert!(age.expect("not in the future") < Duration::from_secs(60));
    let [directive] = &line["_aws"]["CloudWatchMetrics"].as_array().unwrap()[..] else {
        panic!("one directive: {line}")
    };
    assert_eq!(directive["Namespace"], "Daissy");
    assert_eq!(directive["Dimensions"], json!([["Stack", "Function"]]));
    assert_eq!(line["Stack"], "daissy-test");

    let defined = directive["Metrics"].as_array().unwrap();
    let mut metrics = json!({});
    for metric in defined {
        let name = metric["Name"].as_str().unwrap();
        let is_time = ["Duration", "FirstToken", "ModelLatency"].contains(&name);
        let unit = if is_time { "Milliseconds" } else { "Count" };
        assert_eq!(metric["Unit"], unit, "{name}");
        assert!(line[name].is_u64(), "{name} has a number: {line}");
        assert_eq!(metrics[name], Value::Null, "{name} is defined once");
        metrics[name] = line[name].clone();
    }
    metrics
}

/// The metrics of a line except its duration, which must be present.
#[track_caller]
fn counts(line: &Value) -> Value {
    let mut metrics = metrics(line);
    let duration = metrics.as_object_mut().unwrap().remove("Duration");
    assert_eq!(duration.as_ref(), Some(&line["duration_ms"]));
    metrics
}

/// The metrics of a request where nothing special happened, and these.
fn ordinary(further: Value) -> Value {
    let mut counts = json!({
        "Requests": 1, "Errors": 0, "ColdStarts": 0, "DatabaseConnects": 0, "DatabaseRepeats": 0,
    });
    for (name, value) in further.as_object().unwrap() {
        counts[name] = value.clone();
    }
    counts
}

/// The fields of a line except the metrics and the [`CONSTANT`] ones.
#[track_caller]
fn fields(line: &Value, answer: &Answer) -> Value {
    assert_eq!(
        line["request_id"].as_str().unwrap(),
        answer.headers["x-request-id"].to_str().unwrap()
    );
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    let metrics = metrics(line);
    let mut fields = line.clone();
    let members = fields.as_object_mut().unwrap();
    members.retain(|name, _| !CONSTANT.contains(&name.as_str()) && metrics.get(name).is_none());
    fields
}

#[tokio::test]
async fn a_line_has_every_field() {
    let (api, lines) = on_lambda(&[]).await;
    let session_id = Uuid::now_v7();
    let unknown = Uuid::now_v7();
    let line = |function: &str, method: &str, route: &str, round_trips: u64| {
        json!({
            "level": "INFO", "message": "answered", "status": 200, "cold_start": false,
            "Function": function, "method": method, "route": route, "round_trips": round_trips,
            "session_id": session_id,
        })
    };
    let with = |mut line: Value, further: Value| {
        for (name, value) in further.as_object().unwrap() {
            line[name] = value.clone();
        }
        line
    };
    let without_session = |mut line: Value| {
        line.as_object_mut().unwrap().remove("session_id");
        line
    };

    let turn = json!({ "query": "Hi", "session_id": session_id });
    let answer = api.chat(turn).await;
    let expected = with(
        line("chat", "POST", "/chat", 2),
        json!({ "cold_start": true, "context_messages": 0, "context_left_out": 0 }),
    );
    assert_eq!(fields(&lines.only(), &answer), expected);

    let history = "/chat/history/{session_id}";
    let answer = api.history(session_id, "").await;
    assert_eq!(
        fields(&lines.only(), &answer),
        line("history", "GET", history, 1)
    );
    let message_id = answer.body["history"][0]["message_id"].clone();
    let message_id = message_id.as_str().unwrap();

    let answer = api.status(session_id).await;
    assert_eq!(
        fields(&lines.only(), &answer),
        line("status", "GET", "/chat/status", 1)
    );
    let answer = api.service_status().await;
    let expected = without_session(line("status", "GET", "/chat/status", 1));
    assert_eq!(fields(&lines.only(), &answer), expected);

    for answer in [
        api.load(session_id).await,
        api.fork(session_id, message_id).await,
    ] {
        assert_eq!(answer.status, 200);
    }
    let expected = line(LoadSession::NAME, "POST", LoadSession::ROUTES[0].path, 1);
    for line in lines.take() {
        let line: Value = serde_json::from_str(&line).unwrap();
        for name in ["Function", "method", "route", "round_trips", "session_id"] {
            assert_eq!(line[name], expected[name], "{name}");
        }
    }

    let answer = api.request(Method::POST, "/chat/reset").await;
    let expected = with(
        line("reset", "POST", "/chat/reset", 1),
        json!({ "session_id": answer.body["new_session_id"] }),
    );
    assert_eq!(fields(&lines.only(), &answer), expected);

    let answer = api.reset(unknown).await;
    let refused = json!({
        "message": "refused", "status": 404, "code": "session_not_found", "session_id": unknown,
    });
    let expected = with(line("reset", "POST", "/chat/reset", 1), refused);
    assert_eq!(fields(&lines.only(), &answer), expected);

    let answer = api.request(Method::PUT, "/chat/status").await;
    let refused = json!({ "message": "refused", "status": 405, "code": "method_not_allowed" });
    let expected = with(line("status", "PUT", "/chat/status", 0), refused);
    assert_eq!(fields(&lines.only(), &answer), without_session(expected));

    let strange = Method::from_bytes(b"CANARY").unwrap();
    api.request(strange, "/chat/status").await;
    assert_eq!(lines.only()["method"], "other");
}

#[tokio::test]
async fn a_turn_names_its_session_where_the_caller_did_not() {
    let (api, lines) = on_lambda(&[]).await;
    let turn = json!({ "query": "Hi", "message_id": Uuid::now_v7() });
    for _ in 0..2 {
        let answer = api.chat(turn.clone()).await;
        assert_eq!(lines.only()["session_id"], answer.body["session_id"]);
    }
    let named = json!({ "session_id": Uuid::now_v7() });
    api.chat(named.clone())
        .await
        .assert_problem(400, "invalid_request");
    assert_eq!(lines.only()["session_id"], named["session_id"]);
    api.chat(json!({})).await;
    assert_eq!(lines.only()["session_id"], Value::Null);
}

#[tokio::test]
async fn a_stream_writes_its_line_when_it_has_ended() {
    let (api, lines) = on_lambda(&[]).await;
    let session_id = Uuid::now_v7();
    let body = json!({ "query": "Hi", "session_id": session_id });
    let mut stream = api.stream(body).await;
    while stream.next().await.unwrap().name != "delta" {}
    assert_eq!(lines.take(), [""; 0], "the answer is being written");
    let request_id = stream.headers["x-request-id"].clone();
    let events = stream.all().await;
    assert_eq!(events.last().unwrap().name, "done");

    let line = lines.only();

    assert_eq!(line["request_id"], request_id.to_str().unwrap());
    assert_eq!(line["status"], 200);
    assert_eq!(line["session_id"], json!(session_id));
    let metrics = metrics(&line);
    assert_eq!(metrics["Turns"], 1);
    // It says the first word at once, and then one every 20 ms.
    let (first, all) = (&line["first_token_ms"], &line["duration_ms"]);
    assert_eq!(first, &metrics["FirstToken"]);
    assert!(
        all.as_u64().unwrap() > 300 + first.as_u64().unwrap(),
        "{line}"
    );
    // Both statements of the turn, and what was said meanwhile.
    assert!(line["round_trips"].as_u64().unwrap() >= 3, "{line}");
    // A replayed one asks no model.
    let history = api.history(session_id, "").await;
    lines.take();
    let question = &history.body["history"][0]["message_id"];
    let again = json!({ "query": "Hi", "session_id": session_id, "message_id": question });
    api.stream(again).await.all().await;
    let line = lines.only();
    assert_eq!(line["first_token_ms"], Value::Null);
    assert_eq!(line["TurnsReplayed"], 1);
}

#[tokio::test]
async fn turns_are_counted_by_how_they_end() {
    let model = ModelServer::start([
        Reply::Late(Duration::from_millis(120), "Hello".into()),
        Reply::Held("Later".into()),
        Reply::Raw(403, "application/json", "{}".into()),
        Reply::Late(Duration::from_secs(60), "Too late".into()),
    ])
    .await;
    let mut settings = model.settings().to_vec();
    settings.push(("MODEL_TIMEOUT_SECONDS", "1"));
    let (api, lines) = on_lambda(&settings).await;
    let api = Arc::new(api);
    api.service_status().await;
    lines.take();
    let session_id = Uuid::now_v7();
    let turn = json!({ "query": "Hi", "session_id": session_id, "message_id": Uuid::now_v7() });
    let tokens = json!({ "Turns": 1, "InputTokens": 12, "OutputTokens": 30 });
    let without_latency = |line: &Value, at_least_ms: u64| {
        let mut counts = counts(line);
        let latency = counts.as_object_mut().unwrap().remove("ModelLatency");
        let latency = latency
            .and_then(|latency| latency.as_u64())
            .expect("a latency");
        let duration = line["duration_ms"].as_u64().unwrap();
        assert!((at_least_ms..=duration).contains(&latency), "{latency} ms");
        counts
    };

    assert_eq!(api.chat(turn.clone()).await.status, 200);
    assert_eq!(
        without_latency(&lines.only(), 120),
        ordinary(tokens.clone())
    );

    assert_eq!(api.chat(turn).await.headers["idempotent-replayed"], "true");
    assert_eq!(
        counts(&lines.only()),
        ordinary(json!({ "TurnsReplayed": 1 }))
    );

    let next = json!({ "query": "And?", "session_id": session_id });
    model.asked().await;
    let held = api.chat_meanwhile(next.clone());
    model.asked().await;
    api.chat(next.clone())
        .await
        .assert_problem(409, "session_busy");
    assert_eq!(counts(&lines.only()), ordinary(json!({ "TurnsBusy": 1 })));
    model.release();
    assert_eq!(held.await.unwrap().status, 200);
    assert_eq!(without_latency(&lines.only(), 0), ordinary(tokens));

    let failed = ordinary(json!({ "Errors": 1, "ModelErrors": 1 }));
    let answer = api.chat(next.clone()).await;
    answer.assert_problem(502, "model_error");
    let line = lines.only();
    assert_eq!(without_latency(&line, 0), failed);
    let expected = json!({
        "level": "ERROR", "message": "failed", "status": 502, "code": "model_error",
        "causes": line["causes"], "cold_start": false, "Function": "chat", "method": "POST",
        "route": "/chat", "round_trips": 2, "session_id": session_id,
        "context_messages": 4, "context_left_out": 0,
    });
    assert_eq!(fields(&line, &answer), expected);
    assert!(line["causes"].as_str().unwrap().contains("403"), "{line}");

    api.chat(next).await.assert_problem(504, "model_timeout");
    assert_eq!(without_latency(&lines.only(), 900), failed);
}

#[tokio::test]
async fn a_dead_database_is_an_error_with_its_cause() {
    let dead = "postgresql://u:hunter2@127.0.0.1:1/d";
    let (api, lines) = TestApi::on_lambda(String::new(), dead, &[]).await;
    let answer = api.chat(json!({ "query": "Hi" })).await;
    answer.assert_problem(503, "database_unavailable");
    let line = lines.only();
    assert_eq!(
        counts(&line),
        ordinary(json!({ "Errors": 1, "ColdStarts": 1 }))
    );
    let expected = json!({
        "level": "ERROR", "message": "failed", "status": 503, "code": "database_unavailable",
        "causes": line["causes"], "cold_start": true, "Function": "chat", "method": "POST",
        "route": "/chat", "round_trips": 0, "session_id": answer.body["session_id"],
    });
    assert_eq!(fields(&line, &answer), expected);
    assert!(!line["causes"].as_str().unwrap().is_empty(), "{line}");
}

#[tokio::test]
async fn only_the_first_request_is_a_cold_start_and_includes_the_work_before_it() {
    let (api, lines) = on_lambda(&[]).await;
    api.service_status().await;
    let line = lines.only();
    let expected = ordinary(json!({ "ColdStarts": 1, "DatabaseConnects": 1 }));
    assert_eq!(
        (counts(&line), &line["cold_start"]),
        (expected, &json!(true))
    );
    for _ in 0..2 {
        api.service_status().await;
        let line = lines.only();
        let expected = (ordinary(json!({})), &json!(false));
        assert_eq!((counts(&line), &line["cold_start"]), expected);
    }
}

#[tokio::test]
async fn a_lost_connection_is_a_repeat_and_a_connect() {
    let (api, lines, proxy) = behind_proxy(&[]).await;
    api.service_status().await;
    lines.take();
    proxy.take_round_trips();

    proxy.cut_before_next_answer();
    assert_eq!(api.service_status().await.status, 200);
    let line = lines.only();
    let expected = ordinary(json!({ "DatabaseConnects": 1, "DatabaseRepeats": 1 }));
    assert_eq!((counts(&line), &line["round_trips"]), (expected, &json!(2)));

    // A connection that is known to be closed is replaced before a statement is sent.
    proxy.cut_all();
    tokio::time::sleep(Duration::from_millis(100)).await;
    api.service_status().await;
    let line = lines.only();
    let expected = ordinary(json!({ "DatabaseConnects": 1 }));
    assert_eq!((counts(&line), &line["round_trips"]), (expected, &json!(1)));
}

#[tokio::test]
async fn round_trips_of_concurrent_requests_are_told_apart() {
    let (api, lines, proxy) = behind_proxy(&[]).await;
    let session_id = api.session(&["Hi"]).await;
    lines.take();
    proxy.take_round_trips();

    let turns = (0..5).map(|_| api.chat(json!({ "query": "Hi" })));
    let pages = (0..5).map(|_| api.history(session_id, ""));
    let turns = futures_util::future::join_all(turns);
    futures_util::future::join(turns, futures_util::future::join_all(pages)).await;

    let mut sum = 0;
    for line in lines.take() {
        let line: Value = serde_json::from_str(&line).unwrap();
        let expected = if line["Function"] == "chat" { 2 } else { 1 };
        assert_eq!(line["round_trips"], expected, "{line}");
        sum += expected;
    }
    assert_eq!(sum, 15);
    assert_eq!(proxy.take_round_trips(), sum, "on the wire");
}

#[tokio::test]
async fn elsewhere_the_line_has_the_same_fields_and_no_metrics() {
    let (log, _guard) = Log::capture("info");
    let api = TestApi::start().await;
    let session_id = Uuid::now_v7();
    let answer = api
        .chat(json!({ "query": "Hi", "session_id": session_id }))
        .await;
    let refused = api.reset(Uuid::now_v7()).await;

    let logged = log.text();
    let lines: Vec<Value> = logged
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line.get("request_id").is_some())
        .collect();
    let [first, second] = &lines[..] else {
        panic!("one line for a request: {lines:?}")
    };
    let expected = json!({
        "timestamp": first["timestamp"], "level": "INFO", "message": "answered",
        "request_id": answer.headers["x-request-id"].to_str().unwrap(),
        "route": "/chat", "method": "POST", "status": 200, "duration_ms": first["duration_ms"],
        "context_messages": 0, "context_left_out": 0,
        "session_id": session_id.to_string(), "round_trips": 2, "cold_start": true,
    });
    assert_eq!(first, &expected);
    let expected = json!({
        "timestamp": second["timestamp"], "level": "INFO", "message": "refused",
        "request_id": refused.headers["x-request-id"].to_str().unwrap(),
        "route": "/chat/reset", "method": "POST", "status": 404, "code": "session_not_found",
        "duration_ms": second["duration_ms"], "session_id": second["session_id"],
        "round_trips": 1, "cold_start": false,
    });
    assert_eq!(second, &expected);
}

#[tokio::test]
async fn no_line_holds_content() {
    let failure = json!({ "error": { "message": "canary-answer", "code": "rate_limit" } });
    let model = ModelServer::start([
        Reply::Text("canary-answer".into()),
        Reply::Raw(403, "application/json", failure.to_string()),
        Reply::Text("canary-answer".into()),
    ])
    .await;
    let mut settings = model.settings().to_vec();
    settings.push(("OPENAI_API_KEY", "canary-key"));
    let (api, lines) = on_lambda(&settings).await;
    let body = json!({
        "query": "canary-query", "metadata": { "canary-name": "canary-value" },
        "audio_files": [{ "title": "canary-audio" }],
    });
    let statuses = [200, 502, 500, 400];
    for status in statuses {
        let body = match status {
            // PostgreSQL's own message for a violated constraint quotes the row.
            500 => {
                let broken = "add constraint no_answers check (role <> 'assistant') not valid";
                api.sql(&format!("alter table chat_messages {broken}"))
                    .await;
                body.clone()
            }
            400 => json!({ "query": "canary-query", "metadata": "canary-value" }),
            _ => body.clone(),
        };
        assert_eq!(api.chat(body).await.status, status);
    }
    api.history("canary-session", "?limit=canary").await;
    api.request(Method::GET, "/chat/status?canary=canary").await;

    let lines = lines.take();
    assert_eq!(lines.len(), statuses.len() + 2);
    for line in lines {
        assert!(!line.contains("canary"), "{line}");
    }
}
