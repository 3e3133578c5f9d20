//! Database faults: each endpoint answers with the documented problem, in time, and nothing is lost or
//! duplicated.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use support::TestApi;
use support::api::ENDPOINTS;
use support::log::Log;
use support::model_server::{ModelServer, Reply};
use support::postgres;
use support::proxy::Fault;

/// The longest a request may take when the database does not answer: the timeout of one operation, twice
/// for a turn, plus a margin for a busy machine.
const BOUND: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_connection_that_was_cut_is_replaced_unnoticed() {
    let api = TestApi::start().await;
    for endpoint in ENDPOINTS {
        let session_id = api.session(&["Hi"]).await;
        api.cut_connections().await;
        let answer = api.ask(endpoint, session_id).await;
        assert_eq!(answer.status, 200, "{endpoint}: {}", answer.body);
    }
    api.verify().await;
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_is_sent_again_unnoticed() {
    let (api, proxy) = TestApi::behind_proxy(&[]).await;
    for endpoint in ENDPOINTS {
        let session_id = api.session(&["Hi"]).await;
        proxy.cut_before_next_answer();
        let answer = api.ask(endpoint, session_id).await;
        assert_eq!(answer.status, 200, "{endpoint}: {}", answer.body);
        assert!(!proxy.disarm(), "{endpoint}: nothing was cut");
    }
    api.verify().await;
}

#[tokio::test]
async fn a_statement_whose_answer_was_lost_is_repeated_without_harm() {
    let model = ModelServer::start([Reply::Held("Hello".into())]).await;
    let (api, proxy) = TestApi::behind_proxy(&model.settings()).await;
    let api = Arc::new(api);
    let session_id = Uuid::now_v7();

    // Both statements of a turn are executed, and the answer to each is lost.
    proxy.cut_before_next_answer();
    let turn = api.chat_meanwhile(json!({ "query": "Hi", "session_id": session_id }));
    model.asked().await;
    proxy.cut_before_next_answer();
    model.release();
    let answer = turn.await.unwrap();
    assert_eq!(
        (answer.status, &answer.body["conversation_length"]),
        (200, &json!(2))
    );
    assert_eq!(proxy.connections(), 3, "two connections were cut");

    let message_id = answer.id("message_id");
    proxy.cut_before_next_answer();
    let copy = api.fork(session_id, message_id).await;
    assert_eq!(
        (copy.status, &copy.body["conversation_length"]),
        (200, &json!(1))
    );
    let copied = api.history(copy.id("session_id"), "").await;
    assert_eq!(copied.body["history"], copy.body["history"]);
    proxy.cut_before_next_answer();
    let reset = api.reset(session_id).await;
    assert_eq!(api.status(reset.id("new_session_id")).await.status, 200);
    proxy.cut_before_next_answer();
    assert_eq!(api.load(session_id).await.status, 200);

    assert_eq!(api.number("select count(*) from chat_sessions").await, 3);
    assert_eq!(api.number("select count(*) from chat_messages").await, 3);
    let stats = api.status(session_id).await.body["session_stats"].clone();
    assert_eq!(
        (&stats["message_count"], &stats["output_tokens"]),
        (&json!(2), &json!(30))
    );
}

/// A statement is sent as Parse, Bind, Describe, Execute and Sync.
const BEHIND_THE_STATEMENT: usize = 4;

#[tokio::test]
async fn a_statement_that_still_runs_when_it_is_repeated_is_done_once() {
    let model = ModelServer::start([Reply::Held("Hello".into())]).await;
    let (api, proxy) = TestApi::behind_proxy(&model.settings()).await;
    let api = Arc::new(api);
    // Statements sent meanwhile are certain to overlap with it.
    api.slow_messages(0.5).await;
    let session_id = Uuid::now_v7();

    // First the session is new, then it exists.
    for length in [2, 4] {
        api.service_status().await;
        proxy.fail_after(BEHIND_THE_STATEMENT, Fault::CutBehind);
        let turn = api.chat_meanwhile(json!({ "query": "Hi", "session_id": session_id }));
        model.asked().await;
        proxy.fail_after(BEHIND_THE_STATEMENT, Fault::CutBehind);
        model.release();
        let answer = turn.await.unwrap();

        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["conversation_length"], length);
        assert!(!proxy.disarm());
        api.verify().await;
    }
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test]
async fn one_message_id_sent_twice_concurrently_is_one_message_of_its_session() {
    let api = TestApi::in_environments(2).await;
    // Statements sent meanwhile are certain to overlap with it.
    api.slow_messages(0.5).await;
    let message_id = Uuid::now_v7();
    let turn = async |session_id: Option<Uuid>| {
        let body = json!({ "query": "Hi", "message_id": message_id, "session_id": session_id });
        api.chat(body).await
    };

    let (one, other) = tokio::join!(turn(Some(Uuid::now_v7())), turn(Some(Uuid::now_v7())));
    assert_eq!((one.status, other.status), (200, 200));

    // Without a session id, both open the same session.
    api.sql("truncate chat_messages, chat_sessions").await;
    let (one, other) = tokio::join!(turn(None), turn(None));
    let second = if one.status == 200 { other } else { one };
    assert!(
        second.status == 200 || second.body["code"] == "session_busy",
        "{}",
        second.body
    );
    assert_eq!(api.number("select count(*) from chat_sessions").await, 1);
    assert_eq!(api.number("select count(*) from chat_messages").await, 2);
    api.verify().await;
}

