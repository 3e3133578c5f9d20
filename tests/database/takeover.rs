//! `migrate` on the tables of the Python server: every generation moves in, whole, and finds its way back.

use std::path::Path;
use std::time::Duration;

use axum::http::Method;
use migrate::{LegacyConfig, LegacyState, MigrateConfig, MigrateError, migrate, status};
use serde_json::{Value, json};
use shared::caller::{Kind, Owner};
use shared::database::DatabaseConfig;
use shared::ids::legacy_id;
use uuid::Uuid;

use support::legacy::{GENERATIONS, Generation, filled};
use support::local_run::{Ended, run, run_and_kill};
use support::{TestApi, postgres};

const OLD_IDS: [(&str, &str); 1] = [("LEGACY_IDS", "true")];

/// A database of the Python server.
struct Old {
    database: String,
    url: String,
}

impl Old {
    /// With the tables of a generation and these rows.
    async fn new(generation: Generation, rows: &str) -> Self {
        Self::with(&(generation.tables() + rows)).await
    }

    async fn with(statements: &str) -> Self {
        let database = postgres::empty_database().await;
        postgres::run(&database, statements).await;
        let url = postgres::server().url(&database);
        Self { database, url }
    }

    fn config(&self) -> MigrateConfig {
        let mut config: MigrateConfig = DatabaseConfig::parse(&self.url).unwrap().into();
        config.legacy = Some(LegacyConfig {
            owner_kind: Some(Kind::Jwt),
            owner: None,
        });
        config
    }

    /// Takes the tables over, and returns what was said about it.
    async fn move_in(&self) -> Value {
        let report = migrate(&self.config()).await.unwrap();
        let api = self.api(&[]).await;
        api.verify().await;
        report.to_json().unwrap()["taken_over"].clone()
    }

    async fn api(&self, settings: &[(&str, &str)]) -> TestApi {
        TestApi::on(self.database.clone(), &self.url, settings).await
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[]).await
    }

    async fn run_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Ended {
        let folder = tempfile::tempdir().unwrap();
        let mut all = vec![("DATABASE_URL", self.url.as_str())];
        all.extend(settings);
        run(arguments, folder.path(), &all).await
    }

    /// The only value of a query, as text.
    async fn text(&self, query: &str) -> String {
        let connection = postgres::connect(&self.url).await;
        let query = format!("select ({query})::text");
        let row = connection.client().query_typed_one(&query, &[]).await;
        row.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
    }
}

/// Adds a message to the tables of a generation with sessions.
fn message(session: &str, id: &str, role: &str, content: &str, time: &str) -> String {
    let time = if time.is_empty() {
        "null".to_owned()
    } else {
        format!("'2025-09-02 {time}'")
    };
    format!(
        "insert into chat_messages (session_id, message_id, role, content, timestamp)
         values ('{session}', '{id}', '{role}', '{content}', {time});"
    )
}

fn session(id: &str) -> String {
    format!(
        "insert into chat_sessions (session_id, created_at, updated_at, is_active)
         values ('{id}', '2025-09-02 11:00', '2025-09-02 11:30', true);"
    )
}

const ID: &str = "0198c0de-0000-4000-8000-00000000abcd";

#[tokio::test]
async fn the_tables_of_every_generation_are_taken_over_once() {
    for generation in GENERATIONS {
        let sessions = "insert into chat_sessions (session_id, created_at, updated_at, is_active)
            values ('alice', '2025-09-02 11:00', '2025-09-02 11:30', true);";
        let key = if generation.has_sessions() {
            "session_id"
        } else {
            "user_id"
        };
        let rows = format!(
            "{} insert into chat_messages ({key}, message_id, role, content, timestamp) values
             ('alice', gen_random_uuid(), 'user', 'Hi', '2025-09-02 12:00:00.000001'),
             ('alice', gen_random_uuid(), 'assistant', 'Hello', '2025-09-02 12:00:00.000002'),
             ('bob', gen_random_uuid(), 'user', 'Are you there?', '2025-09-02 12:01')",
            if generation.has_sessions() {
                sessions
            } else {
                ""
            }
        );
        let old = Old::new(generation, &rows).await;
        let indexes = "select string_agg(indexname, ',' order by indexname) from pg_indexes
            where indexname ~ '^ix_|^chat_.*_pkey' and schemaname = ";
        let before = old.text(&format!("{indexes} 'public'")).await;
        let found = status(&old.config()).await.unwrap();
        assert_eq!(found.legacy, Some(LegacyState::Found), "{generation:?}");

        let taken_over = old.move_in().await;

        assert_eq!(
            (
                taken_over["sessions"].as_i64(),
                taken_over["messages"].as_i64()
            ),
            (Some(2), Some(3)),
            "{generation:?}"
        );
        assert_eq!(
            old.text(&format!("{indexes} 'daissy_legacy'")).await,
            before
        );
        let owned = "update chat_sessions set owner = null where owner in ('jwt:alice', 'jwt:bob')";
        let api = old.api(&OLD_IDS).await;
        if !generation.has_sessions() {
            assert_eq!(
                old.text("select string_agg(owner, ',' order by owner) from chat_sessions")
                    .await,
                "jwt:alice,jwt:bob"
            );
            api.sql(owned).await;
        }
        let history = api.history("alice", "").await;
        assert_eq!(
            history.said(),
            [
                ("user".into(), "Hi".into()),
                ("assistant".into(), "Hello".into())
            ]
        );
        assert_eq!(
            history.body["history"][0]["timestamp"],
            "2025-09-02T12:00:00.000001Z"
        );
        assert_eq!(api.history("bob", "").await.body["message_count"], 1);

        let again = migrate(&old.config()).await.unwrap();
        assert!(again.applied.is_empty() && again.taken_over.is_none());
        assert_eq!(again.legacy, Some(LegacyState::Kept));
        // The conversation goes on.
        let turn = json!({ "query": "Bye", "session_id": history.id("session_id") });
        assert_eq!(api.chat(turn).await.body["conversation_length"], 4);
        api.verify().await;
    }
}

