//! Behind PgBouncer in transaction mode, without prepared statements: the functions do not notice it,
//! `migrate` does. With `TESTS_THROUGH=pgbouncer` the whole suite runs through it.

use std::sync::Arc;

use migrate::{MigrateConfig, MigrateError, migrate, status};
use serde_json::json;
use shared::database::DatabaseConfig;
use uuid::Uuid;

use support::{TestApi, pgbouncer, postgres};

/// The same connection string with the pooler's port.
fn pooled(url: &str) -> String {
    let (before, rest) = url.rsplit_once(':').unwrap();
    let (_, database) = rest.split_once('/').unwrap();
    let port = pgbouncer::port(postgres::server());
    format!("{before}:{port}/{database}")
}

#[tokio::test]
async fn turns_of_many_callers_go_through_a_transaction_pooler() {
    let database = postgres::migrated_database().await;
    let url = pooled(&postgres::app_url(&database));
    let api = Arc::new(TestApi::on_in_environments(database, &url, &[], 12).await);

    let callers = (0..24).map(|_| async {
        let session_id = Uuid::now_v7();
        for query in ["one", "two", "three"] {
            let body = json!({ "query": query, "session_id": session_id });
            let answer = api.chat(body).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        let said = api.history(session_id, "").await.said();
        let asked: Vec<_> = said
            .iter()
            .step_by(2)
            .map(|(_, said)| said.as_str())
            .collect();
        assert_eq!(asked, ["one", "two", "three"]);
    });
    futures_util::future::join_all(callers).await;

    api.verify().await;
}

#[tokio::test]
async fn migrate_notices_a_transaction_pooler_and_says_what_to_set() {
    let database = postgres::empty_database().await;
    let direct = postgres::server().url(&database);
    let through = pooled(&direct);

    let config: MigrateConfig = DatabaseConfig::parse(&through).unwrap().into();
    let error = migrate(&config).await.unwrap_err();
    assert!(matches!(error, MigrateError::Pooled), "{error}");
    assert!(
        error.to_string().contains("MIGRATE_DATABASE_URL"),
        "{error}"
    );
    assert_eq!(status(&config).await.unwrap().schema_version, 0);

    let variables = |name: &str| match name {
        "DATABASE_URL" => Some(through.clone()),
        "MIGRATE_DATABASE_URL" => Some(direct.clone()),
        _ => None,
    };
    let config = MigrateConfig::read(variables).unwrap();
    let report = migrate(&config).await.unwrap();
    assert!(report.pending.is_empty());
}
