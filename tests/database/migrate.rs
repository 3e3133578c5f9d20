//! `migrate`: idempotent, safe to run concurrently, all or nothing, and correct on filled tables.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use migrate::{
    MigrateConfig, MigrateError, handle, known_migrations, migrate, migrate_up_to, status,
};
use serde_json::{Value, json};
use shared::database::DatabaseConfig;

use support::{TestApi, postgres};

/// The configuration to migrate the database of a connection string.
fn config(url: &str) -> MigrateConfig {
    DatabaseConfig::parse(url).unwrap().into()
}

/// The time that an invocation has.
const LIMIT: Duration = Duration::from_secs(120);

async fn empty() -> (String, MigrateConfig) {
    let database = postgres::empty_database().await;
    let config = config(&postgres::server().url(&database));
    (database, config)
}

#[tokio::test]
async fn an_empty_database_is_brought_up_to_date_once() {
    let (_, config) = empty().await;
    let names = known_migrations();
    assert_eq!(names[0], "V1__sessions_and_messages");

    let first = handle(Ok(&config), json!({}), LIMIT).await.unwrap();
    let version = names.len();
    assert_eq!(
        first,
        json!({ "applied": names, "schema_version": version, "pending": [] })
    );
    let second = handle(Ok(&config), json!({ "action": "migrate" }), LIMIT)
        .await
        .unwrap();
    assert_eq!(
        second,
        json!({ "applied": [], "schema_version": version, "pending": [] })
    );
}

#[tokio::test]
async fn status_reports_and_changes_nothing() {
    let (database, config) = empty().await;
    let event = json!({ "action": "status" });
    let names = known_migrations();

    let before = handle(Ok(&config), event.clone(), LIMIT).await.unwrap();
    assert_eq!(
        before,
        json!({ "applied": [], "schema_version": 0, "pending": names })
    );
    let connection = postgres::connect(&postgres::server().url(&database)).await;
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    let row = connection
        .client()
        .query_typed_one(tables, &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);

    migrate_up_to(&config, 2).await.unwrap();
    let between = handle(Ok(&config), event.clone(), LIMIT).await.unwrap();
    assert_eq!(
        between,
        json!({ "applied": names[..2], "schema_version": 2, "pending": names[2..] })
    );
}

#[tokio::test]
async fn an_event_that_asks_for_something_else_is_refused() {
    let (_, config) = empty().await;
    for event in [
        json!({ "action": "drop" }),
        json!({ "action": 1 }),
        json!("status"),
        json!([]),
    ] {
        assert!(matches!(
            handle(Ok(&config), event, LIMIT).await,
            Err(MigrateError::UnknownAction)
        ));
    }
    assert!(handle(Ok(&config), Value::Null, LIMIT).await.is_ok());
}

#[tokio::test]
async fn eight_concurrent_runs_migrate_once() {
    let (_, config) = empty().await;
    let migrators: Vec<_> = (0..8)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move { migrate(&config).await })
        })
        .collect();
    let mut applied = Vec::new();
    for migrator in migrators {
        let report = migrator.await.unwrap().unwrap();
        assert!(report.pending.is_empty());
        applied.extend(report.applied);
    }
    assert_eq!(applied, known_migrations());
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind() {
    let (database, config) = empty().await;
    // A table that the first migration creates second exists already.
    postgres::run(&database, "create table chat_messages (x int)").await;

    let error = migrate(&config).await.unwrap_err();

    let text = error.to_string();
    assert!(text.contains("V1__sessions_and_messages"), "{text}");
    assert!(text.contains("chat_messages"), "{text}");
    let state = status(&config).await.unwrap();
    assert_eq!((state.schema_version, state.applied.len()), (0, 0));
    postgres::run(&database, "drop table chat_messages").await;
    migrate(&config).await.unwrap();
}

