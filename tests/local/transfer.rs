//! `cargo run -- export` and `import`: what is taken along comes back whole, once, and the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use support::local_run::{Ended, run, run_and_kill};
use support::{TestApi, postgres};

/// A database, and a folder for files.
struct Place {
    api: TestApi,
    url: String,
    folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        let database = postgres::migrated_database().await;
        let (url, app_url) = (
            postgres::server().url(&database),
            postgres::app_url(&database),
        );
        Self {
            api: TestApi::on(database, &app_url, &[]).await,
            url,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        run(
            arguments,
            self.folder.path(),
            &[("DATABASE_URL", &self.url)],
        )
        .await
    }

    async fn export(&self, name: &str) -> Vec<Value> {
        let file = self.file(name);
        let ended = self.run(&["export", file.to_str().unwrap()]).await;
        assert!(ended.success, "{ended:?}");
        lines(&file)
    }

    async fn import(&self, file: &Path) -> Ended {
        self.run(&["import", file.to_str().unwrap()]).await
    }
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn write(file: &Path, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(file, text).unwrap();
}

/// The lines of invented sessions, each with this many messages of this length.
fn invented(sessions: usize, messages: usize, length: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    for n in 0..sessions {
        let session_id = Uuid::now_v7();
        let second = n % 60;
        let created_at = format!("2026-01-01T{:02}:{:02}:{second:02}Z", n / 3600, n / 60 % 60);
        lines
            .push(json!({ "type": "session", "session_id": session_id, "created_at": created_at }));
        for seq in 1..=messages {
            let is_answer = seq % 2 == 0;
            lines.push(json!({
                "type": "message",
                "session_id": session_id,
                "seq": seq,
                "reply_to_seq": is_answer.then_some(seq - 1),
                "role": if is_answer { "assistant" } else { "user" },
                "content": format!("{seq:.<length$}"),
                "message_id": Uuid::now_v7(),
                "timestamp": format!("2026-01-02T00:00:00.{seq:06}Z"),
                "model": is_answer.then_some("invented"),
            }));
        }
    }
    lines
}

/// Sessions of all kinds: of two owners and of nobody, a copy, one that was reset, an empty one, with
/// recordings, feedback, own titles, metadata.
async fn fill(api: &TestApi) {
    let first = api
        .session(&["An audio about sleep", "Grüße \"😀\"\n\u{1}"])
        .await;
    let history = api.history(first, "").await.body["history"].clone();
    let answer = history[1]["message_id"].as_str().unwrap();
    api.feedback(first, answer, json!({ "rating": "up", "comment": "Good" }))
        .await;
    api.change(
        first,
        json!({ "title": "Mine", "pinned": true, "metadata": { "a": [1, 2.5] } }),
    )
    .await;
    let copy = api.fork(first, answer).await.id("session_id");
    api.chat(json!({
        "query": "On from here", "session_id": copy, "metadata": { "b": null },
        "audio_files": [{ "id": 1 }],
    }))
    .await;
    let closed = api.session(&["Bye"]).await;
    api.reset(closed).await;
    api.change(closed, json!({ "archived": true })).await;
    api.sql(&format!(
        "update chat_sessions set owner = 'jwt:alice' where session_id in ('{first}', '{copy}')"
    ))
    .await;
    let other = api.session(&["Hello"]).await;
    api.sql(&format!(
        "update chat_sessions set owner = 'iam:AIDA' where session_id = '{other}'"
    ))
    .await;
}

#[tokio::test]
async fn an_export_that_is_imported_exports_to_the_same_bytes() {
    let (from, to) = (Place::new().await, Place::new().await);
    fill(&from.api).await;
    write(&from.file("long"), &invented(1, 3000, 2000));
    assert!(from.import(&from.file("long")).await.success);
    from.export("a").await;
    let exported = std::fs::read(from.file("a")).unwrap();

    let ended = to.import(&from.file("a")).await;

    assert!(ended.success, "{ended:?}");
    assert!(
        ended
            .printed
            .contains("imported  6 sessions; 0 were there already, 0 were erased"),
        "{ended:?}"
    );
    to.api.verify().await;
    to.export("b").await;
    let again = std::fs::read(to.file("b")).unwrap();
    assert!(
        exported == again,
        "{} bytes and {}",
        exported.len(),
        again.len()
    );

    // Nothing is doubled by doing it again, there or at home.
    for place in [&to, &from] {
        let ended = place.import(&from.file("a")).await;
        assert!(
            ended.success && ended.printed.contains("imported  0 sessions; 6 were there"),
            "{ended:?}"
        );
        place.api.verify().await;
    }
    assert_eq!(to.export("c").await, lines(&to.file("b")));

    // The conversations go on.
    let session = lines(&to.file("b"))
        .into_iter()
        .find(|line| {
            line["type"] == "session"
                && line["owner"].is_null()
                && line["status"] == "active"
                && line["message_count"] == 3000
        })
        .unwrap();
    let turn = json!({ "query": "Still here?", "session_id": session["session_id"] });
    assert_eq!(to.api.chat(turn).await.body["conversation_length"], 3002);
    to.api.verify().await;
}

#[tokio::test]
async fn what_a_caller_takes_along_is_imported_for_the_owner_that_is_named() {
    let (from, to) = (Place::new().await, Place::new().await);
    let session_id = from.api.session(&["Hi"]).await;
    let page = from.api.export("").await;
    let file = from.file("mine");
    write(&file, page.body.as_array().unwrap());

    let name = file.to_str().unwrap();
    let ended = to.run(&["import", name, "--owner", "alice"]).await;
    assert!(
        !ended.success && ended.complained.contains("jwt:alice"),
        "{ended:?}"
    );
    let ended = to.run(&["import", name, "--owner", "jwt:alice"]).await;
    assert!(ended.success, "{ended:?}");

    let owned = format!(
        "select count(*) from chat_sessions where owner = 'jwt:alice' and session_id = '{session_id}'"
    );
    assert_eq!(to.api.number(&owned).await, 1);
    // Somebody else's by now.
    let ended = to.run(&["import", name, "--owner", "jwt:bob"]).await;
    assert!(
        !ended.success && ended.printed.contains("another owner"),
        "{ended:?}"
    );
    assert_eq!(to.api.number(&owned).await, 1);
    to.api.verify().await;
}

#[tokio::test]
async fn bad_lines_are_named_and_kept_and_cost_their_session_only() {
    let (from, to) = (Place::new().await, Place::new().await);
    let sessions = [
        from.api.session(&["one", "two"]).await,
        from.api.session(&["three"]).await,
        from.api.session(&["four"]).await,
        from.api.session(&["five"]).await,
    ];
    let good = from.export("good").await;
    assert_eq!(good.len(), 14);
    let text = |n: usize| good[n].to_string();
    let mut broken: Vec<String> = (0..14).map(text).collect();
    // A message of the first session is missing, the second session cannot be read, the third one has a line
    // that is cut off.
    broken[9] = broken[9][..40].to_owned();
    broken[5] = broken[5].replacen("created_at", "created", 1);
    broken.remove(3);
    broken.insert(0, "junk".into());
    let file = to.file("bad");
    std::fs::write(&file, broken.join("\n") + "\n").unwrap();

    let ended = to.import(&file).await;

    assert!(!ended.success, "{ended:?}");
    for told in [
        "line 1: is not JSON",
        "line 5: the message is at position 4 and should be at 3",
        "line 6: is not a session or a message",
        "line 10: is not JSON at column 40",
        "imported  1 sessions",
    ] {
        assert!(ended.printed.contains(told), "{told}: {ended:?}");
    }
    assert!(
        ended
            .complained
            .contains("4 sessions or lines were not imported"),
        "{ended:?}"
    );
    let rejected = std::fs::read_to_string(to.file("bad.rejected")).unwrap();
    let expected: Vec<&str> = broken.iter().map(String::as_str).take(11).collect();
    assert_eq!(rejected.lines().collect::<Vec<_>>(), expected);
    let stored = format!(
        "select count(*) from chat_sessions where session_id = '{}'",
        sessions[3]
    );
    assert_eq!(to.api.number(&stored).await, 1);
    assert_eq!(to.api.number("select count(*) from chat_sessions").await, 1);
    assert_eq!(to.api.number("select count(*) from chat_messages").await, 2);
    to.api.verify().await;

    // The rest can come later.
    assert!(to.import(&from.file("good")).await.success);
    assert_eq!(to.export("all").await, good);
}

#[tokio::test]
async fn sessions_that_cannot_be_as_they_are_written_are_rejected() {
    let (from, to) = (Place::new().await, Place::new().await);
    from.api.session(&["one", "two"]).await;
    let good = from.export("good").await;
    let changed = |line: usize, member: &str, value: Value| {
        let mut lines = good.clone();
        lines[line][member] = value;
        lines
    };
    for (name, lines) in [
        (
            "doubled id",
            changed(3, "message_id", good[1]["message_id"].clone()),
        ),
        ("answered twice", changed(4, "reply_to_seq", json!(1))),
        (
            "backwards",
            changed(2, "timestamp", json!("2020-01-01T00:00:00Z")),
        ),
        (
            "other session",
            changed(2, "session_id", json!(Uuid::now_v7())),
        ),
        (
            "no copy",
            changed(1, "origin_message_id", json!(Uuid::now_v7())),
        ),
        (
            "a copy of nothing",
            changed(
                0,
                "forked_from",
                json!({ "session_id": Uuid::now_v7(), "message_id": Uuid::now_v7() }),
            ),
        ),
    ] {
        let file = to.file("changed");
        write(&file, &lines);
        let ended = to.import(&file).await;
        assert!(
            !ended.success && ended.printed.contains("rejected  line "),
            "{name}: {ended:?}"
        );
        assert_eq!(
            to.api.number("select count(*) from chat_sessions").await,
            0,
            "{name}"
        );
    }
    // One that is stored with other messages stays as it is.
    assert!(to.import(&from.file("good")).await.success);
    write(&to.file("shorter"), &good[..3]);
    let ended = to.import(&to.file("shorter")).await;
    assert!(
        !ended.success && ended.printed.contains("4 instead of 2"),
        "{ended:?}"
    );
    assert_eq!(to.export("after").await, good);
}

#[tokio::test]
async fn an_erased_session_is_imported_by_nobody() {
    let place = Place::new().await;
    let session_id = place.api.session(&["Forget me"]).await;
    place.export("before").await;
    assert_eq!(place.api.erase(session_id).await.status, 200);
    assert!(place.export("after").await.is_empty());

    for step in ["marked", "deleted"] {
        let ended = place.import(&place.file("before")).await;
        assert!(
            ended.success && ended.printed.contains("1 were erased before"),
            "{step}: {ended:?}"
        );
        place
            .api
            .history(session_id, "")
            .await
            .assert_problem(404, "session_not_found");
        place
            .api
            .sql("delete from chat_messages; delete from chat_sessions")
            .await;
    }
    assert_eq!(
        place.api.number("select count(*) from chat_sessions").await,
        0
    );
}

#[tokio::test]
async fn an_import_that_is_killed_anywhere_is_finished_by_repeating_it() {
    let from = Place::new().await;
    write(&from.file("invented"), &invented(60, 100, 500));
    assert!(from.import(&from.file("invented")).await.success);
    let expected = from.export("all").await;
    let file = from.file("all");
    for round in 0..20 {
        let to = Place::new().await;
        let settings = [("DATABASE_URL", to.url.as_str())];
        let arguments = ["import", file.to_str().unwrap()];
        let pause = Duration::from_millis(25 * round);
        run_and_kill(&arguments, to.folder.path(), &settings, pause).await;
        to.api.verify().await;
        let ended = to.import(&file).await;
        assert!(ended.success, "{round}: {ended:?}");
        assert_eq!(to.export("again").await, expected, "{round}");
        to.api.verify().await;
    }
}

#[tokio::test]
async fn conversations_of_other_programs_are_imported_once() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../local/src/transfer/testdata");
    let place = Place::new().await;
    for (name, sessions) in [
        ("chatgpt.json", 2),
        ("librechat.json", 1),
        ("librechat-tree.json", 1),
        ("openai-thread.json", 1),
        ("openai-conversation.json", 1),
        ("langchain.jsonl", 2),
    ] {
        let file = place.file(name);
        std::fs::copy(testdata.join(name), &file).unwrap();
        let path = file.to_str().unwrap();
        for expected in [
            format!("imported  {sessions} sessions; 0 were"),
            format!("imported  0 sessions; {sessions} were"),
        ] {
            let ended = place.run(&["import", path, "--owner", "jwt:alice"]).await;
            assert!(
                ended.success && ended.printed.contains(&expected),
                "{name}: {ended:?}"
            );
        }
    }
    place.api.verify().await;
    let exported = place.export("all").await;
    let sleep = exported
        .iter()
        .find(|line| line["title"] == "Sleep")
        .unwrap();
    assert_eq!(sleep["owner"], "jwt:alice");
    assert_eq!(sleep["created_at"], "2026-01-01T00:00:00.500000Z");
    assert_eq!(sleep["message_count"], 3);
    let answer = exported
        .iter()
        .find(|line| line["model"] == "gpt-4o")
        .unwrap();
    assert_eq!(answer["reply_to_seq"], 1);
}

#[tokio::test]
async fn an_existing_file_is_not_overwritten_and_a_missing_one_is_named() {
    let place = Place::new().await;
    std::fs::write(place.file("here"), "mine").unwrap();
    let name = place.file("here");
    let ended = place.run(&["export", name.to_str().unwrap()]).await;
    assert!(
        !ended.success && ended.complained.contains("exists"),
        "{ended:?}"
    );
    assert_eq!(std::fs::read_to_string(&name).unwrap(), "mine");
    let ended = place.import(&place.file("missing")).await;
    assert!(
        !ended.success && ended.complained.contains("missing"),
        "{ended:?}"
    );
}
