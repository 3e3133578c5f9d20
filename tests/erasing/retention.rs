//! Retention: what nobody used for too long is erased, and nothing else.

use serde_json::json;
use uuid::Uuid;

use support::TestApi;
use support::maintain::maintain;

/// Keeps sessions for a month.
const A_MONTH: (&str, &str) = ("RETENTION_DAYS", "30");

/// Makes a session with all its times older, as if everything in it had happened earlier.
async fn age(api: &TestApi, session_id: Uuid, days: i32) {
    api.sql(&format!(
        "update chat_messages set timestamp = timestamp - interval '{days} days'
         where session_id = '{session_id}';
         update chat_sessions
         set created_at = created_at - interval '{days} days',
             updated_at = updated_at - interval '{days} days',
             first_message_time = first_message_time - interval '{days} days',
             last_message_time = last_message_time - interval '{days} days'
         where session_id = '{session_id}'"
    ))
    .await;
}

async fn aged(api: &TestApi, days: i32) -> Uuid {
    let session_id = api.session(&["Hi"]).await;
    age(api, session_id, days).await;
    session_id
}

/// Changes the row of a session.
async fn set(api: &TestApi, session_id: Uuid, change: &str) {
    let statement = format!("update chat_sessions set {change} where session_id = '{session_id}'");
    api.sql(&statement).await;
}

async fn copy_of(api: &TestApi, session_id: Uuid) -> Uuid {
    let history = api.history(session_id, "").await;
    let last = history.body["history"][1]["message_id"].clone();
    let copied = api.fork(session_id, last.as_str().unwrap()).await;
    copied.id("session_id")
}

async fn empty(api: &TestApi) -> Uuid {
    let opened = api.request(axum::http::Method::POST, "/chat/reset").await;
    opened.id("new_session_id")
}

