//! Erasing everything of a person.

use serde_json::{Value, json};
use uuid::Uuid;

use support::TestApi;
use support::maintain::{maintain, try_maintain};

/// Every value in every table, as text.
async fn dump(api: &TestApi) -> String {
    let tables = "select string_agg(format('select to_jsonb(t)::text as row from %I t', tablename),
        ' union all ') from pg_tables where schemaname = 'public' and tablename like 'chat%'";
    let connection = api.connection().await;
    let row = connection.client().query_typed_one(tables, &[]).await;
    let everything: String = row.unwrap().get(0);
    let rows = connection.client().query_typed(&everything, &[]).await;
    rows.unwrap()
        .iter()
        .map(|row| row.get::<_, String>(0) + "\n")
        .collect()
}

async fn give_to(api: &TestApi, owner: &str, session_id: Uuid) {
    api.sql(&format!(
        "update chat_sessions set owner = '{owner}' where session_id = '{session_id}'"
    ))
    .await;
}

fn erase(owner: &str, dry_run: bool) -> Value {
    json!({ "action": "erase", "owner": owner, "dry_run": dry_run })
}

#[tokio::test]
async fn everything_of_one_person_is_erased_and_nothing_of_another() {
    let api = TestApi::start().await;
    let turn = json!({
        "query": "canary-query", "metadata": { "canary-name": "canary-value" },
        "audio_files": [{ "title": "canary-audio" }],
    });
    let session_id = api.chat(turn).await.id("session_id");
    let said = api.history(session_id, "").await.body["history"][1]["message_id"].clone();
    let copy = api
        .fork(session_id, said.as_str().unwrap())
        .await
        .id("session_id");
    api.reset(session_id).await;
    let pinned = api.session(&["canary"]).await;
    api.sql(&format!(
        "update chat_sessions
         set is_pinned = true, title = 'canary-title', metadata = '{{\"canary\": 1}}',
             lease_id = gen_random_uuid(), lease_until = now() + interval '20 seconds'
         where session_id = '{pinned}'"
    ))
    .await;
    // She erased this one herself, and its rows are still there.
    let marked = api.session(&["canary"]).await;
    api.sql(&format!(
        "insert into chat_erasures (session_id, message_count, on_behalf_of)
         values ('{marked}', 2, 'caller');
         update chat_sessions set erased_at = now() where session_id = '{marked}'"
    ))
    .await;
    api.sql("update chat_sessions set owner = 'jwt:canary-alice'")
        .await;
    let of_bob = api.session(&["Hi"]).await;
    give_to(&api, "jwt:bob", of_bob).await;
    // He erased one, too, which is not what this is about.
    let marked_of_bob = api.session(&["Hi"]).await;
    give_to(&api, "jwt:bob", marked_of_bob).await;
    api.sql(&format!(
        "insert into chat_erasures (session_id, message_count, on_behalf_of)
         values ('{marked_of_bob}', 2, 'caller');
         update chat_sessions set erased_at = now() where session_id = '{marked_of_bob}'"
    ))
    .await;
    // The same subject of another kind of identity is another person.
    let of_another = api.session(&["Hi"]).await;
    give_to(&api, "lambda:canary-alice", of_another).await;
    let of_nobody = api.session(&["Hi"]).await;
    api.sql(&format!(
        "insert into chat_feedback (session_id, seq, rating, comment)
         values ('{pinned}', 2, 'up', 'canary-comment'), ('{of_bob}', 2, 'down', 'kept')"
    ))
    .await;
    api.fill().await;
    // Five sessions: the reset opened one. The one that was marked is not in the index.
    let counts = json!({
        "sessions": 5, "messages": 8, "events": 1, "feedback": 1, "search_entries": 6, "streams": 0,
    });
    let before = dump(&api).await;

    let counted = maintain(&api, &[], erase("jwt:canary-alice", true)).await;
    let expected = json!({
        "action": "erase", "dry_run": true, "expired": 0, "erased": counts, "indexed": 0, "complete": true,
    });
    assert_eq!(counted, expected);
    assert_eq!(dump(&api).await, before, "a dry run changes nothing");

    let erased = maintain(&api, &[], erase("jwt:canary-alice", false)).await;
    let expected = json!({
        "action": "erase", "dry_run": false, "expired": 0, "erased": counts, "indexed": 0, "complete": true,
    });
    assert_eq!(erased, expected);
    for of_the_other in [
        format!("chat_messages where session_id = '{of_another}'"),
        format!("chat_search where session_id = '{of_another}'"),
        format!("chat_sessions where session_id = '{of_another}'"),
        "chat_search_parts where owner = 'lambda:canary-alice'".into(),
    ] {
        api.sql(&format!("delete from {of_the_other}")).await;
    }
    let after = dump(&api).await;
    assert!(!after.contains("canary"), "{after}");
    for (session_id, on_behalf_of) in [
        (session_id, "operator"),
        (copy, "operator"),
        (pinned, "operator"),
        (marked, "caller"),
    ] {
        let recorded = format!(
            "select count(*) from chat_erasures where session_id = '{session_id}'
             and on_behalf_of = '{on_behalf_of}' and message_count = 2 and finished_at is not null"
        );
        assert_eq!(api.number(&recorded).await, 1, "{session_id}");
    }
    // Two of Bob and one of nobody.
    assert_eq!(api.number("select count(*) from chat_sessions").await, 3);
    assert_eq!(api.history(of_nobody, "").await.status, 200);
    api.verify().await;

    let again = maintain(&api, &[], erase("jwt:canary-alice", false)).await;
    assert_eq!(
        again["erased"],
        json!({ "sessions": 0 }),
        "nothing is left to erase"
    );
    assert_eq!(dump(&api).await, after);
}

