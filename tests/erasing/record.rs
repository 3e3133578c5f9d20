//! The record of erasures: what is in it is erased, and its ids are never opened again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use shared::buckets::Buckets;
use shared::caller::{Caller, Permissions};
use shared::database::{Database, DatabaseConfig};
use shared::store::links::Links;
use shared::store::{Store, sessions};
use tokio::time::Instant;
use uuid::Uuid;

use support::maintain::{config, maintain, try_maintain};
use support::model_server::{ModelServer, Reply};
use support::{TestApi, postgres};

/// Erases a session as its caller does: at once invisible, its rows to follow.
async fn mark(api: &TestApi, session_id: Uuid) {
    api.sql(&format!(
        "insert into chat_erasures (session_id, message_count, on_behalf_of)
         select session_id, message_count, 'caller' from chat_sessions
         where session_id = '{session_id}';
         update chat_sessions set erased_at = now() where session_id = '{session_id}'"
    ))
    .await;
}

/// Records an erasure as a backup of the record brings it back.
async fn record(api: &TestApi, session_id: Uuid, message_count: i64) {
    api.sql(&format!(
        "insert into chat_erasures (session_id, message_count, on_behalf_of)
         values ('{session_id}', {message_count}, 'operator')"
    ))
    .await;
}

#[tokio::test]
async fn what_its_caller_erased_is_gone_after_the_next_run() {
    let api = TestApi::start().await;
    let (erased, kept) = (
        api.session(&["Hi", "Bye"]).await,
        api.session(&["Hi"]).await,
    );
    api.reset(erased).await;
    mark(&api, erased).await;
    api.verify().await;

    let report = maintain(&api, &[], json!({ "action": "run" })).await;

    let expected = json!({
        "action": "run", "dry_run": false, "expired": 0,
        "erased": { "sessions": 1, "messages": 4, "events": 1, "feedback": 0, "search_entries": 0, "streams": 0 }, "indexed": 2, "complete": true,
    });
    assert_eq!(report, expected);
    assert_eq!(api.history(kept, "").await.body["message_count"], 2);
    for table in ["chat_sessions", "chat_messages", "chat_events"] {
        let left = format!("select count(*) from {table} where session_id = '{erased}'");
        assert_eq!(api.number(&left).await, 0, "{table}");
    }
    let recorded = "select message_count from chat_erasures
        where on_behalf_of = 'caller' and finished_at > erased_at";
    assert_eq!(api.number(recorded).await, 4);
    api.verify().await;
}

#[tokio::test]
async fn an_erasure_younger_than_the_backup_is_applied_again() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    record(&api, session_id, 6).await;
    // One of a session that the backup does not have.
    record(&api, Uuid::now_v7(), 2).await;

    let report = maintain(&api, &[], json!({})).await;

    assert_eq!(report["erased"]["sessions"], 1, "{report}");
    api.history(session_id, "")
        .await
        .assert_problem(404, "session_not_found");
    // What the record says stays: the backup may have had fewer messages.
    assert_eq!(
        api.number("select sum(message_count)::bigint from chat_erasures")
            .await,
        8
    );
    let unfinished = "select count(*) from chat_erasures where finished_at is null";
    assert_eq!(api.number(unfinished).await, 0);
    api.verify().await;
}

#[tokio::test]
async fn a_session_is_invisible_from_the_first_batch_on_and_a_run_out_of_time_is_continued() {
    let api = TestApi::start().await;
    let session_id = api.session(&["one", "two"]).await;
    record(&api, session_id, 4).await;
    let one_by_one = config(&api, &[("MAINTAIN_BATCH_ROWS", "1")]);

    // No time but for the first step.
    let report = maintain::handle(Ok(&one_by_one), json!({}), Duration::ZERO).await;

    let report = report.unwrap();
    assert_eq!(report["complete"], false);
    api.history(session_id, "")
        .await
        .assert_problem(404, "session_not_found");
    assert_eq!(api.number("select count(*) from chat_messages").await, 4);
    api.verify().await;
    let report = maintain(&api, &[], json!({})).await;
    assert_eq!(
        (&report["complete"], &report["erased"]["messages"]),
        (&json!(true), &json!(4))
    );
    assert_eq!(api.number("select count(*) from chat_messages").await, 0);
}

#[tokio::test]
async fn a_session_of_which_a_part_is_gone_breaks_no_invariant() {
    let api = TestApi::start().await;
    let session_id = api.session(&["one", "two", "three"]).await;
    let copied = api.history(session_id, "").await.body["history"][3]["message_id"].clone();
    api.fork(session_id, copied.as_str().unwrap()).await;
    mark(&api, session_id).await;
    api.sql(&format!(
        "delete from chat_messages where session_id = '{session_id}' and seq in (2, 3, 4)"
    ))
    .await;
    api.verify().await;
}

