//! `cargo run -- maintain` and `erase`, and what a running server does by itself.

use std::time::{Duration, Instant};

use support::local_run::{LocalRun, run};
use support::{TestApi, postgres};

/// How long a running server may take to notice.
const PATIENCE: Duration = Duration::from_secs(30);

async fn with_a_session_of_alice() -> (TestApi, String) {
    let api = TestApi::start().await;
    api.session(&["Hi"]).await;
    api.sql("update chat_sessions set owner = 'jwt:alice'")
        .await;
    let url = postgres::maintain_url(&api.database);
    (api, url)
}

#[tokio::test]
async fn nothing_is_erased_unless_somebody_says_yes() {
    let folder = tempfile::tempdir().unwrap();
    let (api, maintain) = with_a_session_of_alice().await;
    let app = postgres::app_url(&api.database);
    let settings = [
        ("DATABASE_URL", app.as_str()),
        ("MAINTAIN_DATABASE_URL", maintain.as_str()),
    ];
    let erase = |further: &'static [&'static str]| {
        let arguments = [&["erase"], further].concat();
        let folder = folder.path().to_owned();
        async move { run(&arguments, &folder, &settings).await }
    };

    let counted = erase(&["--owner", "jwt:alice", "--dry-run"]).await;
    assert!(counted.success, "{counted:?}");
    let found =
        "1 session, 0 events, 0 feedback, 2 messages, 0 search entries, 0 streams of jwt:alice";
    assert!(counted.printed.contains(found), "{counted:?}");

    let refused = erase(&["--owner", "jwt:alice"]).await;
    assert!(!refused.success);
    assert!(refused.complained.contains("--yes"), "{refused:?}");
    for arguments in [&[][..], &["--owner"], &["jwt:alice", "--yes"]] {
        assert!(!erase(arguments).await.success, "{arguments:?}");
    }
    assert_eq!(api.number("select count(*) from chat_sessions").await, 1);

    let erased = erase(&["--owner", "jwt:alice", "--yes"]).await;
    assert!(erased.success, "{erased:?}");
    assert!(
        erased.printed.contains(
            "erased    1 session, 0 events, 0 feedback, 2 messages, 0 search entries, 0 streams"
        ),
        "{erased:?}"
    );
    assert_eq!(api.number("select count(*) from chat_sessions").await, 0);

    // A name that is only half of one is the likeliest mistake.
    let unknown = erase(&["--owner", "alice", "--yes"]).await;
    assert!(unknown.printed.contains("with its kind"), "{unknown:?}");
}

#[tokio::test]
async fn one_run_does_all_there_is_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (api, url) = with_a_session_of_alice().await;
    let settings = [("DATABASE_URL", url.as_str())];
    let idle = run(&["maintain"], folder.path(), &settings).await;
    assert!(idle.success && idle.printed.contains("not set"), "{idle:?}");
    let indexed = "indexed   2 messages\n";
    assert!(idle.printed.contains(indexed), "{idle:?}");

    api.sql(
        "update chat_messages set timestamp = '2020-01-01';
         update chat_sessions set created_at = '2020-01-01', last_message_time = '2020-01-01'",
    )
    .await;
    let settings = [("DATABASE_URL", url.as_str()), ("RETENTION_DAYS", "365")];
    let done = run(&["maintain"], folder.path(), &settings).await;
    assert!(done.success, "{done:?}");
    assert!(done.printed.contains("expired   1 session\n"), "{done:?}");
    assert!(done.printed.contains("2 messages"), "{done:?}");
    api.verify().await;

    let unfinished = run(&["erase"], folder.path(), &settings).await;
    let complained = "not with these arguments: erase\n";
    assert!(unfinished.complained.contains(complained), "{unfinished:?}");
}

#[tokio::test]
async fn check_says_which_rights_the_user_of_maintain_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let api = TestApi::start().await;
    let (app, maintain) = (
        postgres::app_url(&api.database),
        postgres::maintain_url(&api.database),
    );
    let settings = [
        ("DATABASE_URL", app.as_str()),
        ("MAINTAIN_DATABASE_URL", maintain.as_str()),
    ];
    let whole = run(&["check"], folder.path(), &settings).await;
    assert!(whole.success, "{whole:?}");
    assert!(
        whole.printed.contains("maintain  rights complete"),
        "{whole:?}"
    );

    let missing = "revoke delete on chat_messages from daissy_maintain";
    postgres::run(&api.database, missing).await;
    let lacking = run(&["check"], folder.path(), &settings).await;
    assert!(!lacking.success);
    let named = "maintain  rights missing: DELETE on chat_messages";
    assert!(lacking.printed.contains(named), "{lacking:?}");

    // Without one of its own nothing is said about it.
    let settings = [("DATABASE_URL", app.as_str())];
    let checked = run(&["check"], folder.path(), &settings).await;
    assert!(
        checked.success && !checked.printed.contains("maintain"),
        "{checked:?}"
    );
}

#[tokio::test]
async fn a_running_server_erases_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    api.sql(&format!(
        "insert into chat_erasures (session_id, message_count, on_behalf_of)
         values ('{session_id}', 2, 'operator')"
    ))
    .await;
    let (app, maintain) = (
        postgres::app_url(&api.database),
        postgres::maintain_url(&api.database),
    );
    let mut settings = vec![
        ("DATABASE_URL", app.as_str()),
        ("MAINTAIN_DATABASE_URL", maintain.as_str()),
    ];

    // Unless it is told not to.
    settings.push(("MAINTAIN_EVERY_MINUTES", "0"));
    let local = LocalRun::start(folder.path(), &settings).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let visible = "select count(*) from chat_sessions where erased_at is null";
    assert_eq!(api.number(visible).await, 1);
    local.stop().await;

    settings.pop();
    let local = LocalRun::start(folder.path(), &settings).await;
    let started = Instant::now();
    while api.number("select count(*) from chat_sessions").await > 0 {
        assert!(
            started.elapsed() < PATIENCE,
            "{}",
            local.complaints().text()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let complaints = local.complaints();
    local.stop().await;
    assert_eq!(complaints.text(), "");
    api.verify().await;
}

#[tokio::test]
async fn a_running_server_that_may_not_erase_says_so_and_serves() {
    let folder = tempfile::tempdir().unwrap();
    let api = TestApi::start().await;
    let session_id = api.session(&["canary"]).await;
    api.sql(&format!(
        "insert into chat_erasures (session_id, message_count, on_behalf_of)
         values ('{session_id}', 2, 'operator')"
    ))
    .await;
    let app = postgres::app_url(&api.database);
    let local = LocalRun::start(folder.path(), &[("DATABASE_URL", &app)]).await;
    let complaints = local.complaints();
    let started = Instant::now();
    while !complaints.text().contains("DELETE on chat_messages") {
        assert!(started.elapsed() < PATIENCE, "{}", complaints.text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = reqwest::get(format!("{}/chat/status", local.address)).await;
    assert_eq!(answer.unwrap().status(), 200);
    local.stop().await;
    let said = complaints.text();
    assert_eq!(said.matches("not erased").count(), 1, "{said}");
    assert!(!said.contains("canary"), "{said}");
}