#[tokio::test]
async fn sessions_opened_meanwhile_are_erased_too() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    give_to(&api, "jwt:alice", session_id).await;
    // Whenever one is erased she opens another, up to five.
    api.sql(
        "create function open_another() returns trigger language plpgsql security definer as
         $$ begin
             if (select count(*) from chat_erasures) < 5 then
                 insert into chat_sessions (session_id, owner)
                 values (gen_random_uuid(), 'jwt:alice');
             end if;
             return old;
         end $$;
         create trigger open_another after delete on chat_sessions
         for each row execute function open_another()",
    )
    .await;

    let report = maintain(&api, &[], erase("jwt:alice", false)).await;

    assert_eq!(report["erased"]["sessions"], 5, "{report}");
    assert_eq!(report["complete"], true);
    assert_eq!(api.number("select count(*) from chat_sessions").await, 0);
}

#[tokio::test]
async fn many_sessions_are_erased_in_batches() {
    let api = TestApi::start().await;
    api.sql(&rig::sessions::filled_sessions(
        "select gen_random_uuid() as session_id from generate_series(1, 250)",
        4,
        10,
    ))
    .await;
    api.sql("update chat_sessions set owner = 'jwt:alice'")
        .await;

    let settings = [("MAINTAIN_BATCH_ROWS", "30")];
    let report = maintain(&api, &settings, erase("jwt:alice", false)).await;

    let counts = json!({ "sessions": 250, "messages": 1000, "events": 0, "feedback": 0, "search_entries": 0, "streams": 0 });
    assert_eq!(report["erased"], counts);
    assert_eq!(
        api.number("select sum(message_count)::bigint from chat_erasures")
            .await,
        1000
    );
}

#[tokio::test]
async fn an_event_that_does_not_name_a_person_erases_nothing() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    for event in [
        json!({ "action": "erase" }),
        json!({ "action": "erase", "owner": "" }),
        json!({ "action": "erase", "owner": null }),
        json!({ "action": "erase", "owner": "jwt:alice", "dry_run": "false" }),
    ] {
        assert!(
            try_maintain(&api, &[], event.clone()).await.is_err(),
            "{event}"
        );
    }
    // Sessions of nobody belong to no owner that can be named.
    for owner in ["null", "%", "jwt:%"] {
        let report = maintain(&api, &[], erase(owner, false)).await;
        assert_eq!(report["erased"]["sessions"], 0, "{owner}");
    }
    assert_eq!(api.history(session_id, "").await.status, 200);
}