#[tokio::test]
async fn a_file_that_was_changed_missing_or_slipped_in_is_refused() {
    let cases = [
        (
            "update refinery_schema_history set checksum = '1' where version = 2",
            "V2__events_and_erasures was changed",
        ),
        (
            "insert into refinery_schema_history values (99, 'future', '2026-01-01T00:00:00Z', '1')",
            "V99__future, which this version does not know",
        ),
        (
            "delete from refinery_schema_history where version = 2",
            "V2__events_and_erasures was never applied but later ones were",
        ),
    ];
    for (change, expected) in cases {
        let api = TestApi::start().await;
        api.sql(change).await;
        let url = postgres::server().url(&api.database);
        let error = migrate(&config(&url)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn tables_with_rows_are_carried_along_from_every_version() {
    let filled = TestApi::start().await;
    let session_id = filled.session(&["Hi", "An audio about sleep"]).await;
    let (before, stats) = (
        filled.history(session_id, "").await.body,
        filled.status(session_id).await.body,
    );
    for version in 1..=i32::try_from(known_migrations().len()).unwrap() {
        let (database, config) = empty().await;
        migrate_up_to(&config, version).await.unwrap();
        copy_rows(&filled, &database).await;

        migrate(&config).await.unwrap();

        let url = postgres::server().url(&database);
        let api = TestApi::on(database, &url, &[]).await;
        assert_eq!(api.history(session_id, "").await.body, before);
        assert_eq!(api.status(session_id).await.body, stats);
        api.verify().await;
        let turn = api
            .chat(json!({ "query": "Bye", "session_id": session_id }))
            .await;
        assert_eq!(turn.body["conversation_length"], 6);
    }
}

/// Copies the rows of both tables into another database, without what that works out by itself.
async fn copy_rows(filled: &TestApi, database: &str) {
    let source = filled.connection().await;
    let target = postgres::connect(&postgres::server().url(database)).await;
    for table in ["chat_sessions", "chat_messages"] {
        let columns = format!(
            "select string_agg(column_name, ', ') from information_schema.columns
             where table_schema = 'public' and table_name = '{table}'
               and is_generated = 'NEVER' and is_identity = 'NO'"
        );
        let columns = target.client().query_typed_one(&columns, &[]).await;
        let columns: String = columns.unwrap().get(0);
        let rows = source
            .client()
            .query_typed(&format!("select to_jsonb(t)::text from {table} t"), &[])
            .await
            .unwrap();
        for row in rows {
            let row = row.get::<_, String>(0).replace('\'', "''");
            postgres::run(
                database,
                &format!(
                    "insert into {table} ({columns})
                     select {columns} from jsonb_populate_record(null::{table}, '{row}')"
                ),
            )
            .await;
        }
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_a_failed_invocation() {
    let config = config("postgresql://u:hunter2@127.0.0.1:1/d");
    let error = handle(Ok(&config), json!({}), LIMIT).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("refused"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// A server that stands in for CloudFormation's bucket, and records the answers that arrive there.
struct CloudFormation {
    url: String,
    told: Arc<Mutex<Vec<Value>>>,
}

impl CloudFormation {
    async fn start() -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/bucket?signature=secret",
            listener.local_addr().unwrap()
        );
        let router = Router::new()
            .fallback(Self::put)
            .with_state(Arc::clone(&told));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, told }
    }

    async fn put(State(told): State<Arc<Mutex<Vec<Value>>>>, request: Request) -> StatusCode {
        assert_eq!(request.method(), "PUT");
        assert_eq!(
            request.headers()["content-type"],
            "",
            "the signature covers it"
        );
        let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
        told.lock()
            .unwrap()
            .push(serde_json::from_slice(&body).unwrap());
        StatusCode::OK
    }

    fn event(&self, request_type: &str) -> Value {
        json!({
            "RequestType": request_type,
            "ResponseURL": self.url,
            "StackId": "stack",
            "RequestId": "request",
            "ResourceType": "Custom::Migration",
            "LogicalResourceId": "Migration",
            "PhysicalResourceId": "daissy-schema",
            "ServiceToken": "arn",
            "ResourceProperties": { "ServiceToken": "arn", "Migrations": "1" },
            "OldResourceProperties": { "ServiceToken": "arn", "Migrations": "0" },
        })
    }

    fn last(&self) -> Value {
        self.told.lock().unwrap().last().cloned().unwrap()
    }
}

#[tokio::test]
async fn a_custom_resource_is_told_the_result() {
    let (_, config) = empty().await;
    let cloud_formation = CloudFormation::start().await;

    for request_type in ["Create", "Update", "Delete"] {
        handle(Ok(&config), cloud_formation.event(request_type), LIMIT)
            .await
            .unwrap();
        let told = cloud_formation.last();
        assert_eq!(told["Status"], "SUCCESS", "{request_type}: {told}");
        assert_eq!(told["PhysicalResourceId"], "daissy-schema");
        for (member, value) in [
            ("Reason", ""),
            ("StackId", "stack"),
            ("RequestId", "request"),
            ("LogicalResourceId", "Migration"),
        ] {
            assert_eq!(told[member], value, "{request_type}");
        }
    }
    assert!(
        status(&config).await.unwrap().pending.is_empty(),
        "deleting keeps the schema"
    );
}

#[tokio::test]
async fn a_custom_resource_is_told_of_a_failure_and_the_invocation_fails() {
    let (database, config) = empty().await;
    postgres::run(&database, "create table chat_messages (x int)").await;
    let cloud_formation = CloudFormation::start().await;

    let result = handle(Ok(&config), cloud_formation.event("Create"), LIMIT).await;

    assert!(result.is_err());
    let told = cloud_formation.last();
    assert_eq!(told["Status"], "FAILED");
    assert!(
        told["Reason"]
            .as_str()
            .unwrap()
            .contains("V1__sessions_and_messages"),
        "{told}"
    );
}

#[tokio::test]
async fn a_stack_that_rolls_back_meets_a_newer_schema_and_succeeds() {
    let (database, config) = empty().await;
    migrate(&config).await.unwrap();
    let future =
        "insert into refinery_schema_history values (99, 'future', '2026-01-01T00:00:00Z', '1')";
    postgres::run(&database, future).await;
    let cloud_formation = CloudFormation::start().await;

    handle(Ok(&config), cloud_formation.event("Update"), LIMIT)
        .await
        .unwrap();
    assert_eq!(cloud_formation.last()["Status"], "SUCCESS");
    assert!(
        handle(Ok(&config), cloud_formation.event("Create"), LIMIT)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_custom_resource_is_told_when_no_database_is_configured_or_time_runs_out() {
    let cloud_formation = CloudFormation::start().await;
    let unusable = DatabaseConfig::parse("postgresql://h/d?colour=blue").unwrap_err();

    assert!(
        handle(Err(unusable), cloud_formation.event("Create"), LIMIT)
            .await
            .is_err()
    );
    let told = cloud_formation.last();
    assert_eq!(told["Status"], "FAILED");
    assert!(
        told["Reason"].as_str().unwrap().contains("colour"),
        "{told}"
    );

    // Another migration holds the lock for longer than the invocation may take.
    let (database, config) = empty().await;
    let other = postgres::connect(&postgres::server().url(&database)).await;
    other
        .client()
        .batch_execute("select pg_advisory_lock(110369543779193)")
        .await
        .unwrap();
    let limit = Duration::from_secs(13);
    assert!(
        handle(Ok(&config), cloud_formation.event("Create"), limit)
            .await
            .is_err()
    );
    let told = cloud_formation.last();
    assert_eq!(told["Status"], "FAILED", "{told}");
    assert!(
        told["Reason"].as_str().unwrap().contains("more time"),
        "{told}"
    );
}

#[tokio::test]
async fn a_custom_resource_is_told_whatever_its_event_lacks() {
    let (_, config) = empty().await;
    let cloud_formation = CloudFormation::start().await;
    let without = |name: &str| {
        let mut event = cloud_formation.event("Update");
        event.as_object_mut().unwrap().remove(name);
        event
    };

    for name in ["PhysicalResourceId", "ResourceProperties", "StackId"] {
        handle(Ok(&config), without(name), LIMIT).await.unwrap();
        assert_eq!(cloud_formation.last()["Status"], "SUCCESS", "{name}");
    }

    for event in [without("RequestType"), cloud_formation.event("Import")] {
        let result = handle(Ok(&config), event, LIMIT).await;
        let told = cloud_formation.last();
        assert!(result.is_err(), "{told}");
        assert_eq!(told["Status"], "FAILED", "{told}");
        let reason = told["Reason"].as_str().unwrap();
        assert!(reason.contains("RequestType"), "{told}");
    }
    assert_eq!(cloud_formation.told.lock().unwrap().len(), 5);

    let nowhere = handle(Ok(&config), without("ResponseURL"), LIMIT).await;
    let error = nowhere.unwrap_err().to_string();
    assert!(error.contains("ResponseURL"), "{error}");
}