#[tokio::test]
async fn an_installation_moves_in_and_every_conversation_reads_as_before() {
    // 20000 sessions have 150,000 messages.
    let sessions = std::env::var("LEGACY_SESSIONS").map_or(20_000, |text| text.parse().unwrap());
    let old = Old::new(Generation::First, &filled(sessions)).await;

    let taken_over = old.move_in().await;

    for (count, expected) in [
        (
            "sessions",
            "select count(*) from generate_series(1, N) n where n % 4 <> 0 or n % 49 <> 5",
        ),
        (
            "messages",
            "select count(*) * 10 from generate_series(1, N) n where n % 4 <> 0",
        ),
        (
            "empty_sessions",
            "select count(*) from generate_series(1, N) n where n % 4 = 0 and n % 49 <> 5",
        ),
        (
            "sessions_without_row",
            "select count(*) from generate_series(1, N) n where n % 4 <> 0 and n % 49 = 5",
        ),
        (
            "digested_session_ids",
            "select count(*) from generate_series(1, N) n
             where n % 50 = 1 and (n % 4 <> 0 or n % 49 <> 5)",
        ),
        ("answers_without_question", "select 0"),
        ("changed_message_ids", "select 0"),
        (
            "replaced_characters",
            "select count(*) from daissy_legacy.chat_messages where audio_files::text ~ 'u0000'",
        ),
    ] {
        let expected = old
            .text(&expected.replace('N', &sessions.to_string()))
            .await;
        assert_eq!(taken_over[count].to_string(), expected, "{count}");
    }

    // As the server read it, and as it is read now; the n-th answer is that to the n-th question.
    let conversations = "
        with before as (
            select i.session_id, row_number() over w as seq, role, content, message_id::uuid,
                timestamp at time zone 'UTC' as timestamp,
                row_number() over (partition by m.session_id, role order by timestamp, id) as nth
            from daissy_legacy.chat_messages m
            join daissy_legacy.session_ids i on i.legacy_id = m.session_id
            window w as (partition by m.session_id order by timestamp, id)
        ),
        paired as (
            select a.*, q.seq as reply_to_seq
            from before a
            left join before q
                on q.session_id = a.session_id and q.nth = a.nth and q.role = 'user'
                and a.role = 'assistant'
        ),
        now as (
            select session_id, seq, role, content, message_id, timestamp, reply_to_seq
            from chat_messages
        )
        select count(*) from (
            (select session_id, seq, role, content, message_id, timestamp, reply_to_seq from paired
             except select * from now)
            union all
            (select * from now
             except
             select session_id, seq, role, content, message_id, timestamp, reply_to_seq from paired)
        ) different";
    assert_eq!(old.text(conversations).await, "0");
    let replies = "select count(*) from chat_messages where reply_to_seq is distinct from
        case when role = 'assistant' then seq - 1 end";
    assert_ne!(old.text(replies).await, "0", "some turns ran side by side");

    // What depends on a text, worked out by the database.
    let derived = "
        select count(*) from (
            select *, json_bytes_through - lag(json_bytes_through, 1, 0::bigint) over (
                partition by session_id order by seq
            ) as size
            from chat_messages
        ) m
        where characters <> length(content)
           or content_digest is distinct from case role when 'user'
                then substr(sha256(convert_to(content, 'UTF8')), 1, 16) end
           or size <> 199 + octet_length(to_json(content)::text)
                + coalesce(octet_length(audio_files::text), 0)
                + coalesce(octet_length(function_calls::text), 0)";
    assert_eq!(old.text(derived).await, "0");

    let api = old.api(&OLD_IDS).await;
    for n in [1, 2, 3, 7, 51, 54, 101, 102] {
        let query = format!(
            "select json_build_array(session_id, json_agg(json_build_array(role, content)
                 order by timestamp, id))
             from daissy_legacy.chat_messages
             where message_id = any(
                 select md5('{n} ' || m)::uuid::text from generate_series(0, 9) m)
             group by session_id"
        );
        let before: Value = serde_json::from_str(&old.text(&query).await).unwrap();
        let id = percent_encoded(before[0].as_str().unwrap());
        let said = api.history(&id, "").await.said();
        assert_eq!(json!(said), before[1], "{id}");
    }
}

