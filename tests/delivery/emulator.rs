//! The functions themselves in the Lambda emulator: cold and warm, several instances concurrently, and
//! `migrate` and `maintain` invoked by hand. With `TESTS_API=emulator` the tests of each endpoint run there, too.

use std::sync::Arc;
use std::time::Duration;

use load_session::LoadSession;
use local::endpoints;
use serde_json::{Value, json};
use shared::http::endpoint::Endpoint;
use uuid::Uuid;

use support::api::Answer;
use support::emulator::Emulator;
use support::postgres;

struct Api {
    emulator: Emulator,
    client: reqwest::Client,
}

impl Api {
    fn start(database: &str, instances: usize) -> Self {
        let url = postgres::app_url(database);
        Self {
            emulator: Emulator::start(&[("DATABASE_URL", url.as_str())], instances),
            client: reqwest::Client::new(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.emulator.port)
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.client.post(self.url(path)).json(&body);
        let answer = Answer::over_http(request).await.unwrap();
        (answer.status, answer.body)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.client.get(self.url(path));
        let answer = Answer::over_http(request).await.unwrap();
        (answer.status, answer.body)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_runs_through_every_function_cold_and_warm() {
    let api = Api::start(&postgres::migrated_database().await, 1);
    // In the first round the functions have only just started.
    for _ in 0..2 {
        let (status, turn) = api.post("/chat", json!({ "query": "Hello" })).await;
        assert_eq!(status, 200, "{turn}");
        let session_id = turn["session_id"].as_str().unwrap();

        let (status, history) = api
            .get(&format!("/chat/history/{session_id}?limit=1"))
            .await;
        assert_eq!((status, &history["message_count"]), (200, &json!(2)));
        assert_eq!(history["history"][0]["content"], "Hello");
        let load = LoadSession::ROUTES[0].path;
        let path = format!("{load}?session_id={session_id}");
        let (status, loaded) = api.post(&path, Value::Null).await;
        assert_eq!((status, &loaded["conversation_length"]), (200, &json!(2)));
        let path = format!("/chat/reset?session_id={session_id}");
        let (status, reset) = api.post(&path, Value::Null).await;
        assert_eq!((status, &reset["session_id"]), (200, &json!(session_id)));
        let path = format!("/chat/status?session_id={session_id}");
        let (status, stats) = api.get(&path).await;
        assert_eq!((status, &stats["status"]), (200, &json!("inactive")));

        let again = json!({ "query": "Hello", "session_id": session_id });
        let (status, refused) = api.post("/chat", again).await;
        assert_eq!(
            (status, &refused["code"]),
            (409, &json!("session_inactive"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_instances_of_a_function_work_side_by_side() {
    let database = postgres::migrated_database().await;
    let api = Arc::new(Api::start(&database, 3));
    let callers = (0..12).map(|_| async {
        let session_id = Uuid::now_v7();
        for query in ["one", "two"] {
            let body = json!({ "query": query, "session_id": session_id });
            let (status, turn) = api.post("/chat", body).await;
            assert_eq!(status, 200, "{turn}");
        }
    });
    futures_util::future::join_all(callers).await;

    let connection = postgres::connect(&postgres::server().url(&database)).await;
    let count = async |query: &str| -> i64 {
        let row = connection.client().query_typed_one(query, &[]).await;
        row.unwrap().get(0)
    };
    assert_eq!(count("select count(*) from chat_messages").await, 48);
    // Each instance has its own connection, from its start: also those of functions that nobody called. On a busy
    // machine some are late, and connect with their first request.
    let instances = 3 * i64::try_from(endpoints::table().len()).unwrap();
    let connections = "select count(*) from pg_stat_activity
        where datname = current_database() and usename = 'daissy_app'";
    if std::env::var_os("TESTS_THROUGH").is_none() {
        let count = count(connections).await;
        assert!(
            count > instances / 2 && count <= instances,
            "{count} of {instances}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_listed_origins_may_read_what_streams() {
    let database = postgres::migrated_database().await;
    let url = postgres::app_url(&database);
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("CORS_ALLOWED_ORIGINS", "https://app.example"),
    ];
    let api = Api {
        emulator: Emulator::with_functions(&["stream"], &settings, 1),
        client: reqwest::Client::new(),
    };
    for (body, status) in [(json!({ "query": "Hello" }), 200), (json!({}), 400)] {
        for (origin, may) in [
            ("https://app.example", true),
            ("https://evil.example", false),
        ] {
            let request = api.client.post(api.url("/chat/stream")).json(&body);
            let request = request.header("origin", origin);
            let answer = Answer::over_http(request).await.unwrap();
            assert_eq!(answer.status, status);
            let allowed = answer.headers.get("access-control-allow-origin");
            let allowed = allowed.map(|origin| origin.to_str().unwrap());
            assert_eq!(allowed, may.then_some(origin), "{status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_without_a_database_says_so_to_its_first_caller() {
    let api = Api {
        emulator: Emulator::start(&[], 1),
        client: reqwest::Client::new(),
    };
    for path in ["/chat/status", "/chat/history/x"] {
        let answered = tokio::time::timeout(Duration::from_secs(10), api.get(path)).await;
        let (status, problem) = answered.expect("an answer");
        assert_eq!((status, &problem["code"]), (500, &json!("not_configured")));
        assert!(!problem.to_string().contains("DATABASE_URL"), "{problem}");
    }
    let (status, problem) = api.post("/chat", json!({ "query": "Hello" })).await;
    assert_eq!((status, &problem["code"]), (500, &json!("not_configured")));
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_is_invoked_by_hand_with_the_events_of_the_project() {
    let database = postgres::empty_database().await;
    let url = postgres::server().url(&database);
    let settings = [("DATABASE_URL", url.as_str())];
    let emulator = Emulator::with_functions(&["migrate"], &settings, 1);
    let event = |name: &str| format!("{}/events/{name}", env!("CARGO_MANIFEST_DIR"));
    let names = migrate::known_migrations();

    let (well, printed) = emulator
        .invoke("migrate", &["--data-file", &event("migrate-status.json")])
        .await;
    assert!(well, "{printed}");
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["pending"], json!(names));

    let (well, printed) = emulator
        .invoke("migrate", &["--data-file", &event("migrate.json")])
        .await;
    assert!(well, "{printed}");
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["applied"], json!(names));

    let (well, printed) = emulator
        .invoke("migrate", &["--data-ascii", r#"{"action": "drop"}"#])
        .await;
    assert!(!well, "{printed}");
    assert!(printed.contains("unknown action"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn maintain_is_invoked_by_a_schedule_and_by_hand_with_the_events_of_the_project() {
    let database = postgres::migrated_database().await;
    let url = postgres::maintain_url(&database);
    let sessions = "insert into chat_sessions (session_id, owner, created_at)
        values (gen_random_uuid(), 'jwt:alice', now()), (gen_random_uuid(), 'jwt:alice', '2020-01-01')";
    postgres::run(&database, sessions).await;
    let settings = [("DATABASE_URL", url.as_str()), ("RETENTION_DAYS", "365")];
    let emulator = Emulator::with_functions(&["maintain"], &settings, 1);
    let event = |name: &str| format!("{}/events/{name}", env!("CARGO_MANIFEST_DIR"));
    let erased = |printed: &str| -> Value {
        let report: Value = serde_json::from_str(printed).unwrap();
        json!([
            report["action"],
            report["dry_run"],
            report["erased"]["sessions"]
        ])
    };

    let scheduled = event("maintain-schedule.json");
    let (well, printed) = emulator
        .invoke("maintain", &["--data-file", &scheduled])
        .await;
    assert!(well, "{printed}");
    assert_eq!(erased(&printed), json!(["run", false, 1]));

    let counted = event("maintain-erase.json");
    let (well, printed) = emulator
        .invoke("maintain", &["--data-file", &counted])
        .await;
    assert!(well, "{printed}");
    assert_eq!(erased(&printed), json!(["erase", true, 1]));

    let (well, printed) = emulator
        .invoke("maintain", &["--data-ascii", r#"{"action": "erase"}"#])
        .await;
    assert!(!well, "{printed}");
    assert!(printed.contains("jwt:alice"), "{printed}");
    // It keeps no connection, which would keep a cluster from pausing.
    let connection = postgres::connect(&postgres::server().url(&database)).await;
    let connections = "select count(*) from pg_stat_activity where usename = 'daissy_maintain'
        and datname = current_database()";
    let row = connection.client().query_typed_one(connections, &[]).await;
    // A pooler keeps its own.
    if std::env::var_os("TESTS_THROUGH").is_none() {
        assert_eq!(row.unwrap().get::<_, i64>(0), 0);
    }
}