/// The sessions that are there, without those of this list that are not.
async fn remaining(api: &TestApi, sessions: &[(&'static str, Uuid)]) -> Vec<&'static str> {
    let mut remaining = Vec::new();
    for (name, session_id) in sessions {
        let rows = "select count(*) from chat_sessions where session_id =";
        if api.number(&format!("{rows} '{session_id}'")).await > 0 {
            remaining.push(*name);
        }
    }
    remaining
}

const LIVE: &str = "lease_id = gen_random_uuid(), lease_until = now() + interval '20 seconds'";

#[tokio::test]
async fn a_session_that_nobody_used_for_a_month_is_erased_and_no_other() {
    let api = TestApi::start().await;
    let old = aged(&api, 31).await;
    let young = aged(&api, 29).await;
    let used_since = aged(&api, 29).await;
    set(&api, used_since, "created_at = now() - interval '90 days'").await;
    let pinned = aged(&api, 90).await;
    set(&api, pinned, "is_pinned = true").await;
    let archived = aged(&api, 90).await;
    set(&api, archived, "is_archived = true").await;
    let closed = aged(&api, 90).await;
    set(&api, closed, "is_active = false").await;
    let renamed_since = aged(&api, 90).await;
    set(&api, renamed_since, "updated_at = now()").await;
    let old_empty = empty(&api).await;
    age(&api, old_empty, 31).await;
    let young_empty = empty(&api).await;
    age(&api, young_empty, 29).await;
    // What was said in it is old, but the copy was made lately.
    let fresh_copy = copy_of(&api, archived).await;
    let old_copy = copy_of(&api, archived).await;
    age(&api, old_copy, 31).await;
    // A question of long ago is being answered again.
    let in_progress = aged(&api, 90).await;
    set(&api, in_progress, LIVE).await;
    let given_up = aged(&api, 90).await;
    let lease = "lease_id = gen_random_uuid(), lease_until = now() - interval '1 second'";
    set(&api, given_up, lease).await;
    api.verify().await;

    let report = maintain(&api, &[A_MONTH], json!({})).await;

    let sessions = [
        ("old", old),
        ("young", young),
        ("used since", used_since),
        ("pinned", pinned),
        ("archived", archived),
        ("closed", closed),
        ("renamed since", renamed_since),
        ("old and empty", old_empty),
        ("young and empty", young_empty),
        ("fresh copy", fresh_copy),
        ("old copy", old_copy),
        ("in progress", in_progress),
        ("given up", given_up),
    ];
    let kept = [
        "young",
        "used since",
        "pinned",
        "young and empty",
        "fresh copy",
        "in progress",
    ];
    assert_eq!(remaining(&api, &sessions).await, kept);
    let expected = json!({
        "action": "run", "dry_run": false, "expired": 7,
        "erased": { "sessions": 7, "messages": 12, "events": 0, "feedback": 0, "search_entries": 0, "streams": 0 }, "indexed": 10, "complete": true,
    });
    assert_eq!(report, expected);
    let recorded = "select count(*) from chat_erasures
        where on_behalf_of = 'retention' and finished_at is not null";
    assert_eq!(api.number(recorded).await, 7);
    api.verify().await;
    for session_id in [old, old_empty, old_copy] {
        api.history(session_id, "")
            .await
            .assert_problem(404, "session_not_found");
    }

    let again = maintain(&api, &[A_MONTH], json!({})).await;
    assert_eq!(again["erased"]["sessions"], 0, "{again}");
}

#[tokio::test]
async fn pinned_sessions_expire_only_where_that_is_wanted() {
    let api = TestApi::start().await;
    let pinned = aged(&api, 90).await;
    set(&api, pinned, "is_pinned = true").await;

    let report = maintain(&api, &[A_MONTH], json!({})).await;
    assert_eq!(report["expired"], 0);
    let settings = [A_MONTH, ("RETENTION_INCLUDES_PINNED", "true")];
    let report = maintain(&api, &settings, json!({})).await;
    assert_eq!(
        (&report["expired"], &report["complete"]),
        (&json!(1), &json!(true))
    );
}

#[tokio::test]
async fn nothing_expires_by_itself() {
    let api = TestApi::start().await;
    aged(&api, 9000).await;
    let report = maintain(&api, &[], json!({ "action": "run", "everything": true })).await;
    assert_eq!(report["expired"], 0);
    assert_eq!(api.number("select count(*) from chat_sessions").await, 1);
}

#[tokio::test]
async fn a_session_with_a_turn_in_progress_expires_when_that_has_ended() {
    let api = TestApi::start().await;
    let session_id = aged(&api, 90).await;
    set(&api, session_id, LIVE).await;
    assert_eq!(maintain(&api, &[A_MONTH], json!({})).await["expired"], 0);
    set(&api, session_id, "lease_id = null, lease_until = null").await;
    assert_eq!(maintain(&api, &[A_MONTH], json!({})).await["expired"], 1);
}

#[tokio::test]
async fn the_walk_ends_at_a_session_that_is_too_young_unless_everything_is_wanted() {
    let api = TestApi::start().await;
    let (first, _young) = (aged(&api, 90).await, aged(&api, 1).await);
    // As if it had been imported: opened long ago, and stored today.
    let imported = aged(&api, 90).await;
    let sessions = [("first", first), ("imported", imported)];
    let one_by_one = [A_MONTH, ("MAINTAIN_BATCH_ROWS", "1")];

    let report = maintain(&api, &one_by_one, json!({ "action": "run" })).await;
    assert_eq!(report["expired"], 1);
    assert_eq!(remaining(&api, &sessions).await, ["imported"]);

    let event = json!({ "action": "run", "everything": true });
    let report = maintain(&api, &one_by_one, event).await;
    assert_eq!(report["expired"], 1);
    assert_eq!(remaining(&api, &sessions).await, [""; 0]);
}

#[tokio::test]
async fn the_record_counts_every_message_of_a_session_that_is_erased_in_parts() {
    let api = TestApi::start().await;
    let session_id = api.session(&["one", "two", "three", "four", "five"]).await;
    age(&api, session_id, 90).await;
    let settings = [A_MONTH, ("MAINTAIN_BATCH_ROWS", "3")];

    let report = maintain(&api, &settings, json!({})).await;

    assert_eq!(report["erased"]["messages"], 10);
    let recorded =
        format!("select message_count from chat_erasures where session_id = '{session_id}'");
    assert_eq!(api.number(&recorded).await, 10);
}

#[tokio::test]
async fn no_transaction_deletes_more_rows_than_it_may() {
    let api = TestApi::start().await;
    for _ in 0..4 {
        let session_id = api.session(&["one", "two", "three"]).await;
        age(&api, session_id, 90).await;
    }
    api.sql(
        "create table deleted (transaction xid8);
         grant insert on deleted to daissy_maintain;
         create function note() returns trigger language plpgsql as
         $$ begin insert into deleted values (pg_current_xact_id()); return old; end $$;
         create trigger note before delete on chat_messages for each row execute function note()",
    )
    .await;

    maintain(&api, &[A_MONTH, ("MAINTAIN_BATCH_ROWS", "5")], json!({})).await;

    let most = "select max(rows) from (
        select count(*) as rows from deleted group by transaction::text
    ) transactions";
    assert_eq!(api.number(most).await, 5);
    assert_eq!(api.number("select count(*) from deleted").await, 24);
}