fn percent_encoded(id: &str) -> String {
    id.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn other_tables_of_these_names_are_refused_and_stay() {
    let first = Generation::First.tables();
    let third = Generation::Third.tables();
    for (tables, reason) in [
        (
            first.clone() + "alter table chat_messages add mood text",
            "one column more",
        ),
        (
            first.clone() + "alter table chat_sessions drop is_active",
            "one column less",
        ),
        (
            first.clone() + "alter table chat_messages alter content type varchar(9)",
            "another type",
        ),
        (first.clone() + "drop table chat_sessions", "one table less"),
        (
            third + "alter table chat_messages drop extra_data",
            "some JSON",
        ),
        ("create table chat_sessions (x int)".into(), "other tables"),
    ] {
        let old = Old::with(&tables).await;
        let error = migrate(&old.config()).await.unwrap_err().to_string();
        assert!(
            error.contains("V1__sessions_and_messages"),
            "{reason}: {error}"
        );
        let moved = "select count(*) from pg_namespace where nspname = 'daissy_legacy'";
        assert_eq!(old.text(moved).await, "0", "{reason}");
        assert_eq!(
            status(&old.config()).await.unwrap().legacy,
            None,
            "{reason}"
        );
    }
}

#[tokio::test]
async fn what_stands_in_the_way_is_said_and_nothing_changes() {
    let rows = session("s") + &message("s", ID, "user", "Hi", "12:00");
    let system = message("s", "2", "system", "Be kind", "12:00");
    let in_use = "create schema daissy_legacy; create table daissy_legacy.mine ()";
    let ours = "create table chat_events ()";
    for (more, expected) in [
        (
            system.as_str(),
            "the role of 1 messages is neither user nor assistant",
        ),
        (in_use, "daissy_legacy"),
        (ours, "V2__events_and_erasures"),
    ] {
        let old = Old::new(Generation::First, &format!("{rows}{more}")).await;
        let error = migrate(&old.config()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(
            old.text("select session_id from public.chat_messages where role = 'user'")
                .await,
            "s",
            "{expected}"
        );
        let state = status(&old.config()).await.unwrap();
        assert_eq!(
            (state.schema_version, state.legacy),
            (0, Some(LegacyState::Found))
        );
    }

    let old = Old::new(Generation::Second, "").await;
    let ended = old.run(&["migrate"]).await;
    assert!(
        !ended.success && ended.complained.contains("set LEGACY_OWNER_KIND"),
        "{ended:?}"
    );
    let ended = old
        .run_with(&["migrate"], &[("LEGACY_OWNER_KIND", "user")])
        .await;
    assert!(
        !ended.success
            && ended
                .complained
                .contains("must be jwt, lambda, cognito-identity or iam"),
        "{ended:?}"
    );
    // By a command that somebody may run beside the server.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions");
    let line = json!({ "type": "session", "session_id": ID, "created_at": "2025-09-02T12:00:00Z" });
    std::fs::write(&file, format!("{line}\n")).unwrap();
    let file = file.to_str().unwrap();
    for arguments in [&[][..], &["import", file]] {
        let ended = old.run_with(arguments, &[("PORT", "0")]).await;
        assert!(
            !ended.success && ended.complained.contains("run `cargo run -- migrate`"),
            "{ended:?}"
        );
    }
    let ended = old.run(&["check"]).await;
    assert!(
        !ended.success
            && ended
                .printed
                .contains("legacy    tables of the Python server"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn an_old_id_finds_its_session_in_every_route_but_a_turn() {
    let name = "my first/chat?";
    let rows = session(name)
        + &message(name, "question", "user", "Hi", "12:00")
        + &message(name, "answer", "assistant", "Hello", "12:00");
    let old = Old::new(Generation::First, &rows).await;
    old.move_in().await;
    let api = old.api(&OLD_IDS).await;
    let id = percent_encoded(name);
    let session_id = legacy_id(name);

    let history = api.history(&id, "").await;
    assert_eq!(history.id("session_id"), session_id);
    assert_eq!(api.status(&id).await.id("session_id"), session_id);
    assert_eq!(api.load(&id).await.body["conversation_length"], 2);
    assert_eq!(
        api.fork(&id, "question").await.body["conversation_length"],
        1
    );
    assert_eq!(api.find(&id).await.id("session_id"), session_id);
    let title = api.change(&id, json!({ "title": "Mine" })).await;
    assert_eq!(title.body["title"], "Mine");
    let rated = api.feedback(&id, "answer", json!({ "rating": "up" })).await;
    assert_eq!(rated.id("message_id"), legacy_id("answer"));
    let exported = api.export(&format!("?session_id={id}")).await;
    assert_eq!(exported.body[0]["session_id"], session_id.to_string());
    assert_eq!(api.reset(&id).await.id("session_id"), session_id);
    let turn = json!({ "query": "Hi", "session_id": name });
    api.chat(turn).await.assert_problem(400, "invalid_request");

    api.history("another", "")
        .await
        .assert_problem(404, "session_not_found");
    api.status("").await.assert_problem(400, "invalid_request");
    api.fork(&id, "other")
        .await
        .assert_problem(404, "message_not_found");
    assert_eq!(api.erase(&id).await.body["erased_messages"], 2);

    // Where nothing was taken over.
    let api = TestApi::start().await;
    for answer in [
        api.history(&id, "").await,
        api.status(&id).await,
        api.load(&id).await,
        api.fork(Uuid::nil(), "question").await,
        api.find(&id).await,
        api.change(&id, json!({})).await,
        api.feedback(&id, "answer", json!({ "rating": "up" })).await,
        api.export(&format!("?session_id={id}")).await,
        api.reset(&id).await,
        api.erase(&id).await,
    ] {
        answer.assert_problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn an_id_in_upper_case_is_the_same_unless_two_collide() {
    let (first, upper) = ("0198c0de-0000-4000-8000-00000000aaaa", ID.to_uppercase());
    let rows = message(&upper, "1", "user", "upper", "12:00")
        + &message(ID, "2", "user", "lower", "12:01")
        + &message(&first.to_uppercase(), "3", "user", "alone", "12:02")
        + &message(
            &upper,
            "0198C0DE-0000-4000-8000-000000000009",
            "user",
            "a",
            "12:03",
        )
        + &message(
            &upper,
            "0198c0de-0000-4000-8000-000000000009",
            "user",
            "b",
            "12:04",
        );
    let old = Old::new(Generation::First, &rows).await;

    let taken_over = old.move_in().await;

    assert_eq!(taken_over["renamed_session_ids"], 1);
    assert_eq!(taken_over["digested_session_ids"], 0);
    // Of 1, 2, 3 and of one of the two that collide.
    assert_eq!(taken_over["changed_message_ids"], 4);
    let api = old.api(&[]).await;
    for (id, said) in [(first, "alone"), (ID, "lower"), (upper.as_str(), "lower")] {
        assert_eq!(api.history(id, "").await.said()[0].1, said, "{id}");
    }
    let new = "select session_id from daissy_legacy.session_ids where legacy_id = ";
    let renamed = old.text(&format!("{new} '{upper}'")).await;
    assert_ne!(renamed, ID);
    assert_eq!(api.history(&renamed, "").await.said()[0].1, "upper");
    assert_eq!(
        old.text(&format!("{new} '{}'", first.to_uppercase())).await,
        first
    );
}

#[tokio::test]
async fn what_is_stored_is_what_turns_store() {
    let api = TestApi::start().await;
    let queries = [
        "  An audio\n\tabout “sleep” \u{2028} \"\\ \u{1}\u{7f} 😀  ",
        &"ein langes Wort ".repeat(9),
        "e\u{301}\r\n\u{8}\u{c}",
    ];
    let session_id = api.session(&queries).await;
    // The same conversation, as the Python server had it.
    let copy = "select string_agg(format(
            'insert into chat_messages (session_id, message_id, role, content, timestamp, audio_files)
             values (%L, %L, %L, %L, %L, %L);',
            session_id, message_id, role, content, timestamp at time zone 'UTC', audio_files
        ), ' ' order by seq)
        from chat_messages";
    let from = Old {
        database: api.database.clone(),
        url: postgres::server().url(&api.database),
    };
    let old = Old::new(Generation::First, &from.text(copy).await).await;
    old.move_in().await;

    let stored = "select json_build_object(
            'session', (
                select json_build_array(
                    title, message_count, user_messages, assistant_messages, audio_files_provided,
                    first_message_time, last_message_time, is_active
                ) from chat_sessions
            ),
            'messages', (
                select json_agg(json_build_array(
                    session_id, seq, reply_to_seq, message_id, timestamp, role, content,
                    content_digest, characters, audio_files, audio_file_count,
                    json_bytes - coalesce(octet_length(function_calls::text), 0)
                ) order by seq)
                from (
                    select *, json_bytes_through - lag(json_bytes_through, 1, 0::bigint)
                        over (order by seq) as json_bytes
                    from chat_messages
                ) sized
            )
        )";
    let (expected, found) = (from.text(stored).await, old.text(stored).await);
    assert_eq!(found, expected);
    assert!(expected.contains("\"An audio about"), "{expected}");

    // A question whose answer is there is replayed, as after any turn.
    let message_id = api.history(session_id, "").await.body["history"][0]["message_id"].clone();
    let turn = json!({ "query": queries[0], "session_id": session_id, "message_id": message_id });
    let replayed = old.api(&[]).await.chat(turn).await;
    assert_eq!(replayed.status, 200, "{}", replayed.body);
    assert_eq!(replayed.body["model"], "unknown");
    assert_eq!(replayed.headers["idempotent-replayed"], "true");
}

#[tokio::test]
async fn nothing_that_was_said_is_lost_where_rows_are_missing() {
    let rows = message(
        "a",
        "1",
        "assistant",
        "an answer without a question",
        "12:00",
    ) + &message("a", "2", "user", "without an answer", "12:01")
        + &message("a", "3", "user", "question", "12:02")
        + &message("a", "4", "assistant", "answer", "12:02")
        + &message("a", "5", "assistant", "and another", "12:02:05")
        + &message("a", "6", "assistant", "and one too many", "12:02:06")
        + &message("a", "7", "user", "at no time", "")
        + "insert into chat_sessions (session_id) values ('a'), ('empty');";
    let old = Old::new(Generation::First, &rows).await;

    let taken_over = old.move_in().await;

    for (count, expected) in [
        ("answers_without_question", 2),
        ("missing_times", 1),
        ("empty_sessions", 1),
        ("sessions_without_row", 0),
        ("sessions_without_owner", 2),
    ] {
        assert_eq!(taken_over[count], expected, "{count}");
    }
    let replies = "select string_agg(coalesce(reply_to_seq::text, '-'), ' ' order by seq)
        from chat_messages";
    assert_eq!(old.text(replies).await, "- - - 3 2 - -");
    let api = old.api(&OLD_IDS).await;
    let history = api.history("a", "").await.body["history"].clone();
    let times: Vec<_> = (0..7)
        .map(|n| history[n]["timestamp"].as_str().unwrap())
        .collect();
    assert_eq!(times[6], "2025-09-02T12:02:06.000000Z");
    assert_eq!(
        times[0],
        api.status("a").await.body["session_stats"]["created_at"]
    );
    assert_eq!(api.status("empty").await.body["status"], "new_session");

    // It can be taken along, too.
    let (folder, to) = (
        tempfile::tempdir().unwrap(),
        postgres::migrated_database().await,
    );
    let file = folder.path().join("all");
    let file = file.to_str().unwrap();
    let ended = old.run(&["export", file]).await;
    assert!(ended.success, "{ended:?}");
    let to_url = postgres::server().url(&to);
    let ended = run(
        &["import", file],
        folder.path(),
        &[("DATABASE_URL", &to_url)],
    )
    .await;
    assert!(ended.success, "{ended:?}");
    let moved = TestApi::on(to, &to_url, &OLD_IDS).await;
    moved.verify().await;
    assert_eq!(moved.history("a", "").await.body["history"], history);
    // And a copy of it is a session like any other.
    assert_eq!(api.fork("a", "7").await.body["conversation_length"], 7);
    api.verify().await;
}

#[tokio::test]
async fn json_is_kept_as_the_api_gives_it() {
    let result = json!({
        "found_relevant_audio": true, "audio_files": [], "context_items": [{ "rank": 1 }],
        "search_query": "sleep",
    });
    let call = |result: &Value, arguments: Value| json!({ "name": "search_audio_resources", "arguments": arguments, "result": result });
    let failed = json!({ "found_relevant_audio": false, "error": "down" });
    let cases = [
        (
            "null",
            "null",
            "null",
            json!(null),
            json!(null),
            json!(null),
        ),
        ("[]", "[]", "[]", json!(null), json!(null), json!(null)),
        (
            r#"[{"filename": "a\u0000b", "relevance_score": 0.1234567890123456789}]"#,
            &json!([result, failed]).to_string(),
            r#"{"mood": "\ud83d"}"#,
            serde_json::from_str(
                r#"[{"filename": "a�b", "relevance_score": 0.1234567890123456789}]"#,
            )
            .unwrap(),
            json!([
                call(&result, json!({ "query": "sleep" })),
                call(&failed, json!({}))
            ]),
            json!({ "mood": "\u{fffd}" }),
        ),
        (
            r#"{"filename": "\\u0000"}"#,
            &json!([{ "name": "f", "arguments": {}, "result": 1 }]).to_string(),
            r#"["mood"]"#,
            json!([{ "filename": "\\u0000" }]),
            json!([{ "name": "f", "arguments": {}, "result": 1 }]),
            json!({ "extra_data": ["mood"] }),
        ),
        (
            r#"["a"]"#,
            "7",
            "7",
            json!([{ "value": "a" }]),
            json!([call(&json!(7), json!({}))]),
            json!({ "extra_data": 7 }),
        ),
    ];
    let mut rows = String::new();
    for (n, (audio, calls, extra, ..)) in cases.iter().enumerate() {
        let role = if n % 2 == 0 { "user" } else { "assistant" };
        rows.push_str(&format!(
            "insert into chat_messages (session_id, message_id, role, content, timestamp, audio_files,
                 function_calls, extra_data)
             values ('{ID}', '{n}', '{role}', 'x', '2025-09-02 12:0{n}', '{audio}', '{calls}', '{extra}');"
        ));
    }
    let old = Old::new(Generation::First, &rows).await;

    let taken_over = old.move_in().await;

    assert_eq!(taken_over["replaced_characters"], 2);
    let history = old.api(&[]).await.history(ID, "").await.body["history"].clone();
    for (n, (.., audio, calls, extra)) in cases.iter().enumerate() {
        assert_eq!(&history[n]["audio_files"], audio, "{n}");
        assert_eq!(&history[n]["function_calls"], calls, "{n}");
        assert_eq!(&history[n]["metadata"], extra, "{n}");
    }
    // As long as it was, which a parser would have rounded.
    let score = "select audio_files -> 0 ->> 'relevance_score' from chat_messages where seq = 3";
    assert_eq!(old.text(score).await, "0.1234567890123456789");
}

#[tokio::test]
async fn sessions_get_the_owners_that_the_settings_give_them() {
    let owners = "select string_agg(coalesce(owner, 'nobody'), ' ' order by legacy_id)
        from chat_sessions join daissy_legacy.session_ids using (session_id)";
    let sessions = "insert into chat_sessions (session_id, user_id)
        values ('1', 'alice'), ('2', null), ('3', null), ('4', ' ');
        insert into chat_messages (session_id, user_id, message_id, role, content)
        values ('1', 'bob', 'a', 'user', 'x'), ('2', 'bob', 'b', 'user', 'x'),
               ('2', null, 'c', 'user', 'x'), ('3', 'bob', 'd', 'user', 'x'),
               ('3', 'eve', 'e', 'user', 'x'), ('5', 'bob', 'f', 'user', 'x')";
    let first = session("1") + &session("2");
    for (generation, rows, settings, arguments, expected) in [
        (
            Generation::Second,
            sessions,
            &[("LEGACY_OWNER_KIND", "iam")][..],
            &["migrate"][..],
            "iam:alice iam:bob nobody nobody iam:bob",
        ),
        (
            Generation::Second,
            sessions,
            &[("LEGACY_OWNER_KIND", "jwt")],
            &["migrate", "--owner", "lambda:us"],
            "jwt:alice jwt:bob lambda:us lambda:us jwt:bob",
        ),
        (
            Generation::First,
            &first,
            &[],
            &["migrate"],
            "nobody nobody",
        ),
        (
            Generation::First,
            &first,
            &[("LEGACY_OWNER", "jwt:eve")],
            &["migrate", "--owner", "jwt:alice"],
            "jwt:alice jwt:alice",
        ),
        (
            Generation::First,
            &first,
            &[("LEGACY_OWNER", "jwt:eve")],
            &["migrate"],
            "jwt:eve jwt:eve",
        ),
    ] {
        let old = Old::new(generation, rows).await;
        let ended = old.run_with(arguments, settings).await;
        assert!(ended.success, "{ended:?}");
        assert!(
            ended.printed.contains("of the Python server taken over"),
            "{ended:?}"
        );
        assert_eq!(
            old.text(owners).await,
            expected,
            "{settings:?} {arguments:?}"
        );
    }
    let old = Old::new(Generation::First, &first).await;
    let ended = old.run(&["migrate", "--owner", "alice"]).await;
    assert!(
        !ended.success && ended.complained.contains("jwt:alice"),
        "{ended:?}"
    );
    let config =
        LegacyConfig::read(|name| (name == "LEGACY_OWNER").then(|| "jwt:a".into())).unwrap();
    assert_eq!(config.owner, Owner::parse("jwt:a"));
}

#[tokio::test]
async fn a_takeover_that_is_killed_anywhere_ends_the_same_when_it_is_repeated() {
    let rows = filled(1200);
    let state = "select md5(string_agg(row, '|' order by row)) from (
            select 's' || to_jsonb(s)::text as row from public.chat_sessions s
            union all select 'm' || to_jsonb(m)::text from public.chat_messages m
            union all select 'i' || to_jsonb(i)::text from daissy_legacy.session_ids i
            union all select 'o' || row(o.*)::text from daissy_legacy.chat_sessions o
            union all select 'n' || row(n.*)::text from daissy_legacy.chat_messages n
            union all select 'v' || version from public.refinery_schema_history
        ) rows";
    let alone = Old::new(Generation::First, &rows).await;
    let started = std::time::Instant::now();
    assert!(alone.run(&["migrate"]).await.success);
    let step = started.elapsed() / 19;
    let expected = alone.text(state).await;
    let (mut untouched, mut done) = (0, 0);
    for round in 0..20 {
        let old = Old::new(Generation::First, &rows).await;
        let folder = tempfile::tempdir().unwrap();
        let settings = [("DATABASE_URL", old.url.as_str())];
        run_and_kill(&["migrate"], folder.path(), &settings, step * round).await;

        // Whatever the moment, there are the old tables or the new ones.
        settled(&old).await;
        match old
            .text("select to_regclass('public.refinery_schema_history')")
            .await
            .as_str()
        {
            "" => {
                untouched += 1;
                assert_eq!(old.text("select count(*) from chat_messages").await, "9000");
                let moved = "select count(*) from pg_namespace where nspname = 'daissy_legacy'";
                assert_eq!(old.text(moved).await, "0");
            }
            _ => {
                done += 1;
                assert_eq!(old.text(state).await, expected, "{round}");
            }
        }
        let ended = old.run(&["migrate"]).await;
        assert!(ended.success, "{round}: {ended:?}");
        assert_eq!(old.text(state).await, expected, "{round}");
        old.api(&[]).await.verify().await;
    }
    assert!(
        untouched > 2,
        "{untouched} were killed before the end, {done} after it"
    );
}

/// Waits until the server has noticed that its client was killed.
async fn settled(old: &Old) {
    let others = format!(
        "select count(*) from pg_stat_activity
         where datname = '{}' and pid <> pg_backend_pid() and backend_type = 'client backend'",
        old.database
    );
    for _ in 0..600 {
        if old.text(&others).await == "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a connection of the killed migration is still there");
}

#[tokio::test]
async fn the_old_tables_stay_until_they_are_dropped_by_name() {
    let old = Old::new(Generation::First, &(session("s") + &session("t"))).await;
    let ended = old.run(&["migrate", "--drop-legacy"]).await;
    assert!(
        !ended.success && ended.complained.contains("nothing was dropped"),
        "{ended:?}"
    );
    assert_eq!(
        old.text("select count(*) from public.chat_sessions").await,
        "2"
    );
    assert!(old.run(&["migrate"]).await.success);
    let ended = old.run(&["check"]).await;
    assert!(
        ended.success && ended.printed.contains("kept in the schema daissy_legacy"),
        "{ended:?}"
    );

    // A view of somebody's is not dropped with them.
    let view = "create view mine as select * from daissy_legacy.chat_sessions";
    postgres::run(&old.database, view).await;
    let ended = old.run(&["migrate", "--drop-legacy"]).await;
    assert!(!ended.success, "{ended:?}");
    assert_eq!(old.text("select count(*) from mine").await, "2");
    postgres::run(&old.database, "drop view mine").await;

    let ended = old.run(&["migrate", "--drop-legacy"]).await;
    assert!(ended.success, "{ended:?}");
    for told in [
        "dropped   daissy_legacy.chat_messages, 0 rows",
        "dropped   daissy_legacy.chat_sessions, 2 rows",
        "dropped   daissy_legacy.session_ids, 2 rows",
        "dropped   the schema daissy_legacy",
    ] {
        assert!(ended.printed.contains(told), "{ended:?}");
    }
    let api = old.api(&OLD_IDS).await;
    assert_eq!(api.status("s").await.status, 200);
    assert_eq!(status(&old.config()).await.unwrap().legacy, None);
    assert!(!old.run(&["migrate", "--drop-legacy"]).await.success);
}

#[tokio::test]
async fn the_owner_of_the_tables_can_take_them_over_after_the_script_of_the_roles() {
    let rows = session("s") + &message("s", ID, "user", "Hi", "12:00");
    let old = Old::new(Generation::First, &rows).await;
    let url = postgres::owner_url(&old.database);
    let as_owner = Old {
        database: old.database.clone(),
        url,
    };

    let error = migrate(&as_owner.config()).await.unwrap_err();
    assert!(
        matches!(
            error,
            MigrateError::Failed { .. } | MigrateError::Database(_)
        ),
        "{error}"
    );
    postgres::run(&old.database, include_str!("../../migrations/roles.sql")).await;
    assert_eq!(as_owner.move_in().await["messages"], 1);
    // Again, as an administrator may.
    postgres::run(&old.database, include_str!("../../migrations/roles.sql")).await;

    let owners = "select string_agg(distinct tableowner, ',') from pg_tables
        where schemaname in ('public', 'daissy_legacy')";
    assert_eq!(old.text(owners).await, "daissy_owner");
    let functions = TestApi::on(
        old.database.clone(),
        &postgres::app_url(&old.database),
        &OLD_IDS,
    )
    .await;
    assert_eq!(functions.history("s", "").await.body["message_count"], 1);
    let refused = postgres::connect(&postgres::app_url(&old.database)).await;
    let read = refused
        .client()
        .batch_execute("select * from daissy_legacy.chat_messages")
        .await;
    assert!(read.is_err(), "the functions do not see the old tables");
    assert!(as_owner.run(&["check"]).await.success);
    let ended = as_owner.run(&["migrate", "--drop-legacy"]).await;
    assert!(ended.success, "{ended:?}");
}

#[tokio::test]
async fn an_administrator_can_create_the_roles_before_or_after_taking_over() {
    let rows = session("s") + &message("s", ID, "user", "Hi", "12:00");
    let public = "select string_agg(distinct tableowner, ',') from pg_tables
        where schemaname = 'public'";
    for with_roles in [true, false] {
        let old = Old::new(Generation::First, &rows).await;
        if with_roles {
            let ended = old
                .run_with(&["migrate"], &[("MIGRATE_CREATE_ROLES", "password")])
                .await;
            assert!(ended.success, "{ended:?}");
        } else {
            old.move_in().await;
            postgres::run(&old.database, include_str!("../../migrations/roles.sql")).await;
            migrate(&old.config()).await.unwrap();
        }
        assert_eq!(old.text(public).await, "daissy_owner", "{with_roles}");
        let owner = Old {
            database: old.database.clone(),
            url: postgres::owner_url(&old.database),
        };
        assert!(
            owner.run(&["migrate", "--drop-legacy"]).await.success,
            "{with_roles}"
        );
        let url = postgres::app_url(&old.database);
        let functions = TestApi::on(old.database.clone(), &url, &OLD_IDS).await;
        assert_eq!(functions.history("s", "").await.body["message_count"], 1);
    }
}

#[tokio::test]
async fn the_way_back_is_the_one_in_the_document() {
    let rows = session("s") + &message("s", ID, "user", "Hi", "12:00");
    let old = Old::new(Generation::First, &rows).await;
    postgres::run(&old.database, include_str!("../../migrations/roles.sql")).await;
    old.move_in().await;
    let api = old.api(&OLD_IDS).await;
    let new = api.session(&["Said since"]).await;
    // An administrator as managed services have it: the owner of the database, and a member of the roles.
    let administrator = format!("{}_administrator", old.database);
    let create = format!(
        "create role {administrator};
         grant daissy_owner to {administrator};
         grant create on schema public to {administrator};
         alter database {} owner to {administrator}",
        old.database
    );
    postgres::run(&old.database, &create).await;

    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/moving-in.md");
    let page = std::fs::read_to_string(Path::new(page)).unwrap();
    let script = page
        .split("```sql\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let as_administrator = format!("set role {administrator}; {script}");
    postgres::run(&old.database, &as_administrator).await;

    // As the Python server writes.
    let write = message("s", "2", "assistant", "Hello", "12:01");
    postgres::run(&old.database, &write).await;
    let kept =
        format!("select count(*) from daissy_set_aside.chat_messages where session_id = '{new}'");
    assert_eq!(old.text(&kept).await, "2");
    // And in again.
    assert_eq!(old.move_in().await["messages"], 2);
    let answer = api.request(Method::GET, "/chat/history/s").await;
    assert_eq!(answer.body["message_count"], 2);
}