#[tokio::test]
async fn a_connection_that_answers_nothing_is_given_up_in_time() {
    let (api, proxy) = TestApi::behind_proxy(&[]).await;
    let session_id = api.session(&["Hi"]).await;
    proxy.fail_after(0, Fault::Stall);
    let started = Instant::now();

    let answer = api
        .chat(json!({ "query": "Anybody?", "session_id": session_id }))
        .await;

    assert_eq!(
        (answer.status, &answer.body["conversation_length"]),
        (200, &json!(4))
    );
    assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
    // One stalled, one to cancel a statement that may still run on it, one to continue with.
    assert_eq!(proxy.connections(), 3);
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_unavailable() {
    let server = postgres::server();
    let database = postgres::migrated_database().await;
    let good = server.url(&database);
    let role = format!("full_{}", Uuid::new_v4().simple());
    postgres::run(
        "postgres",
        &format!("create role {role} login password 'hunter2' connection limit 0"),
    )
    .await;
    let cases = [
        (
            "postgresql://u:hunter2@127.0.0.1:1/d".to_owned(),
            "nothing listens",
        ),
        (
            postgres::url_as("daissy", "hunter2", &database),
            "a wrong password",
        ),
        (server.url("no_such_database"), "no such database"),
        (
            postgres::url_as(&role, "hunter2", &database),
            "too many connections",
        ),
        (
            format!("{good}?sslmode=require"),
            "TLS is required and not available",
        ),
        (
            "postgresql://u:hunter2@no-such-host.invalid/d?sslmode=disable".into(),
            "no such host",
        ),
    ];
    for (url, reason) in cases {
        let api = TestApi::on(String::new(), &url, &[]).await;
        let started = Instant::now();
        for (endpoint, answer) in api.every_endpoint(Uuid::now_v7()).await {
            let detail = answer.assert_problem(503, "database_unavailable");
            assert!(
                !detail.contains("hunter2"),
                "{reason}, {endpoint}: {detail}"
            );
            let wait: u64 = answer.headers["retry-after"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!(wait > 0, "{reason}, {endpoint}");
        }
        assert!(
            started.elapsed() < 6 * BOUND,
            "{reason}: {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test]
async fn a_turn_that_the_database_failed_names_the_ids_to_repeat_it() {
    let api = TestApi::on(String::new(), "postgresql://u:p@127.0.0.1:1/d", &[]).await;
    let answer = api.chat(json!({ "query": "Hi" })).await;
    answer.assert_problem(503, "database_unavailable");
    answer.id("session_id");
    answer.id("message_id");
}

#[tokio::test]
async fn a_database_without_the_schema_says_to_migrate() {
    let database = postgres::empty_database().await;
    let url = postgres::server().url(&database);
    let api = TestApi::on(database, &url, &[]).await;
    for (endpoint, answer) in api.every_endpoint(Uuid::now_v7()).await {
        let detail = answer.assert_problem(503, "schema_missing");
        assert!(detail.contains("migrate"), "{endpoint}: {detail}");
    }
}

#[tokio::test]
async fn a_table_or_column_that_is_missing_says_to_migrate() {
    let breaks = [
        (
            "drop table chat_messages",
            &[
                "history",
                "service status",
                "load",
                "chat",
                "stream",
                "stop",
                "export",
                "search",
            ][..],
        ),
        (
            "alter table chat_messages drop column reply_to_seq",
            &["chat", "stream", "export"],
        ),
        (
            "alter table chat_sessions drop column lease_until",
            &["chat", "stream"],
        ),
        (
            "alter table chat_messages drop column metadata",
            &["history", "load", "chat", "stream", "export"],
        ),
        ("drop table refinery_schema_history", &["service status"]),
    ];
    for (statement, broken) in breaks {
        let api = TestApi::start().await;
        let session_id = api.session(&["Hi"]).await;
        api.sql(statement).await;
        for endpoint in ENDPOINTS {
            // The others reset the session.
            let session_id = if ["chat", "stream"].contains(&endpoint) {
                Uuid::now_v7()
            } else {
                session_id
            };
            let answer = api.ask(endpoint, session_id).await;
            let events = answer.body.as_str().unwrap_or_default();
            if broken.contains(&endpoint) && answer.status == 200 {
                // A stream that fails at its end.
                assert!(events.contains("schema_missing"), "{statement}: {events}");
            } else if broken.contains(&endpoint) {
                answer.assert_problem(503, "schema_missing");
            } else {
                assert!(!events.contains("event: error"), "{statement}: {events}");
                assert_eq!(
                    answer.status, 200,
                    "{statement}, {endpoint}: {}",
                    answer.body
                );
            }
        }
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_with_its_object() {
    let all = [
        ("select", "chat_sessions"),
        ("insert", "chat_sessions"),
        ("update", "chat_sessions"),
        ("select", "chat_messages"),
        ("insert", "chat_messages"),
        ("insert", "chat_events"),
        ("select", "chat_erasures"),
        ("insert", "chat_erasures"),
        ("select", "chat_feedback"),
        ("insert", "chat_feedback"),
        ("update", "chat_feedback"),
        ("select", "chat_streams"),
        ("insert", "chat_streams"),
        ("update", "chat_streams"),
        ("delete", "chat_streams"),
        ("select", "chat_search"),
        ("select", "chat_search_parts"),
        ("select", "chat_search_state"),
        ("select", "audio_resources"),
        ("select", "refinery_schema_history"),
        ("execute", "chat_begin_turn_v1"),
        ("execute", "chat_finish_turn_v1"),
        ("execute", "chat_tokens_v1"),
        ("execute", "chat_history_v1"),
        ("execute", "chat_resume_v1"),
        ("execute", "chat_search_v1"),
        ("execute", "chat_search_text_v1"),
        ("execute", "chat_read_stream_v1"),
    ];
    for missing in 0..=all.len() {
        let database = postgres::migrated_database().await;
        let role = format!("role_{}", Uuid::new_v4().simple());
        // A turn goes on without being able to write what was said so far, and no question is repeated here.
        let mut statements = format!(
            "create role {role} login password 'p';
             grant execute on function chat_write_stream_v1, chat_answer_v1 to {role};"
        );
        for (index, (right, object)) in all.iter().enumerate() {
            if index != missing {
                let kind = if *right == "execute" {
                    "function"
                } else {
                    "table"
                };
                statements.push_str(&format!("grant {right} on {kind} {object} to {role};"));
            }
        }
        postgres::run(&database, &statements).await;
        let url = postgres::url_as(&role, "p", &database);
        let api = TestApi::on(database, &url, &[]).await;

        let mut answers = api.every_endpoint(Uuid::now_v7()).await;
        let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
        answers.push(("copy", api.fork(session_id, message_id).await));
        let up = json!({ "rating": "up" });
        let feedback = api.feedback(session_id, message_id, up).await;
        answers.push(("feedback", feedback));
        let resumed = api.resume(session_id, "", None).await;
        answers.push(("resume", api.refused(resumed).await));
        // What a stream lacks at its end is its last event.
        let streamed = answers.iter().find(|(endpoint, _)| *endpoint == "stream");
        let events = streamed.unwrap().1.body.as_str().unwrap_or_default();
        let refused_at_the_end = events.contains("database_permission");
        let refused: Vec<_> = answers
            .iter()
            .filter(|(_, answer)| answer.status == 503)
            .collect();
        let Some((right, object)) = all.get(missing) else {
            assert!(refused.is_empty(), "nothing is missing: {refused:?}");
            continue;
        };
        let expected = format!("{} on {object}", right.to_uppercase());
        if refused_at_the_end {
            assert!(events.contains(&expected), "{events}");
            continue;
        }
        assert!(!refused.is_empty(), "no endpoint needs {right} on {object}");
        for (endpoint, answer) in refused {
            let detail = answer.assert_problem(503, "database_permission");
            assert!(detail.contains(&expected), "{endpoint}: {detail}");
        }
    }
}

#[tokio::test]
async fn a_schema_out_of_reach_is_a_right_that_is_missing() {
    let database = postgres::migrated_database().await;
    let role = format!("role_{}", Uuid::new_v4().simple());
    postgres::run(
        &database,
        &format!(
            "create role {role} login password 'p';
             revoke usage on schema public from public;
             grant select, insert, update on all tables in schema public to {role}"
        ),
    )
    .await;
    let url = postgres::url_as(&role, "p", &database);
    let api = TestApi::on(database, &url, &[]).await;

    let detail = api
        .service_status()
        .await
        .assert_problem(503, "database_permission");
    assert!(detail.contains("USAGE on schema public"), "{detail}");
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_unavailable() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    api.sql(&format!(
        "alter database {} set default_transaction_read_only = on",
        api.database
    ))
    .await;
    api.cut_connections().await;

    let answer = api
        .chat(json!({ "query": "Hi", "session_id": session_id }))
        .await;
    answer.assert_problem(503, "database_unavailable");
    assert_eq!(
        api.history(session_id, "").await.status,
        200,
        "reading still works"
    );
}

#[tokio::test]
async fn a_locked_session_does_not_hang_a_request() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let connection = api.connection().await;
    connection
        .client()
        .batch_execute("begin; lock table chat_sessions")
        .await
        .unwrap();
    let body = json!({ "query": "Hi", "session_id": session_id, "message_id": Uuid::now_v7() });
    let started = Instant::now();

    let answer = api.chat(body.clone()).await;

    answer.assert_problem(504, "database_timeout");
    // Sent once: 4 s, plus a moment to cancel it.
    assert!(
        started.elapsed() < Duration::from_secs(7),
        "{:?}",
        started.elapsed()
    );
    let waiting = "select count(*) from pg_stat_activity
                   where wait_event_type = 'Lock' and datname = current_database()";
    while api.number(waiting).await > 0 {
        assert!(
            started.elapsed() < BOUND,
            "an abandoned statement is still running"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    connection.client().batch_execute("rollback").await.unwrap();
    let repeated = api.chat(body).await;
    assert_eq!(
        (repeated.status, &repeated.body["conversation_length"]),
        (200, &json!(4))
    );
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_not_sent_again() {
    let (api, proxy) = TestApi::behind_proxy(&[]).await;
    let session_id = api.session(&["Hi"]).await;
    api.slow_messages(30.0).await;
    let body = json!({ "query": "Hi", "session_id": session_id });
    let started = Instant::now();

    let answer = api.chat(body).await;

    let detail = answer.assert_problem(504, "database_timeout");
    assert!(detail.contains("took too long"), "{detail}");
    assert!(
        started.elapsed() < Duration::from_secs(7),
        "{:?}",
        started.elapsed()
    );
    // One for statements, one to cancel; the first is alive and is kept.
    assert_eq!(proxy.connections(), 2);
    assert_eq!(api.status(session_id).await.status, 200);
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn a_cancellation_that_comes_too_late_does_not_hit_the_next_statement() {
    let (api, proxy) = TestApi::behind_proxy(&[]).await;
    // The statement exceeds its timeout but ends before it is cancelled. By then the next statement of
    // the turn is running.
    api.slow_messages(4.3).await;
    proxy.delay_connections(Duration::from_millis(700));

    let answer = api.chat(json!({ "query": "Hi" })).await;

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["conversation_length"], 2);
}

#[tokio::test]
async fn waiting_too_long_for_other_requests_is_not_reported_as_an_outage() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let history = api.history(session_id, "").await;
    let last = history.body["history"][1]["message_id"].as_str().unwrap();
    api.slow_messages(6.0).await;

    let (copied, waited) = tokio::join!(api.fork(session_id, last), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        api.status(session_id).await
    });

    assert_eq!(copied.status, 200, "{}", copied.body);
    waited.assert_problem(504, "database_timeout");
}

#[tokio::test]
async fn content_keys_and_connection_strings_never_reach_the_log() {
    let everything = "trace,tokio_postgres=trace,genai=trace,hyper=trace";
    let (log, _guard) = Log::capture(everything);

    let failure = json!({ "error": { "message": "canary-answer", "code": "rate_limit" } });
    let model = ModelServer::start([
        Reply::Raw(403, "application/json", failure.to_string()),
        Reply::Text("canary-answer".into()),
    ])
    .await;
    let mut settings = model.settings().to_vec();
    settings.push(("OPENAI_API_KEY", "canary-key"));
    let api = TestApi::with_settings(&settings).await;
    let body = json!({
        "query": "canary-query", "metadata": { "canary-name": "canary-value" },
    });

    let failed = api.chat(body.clone()).await;
    failed.assert_problem(502, "model_error");
    // PostgreSQL's own message for a violated constraint quotes the whole row.
    api.sql("alter table chat_messages add constraint no_answers check (role <> 'assistant')")
        .await;
    api.chat(body.clone())
        .await
        .assert_problem(500, "internal_error");
    api.chat(json!({ "query": 7, "metadata": "canary-query" }))
        .await;
    api.cut_connections().await;
    api.chat(body).await;
    let unreachable = "postgresql://canary-user:canary-password@127.0.0.1:1/d";
    let down = TestApi::on(String::new(), unreachable, &settings).await;
    down.service_status()
        .await
        .assert_problem(503, "database_unavailable");

    tracing::trace!(target: "lambda_runtime::layers", body = "canary-event", "raw JSON event");
    tracing::debug!(target: "chat", "our own words");

    let logged = log.text();
    for expected in [
        "403",
        "rate_limit",
        "23514",
        "no_answers",
        "model_error",
        "internal_error",
    ] {
        assert!(
            logged.contains(expected),
            "the log lacks {expected}: {logged}"
        );
    }
    let request_id = failed.headers["x-request-id"].to_str().unwrap();
    assert!(
        logged.contains(request_id),
        "an answer can be found in the log"
    );
    assert!(!logged.contains("canary"), "{logged}");
}