#[tokio::test]
async fn a_turn_in_progress_loses_and_its_answer_is_stored_nowhere() {
    let model = ModelServer::start([Reply::Text("Hello".into()), Reply::Held("Late".into())]).await;
    let api = Arc::new(TestApi::with_settings(&model.settings()).await);
    let session_id = api.session(&["Hi"]).await;
    model.asked().await;
    let turn = api.chat_meanwhile(json!({ "query": "Still there?", "session_id": session_id }));
    model.asked().await;
    record(&api, session_id, 3).await;

    let report = maintain(&api, &[], json!({})).await;
    model.release();

    turn.await.unwrap().assert_problem(404, "session_not_found");
    assert_eq!(report["erased"]["messages"], 3);
    for table in ["chat_sessions", "chat_messages", "chat_events"] {
        assert_eq!(
            api.number(&format!("select count(*) from {table}")).await,
            0,
            "{table}"
        );
    }
    api.verify().await;
}

#[tokio::test]
async fn a_turn_that_fails_while_its_session_is_being_erased_leaves_no_event() {
    let model = ModelServer::start([
        Reply::Text("Hello".into()),
        Reply::Late(Duration::from_secs(60), "Too late".into()),
    ])
    .await;
    let mut settings = model.settings().to_vec();
    settings.push(("MODEL_TIMEOUT_SECONDS", "1"));
    let api = Arc::new(TestApi::with_settings(&settings).await);
    let session_id = api.session(&["Hi"]).await;
    // An event takes so long to store that the session could be gone before it is there.
    api.sql(
        "create function pause() returns trigger language plpgsql as
         $$ begin perform pg_sleep(2); return new; end $$;
         create trigger pause before insert on chat_events for each row execute function pause()",
    )
    .await;
    model.asked().await;
    let turn = api.chat_meanwhile(json!({ "query": "Still there?", "session_id": session_id }));
    let storing = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event = 'PgSleep'";
    while api.number(storing).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    mark(&api, session_id).await;
    maintain(&api, &[], json!({})).await;

    turn.await.unwrap().assert_problem(504, "model_timeout");
    assert_eq!(api.number("select count(*) from chat_events").await, 0);
    api.verify().await;
}

#[tokio::test]
async fn an_erased_id_is_opened_by_no_route_and_by_no_statement() {
    let api = TestApi::start().await;
    let source = api.session(&["Hi"]).await;
    let said = api.history(source, "").await.body["history"][1]["message_id"].clone();
    let said: Uuid = said.as_str().unwrap().parse().unwrap();
    let erased = api.session(&["Hi"]).await;
    record(&api, erased, 2).await;
    maintain(&api, &[], json!({})).await;

    let turn = json!({ "query": "Hi", "session_id": erased });
    for answer in [
        api.chat(turn).await,
        api.history(erased, "").await,
        api.status(erased).await,
        api.load(erased).await,
        api.fork(erased, said).await,
        api.reset(erased).await,
    ] {
        answer.assert_problem(404, "session_not_found");
    }

    // Statements that are sent again long after they first ran, with the id they opened then.
    let url = postgres::app_url(&api.database);
    let database = Database::new(DatabaseConfig::parse(&url).unwrap());
    let store = Store::new(Arc::new(database));
    let caller = Caller {
        owner: None,
        permissions: Permissions::default(),
        deadline: Instant::now() + Duration::from_secs(20),
    };
    sessions::open(&store, &caller, erased).await.unwrap();
    sessions::reset(&store, &caller, source, erased)
        .await
        .unwrap();
    let links = Links::new(store.clone(), Buckets::default());
    sessions::fork(&store, &links, &caller, source, said, erased)
        .await
        .unwrap();
    let there = format!("select count(*) from chat_sessions where session_id = '{erased}'");
    assert_eq!(api.number(&there).await, 0);
    api.verify().await;
}

#[tokio::test]
async fn runs_at_the_same_time_share_the_work() {
    let api = TestApi::start().await;
    api.sql(&rig::sessions::filled_sessions(
        "select gen_random_uuid() as session_id from generate_series(1, 150)",
        20,
        10,
    ))
    .await;
    api.sql(
        "insert into chat_erasures (session_id, message_count, on_behalf_of)
         select session_id, message_count, 'operator' from chat_sessions",
    )
    .await;
    // Each with batches of its own size, so that none goes through the rows like another.
    let sizes = ["7", "50", "300", "1000"].map(|rows| [("MAINTAIN_BATCH_ROWS", rows)]);

    let runs = sizes.iter().map(|size| try_maintain(&api, size, json!({})));
    let runs = futures_util::future::join_all(runs).await;

    let count = |name: &str| {
        let counts = runs
            .iter()
            .map(|run| run.as_ref().unwrap()["erased"][name].as_i64());
        counts.map(|count| count.unwrap_or(0)).sum::<i64>()
    };
    assert_eq!((count("sessions"), count("messages")), (150, 3000));
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(api.number(deadlocks).await, 0);
    assert_eq!(api.number("select count(*) from chat_sessions").await, 0);
    api.verify().await;
}

#[tokio::test]
async fn what_was_erased_is_not_in_the_index_for_searching_nor_comes_back_into_it() {
    let api = TestApi::start().await;
    let (erased, kept) = (
        api.session(&["pomegranate"]).await,
        api.session(&["pomegranate"]).await,
    );
    let report = maintain(&api, &[], json!({})).await;
    assert_eq!(report["indexed"], 4);
    assert_eq!(
        api.search("pomegranate", "").await.body["results"]
            .as_array()
            .unwrap()
            .len(),
        4
    );

    // Messages are being taken in when the session is erased.
    let connection = api.connection().await;
    let client = connection.client();
    client
        .batch_execute("begin; select * from chat_search_state for update")
        .await
        .unwrap();
    assert_eq!(api.erase(erased).await.status, 200);
    let run = tokio::spawn({
        let config = config(&api, &[]);
        async move { maintain::handle(Ok(&config), json!({}), Duration::from_secs(60)).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        api.number("select count(*) from chat_search").await,
        4,
        "it waits"
    );
    client.batch_execute("commit").await.unwrap();
    let report = run.await.unwrap().unwrap();

    assert_eq!(report["erased"]["search_entries"], 2);
    assert_eq!(api.number("select count(*) from chat_search").await, 2);
    let found = api.search("pomegranate", "").await;
    let found = found.body["results"].as_array().unwrap();
    assert!(
        found.iter().all(|hit| hit["session_id"] == json!(kept)),
        "{found:?}"
    );
    api.verify().await;
}

#[tokio::test]
async fn a_session_erased_during_a_run_does_not_come_back_into_the_index() {
    let api = TestApi::start().await;
    let (first, second) = (api.session(&["Hi"]).await, api.session(&["Hi"]).await);
    mark(&api, first).await;
    // The run waits at its first row.
    let holding = api.connection().await;
    let hold = format!(
        "begin; select from chat_messages where session_id = '{first}' order by seq limit 1 for update"
    );
    holding.client().batch_execute(&hold).await.unwrap();
    let run = tokio::spawn({
        // After that row it looks for more, of all sessions that it erases.
        let config = config(&api, &[("MAINTAIN_BATCH_ROWS", "1")]);
        async move { maintain::handle(Ok(&config), json!({}), Duration::from_secs(60)).await }
    });
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    while api.number(waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    // A message of the second session is being taken into the index when its caller erases it.
    let filling = api.connection().await;
    let fill = format!(
        "begin; select from chat_search_state for update;
         insert into chat_search (session_id, seq, timestamp, role, part, vector)
         values ('{second}', 1, now(), 'user', 1, '')"
    );
    filling.client().batch_execute(&fill).await.unwrap();
    assert_eq!(api.erase(second).await.status, 200);
    holding.client().batch_execute("commit").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    filling.client().batch_execute("commit").await.unwrap();

    let report = run.await.unwrap().unwrap();
    assert_eq!(report["complete"], true, "{report}");
    assert_eq!(api.number("select count(*) from chat_sessions").await, 0);
    assert_eq!(api.number("select count(*) from chat_search").await, 0);
    api.verify().await;
}

#[tokio::test]
async fn a_user_without_the_rights_is_told_which_it_lacks() {
    let api = TestApi::start().await;
    let url = postgres::app_url(&api.database);
    let config =
        maintain::MaintainConfig::read(|name| (name == "DATABASE_URL").then(|| url.clone()));
    let config = config.unwrap();
    let limit = Duration::from_secs(60);
    // With nothing to erase, those for the search index are missed.
    let error = maintain::handle(Ok(&config), json!({}), limit).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("UPDATE on chat_search_state"), "{error}");

    record(&api, api.session(&["Hi"]).await, 2).await;
    let error = maintain::handle(Ok(&config), json!({}), limit).await;
    let error = error.unwrap_err().to_string();
    for expected in ["DELETE on chat_messages", "daissy_maintain"] {
        assert!(error.contains(expected), "{error}");
    }
}
