//! `cargo run -- audio`: recordings come in from files of every form, once; what is found is explained and judged.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use support::embedder::{Embedder, Trouble};
use support::local_run::{Ended, LocalRun, run};
use support::{postgres, recordings};

/// A database, and a folder for files.
struct Place {
    url: String,
    database: String,
    folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        let database = postgres::migrated_database().await;
        Self {
            url: postgres::server().url(&database),
            database,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A place whose catalogue has three recordings.
    async fn with_three() -> Self {
        let place = Self::new().await;
        recordings::put(&place.database, &recordings::three()).await;
        place
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn audio(&self, arguments: &[&str]) -> Ended {
        self.audio_with(arguments, &[]).await
    }

    async fn audio_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Ended {
        let arguments = [&["audio"], arguments].concat();
        let settings = [&[("DATABASE_URL", self.url.as_str())], settings].concat();
        run(&arguments, self.folder.path(), &settings).await
    }

    /// What an import of a file with this text prints last, with the settings.
    async fn import(&self, name: &str, text: &str) -> String {
        let file = self.file(name, text);
        let ended = self.audio(&["import", &file]).await;
        assert!(ended.success, "{ended:?}");
        ended.last()
    }

    async fn list(&self) -> String {
        let ended = self.audio(&["list", "--json"]).await;
        assert!(ended.success, "{ended:?}");
        ended.printed
    }

    async fn recordings(&self) -> Vec<Value> {
        let list = self.list().await;
        list.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// What a command printed.
trait Said {
    fn last(&self) -> String;
    fn line(&self, with: &str) -> &str;
}

impl Said for Ended {
    fn last(&self) -> String {
        self.printed.lines().last().unwrap_or_default().to_owned()
    }

    fn line(&self, with: &str) -> &str {
        let found = self.printed.lines().find(|line| line.contains(with));
        found.unwrap_or_else(|| panic!("no line with {with}: {self:?}"))
    }
}

/// The cells of a row of a table.
fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

#[tokio::test]
async fn an_import_is_repeated_and_takes_only_what_has_changed() {
    let place = Place::new().await;
    let line = |n: usize, title: &str| {
        json!({ "title": title, "location": format!("https://x.example/{n}.mp3") }).to_string()
            + "\n"
    };
    let many: String = (0..1_200).map(|n| line(n, "One")).collect();
    assert_eq!(
        place.import("a.jsonl", &many).await,
        "imported  1200 added, 0 changed, 0 unchanged, 0 rejected"
    );
    let changed: String = (0..1_201)
        .map(|n| line(n, if n % 400 == 0 { "Another" } else { "One" }))
        .collect();
    assert_eq!(
        place.import("a.jsonl", &changed).await,
        "imported  1 added, 3 changed, 1197 unchanged, 0 rejected"
    );
    let titles = place.recordings().await;
    let others = titles.iter().filter(|it| it["title"] == "Another");
    assert_eq!((titles.len(), others.count()), (1_201, 4));
}

#[tokio::test]
async fn files_of_every_form_bring_in_the_same() {
    let lines = r#"{"title": "A, or B", "location": "https://x.example/a.mp3", "tags": ["c", "d e"], "duration_seconds": 90, "speaker": "Ada"}"#;
    let array = format!("[\n {lines}\n]");
    let older = r#"[{"title": "A, or B", "url": "https://x.example/a.mp3", "tags": ["c", "d e"], "duration_seconds": 90, "speaker": "Ada"}]"#;
    let csv = "title,location,tags,duration_seconds,speaker\n\"A, or B\",https://x.example/a.mp3,c; d e,90,Ada\n";
    let place = Place::new().await;
    let first = place.import("a.jsonl", lines).await;
    assert_eq!(
        first,
        "imported  1 added, 0 changed, 0 unchanged, 0 rejected"
    );
    for (name, text) in [
        ("a.json", array.as_str()),
        ("older.json", older),
        ("a.CSV", csv),
    ] {
        let again = place.import(name, text).await;
        assert_eq!(
            again, "imported  0 added, 0 changed, 1 unchanged, 0 rejected",
            "{name}"
        );
    }
    let [recording] = &place.recordings().await[..] else {
        panic!("more than one")
    };
    let expected = json!({
        "audio_id": recording["audio_id"], "filename": "a.mp3", "location": "https://x.example/a.mp3",
        "title": "A, or B", "summary": null, "transcript": null, "language": null,
        "duration_seconds": 90.0, "tags": ["c", "d e"], "metadata": { "speaker": "Ada" }, "is_active": true,
    });
    assert_eq!(recording, &expected);
}

#[tokio::test]
async fn lines_that_cannot_be_imported_are_named_and_the_others_are_imported() {
    let place = Place::new().await;
    let text: String = (1..=50)
        .map(|n| match n % 2 {
            0 => format!("{{\"title\": \"secret\", \"filename\": \"{n}\", \"mood\": 1}}\n"),
            _ => "{\"title\": \"secret\", \"filename\": 7}\n".to_owned(),
        })
        .collect();
    let file = place.file("a.jsonl", &text);
    let ended = place.audio(&["import", &file]).await;
    assert!(!ended.success);
    assert_eq!(ended.complained, "error: 25 lines were not imported\n");
    let rejected: Vec<&str> = ended
        .printed
        .lines()
        .filter(|line| line.starts_with("rejected"))
        .collect();
    assert_eq!(rejected.len(), 21);
    assert_eq!(rejected[0], "rejected  line 1: `filename` must be a text");
    assert_eq!(rejected[19], "rejected  line 39: `filename` must be a text");
    assert_eq!(rejected[20], "rejected  … and 5 more");
    assert_eq!(
        ended.line("kept"),
        "kept      in `metadata`, because they mean nothing here: mood (25)"
    );
    assert_eq!(
        ended.last(),
        "imported  25 added, 0 changed, 0 unchanged, 25 rejected"
    );
    assert!(!ended.printed.contains("secret"), "{ended:?}");
    assert_eq!(place.recordings().await.len(), 25);
}

#[tokio::test]
async fn a_list_is_taken_back_whole() {
    let (from, to) = (Place::new().await, Place::new().await);
    let whole = json!({
        "audio_id": "11111111-1111-4111-8111-111111111111", "filename": "a.mp3", "location": "s3://bucket/a.mp3",
        "title": "Ünïcode \"quoted\"", "summary": "Two\nlines", "transcript": "Word ".repeat(30_000),
        "language": "de-AT", "duration_seconds": 12.25, "tags": ["a"], "is_active": false,
        "metadata": { "zz": { "b": [1, null], "a": 2 }, "y": "x" },
    });
    let many: String = (0..130)
        .map(|n| format!("{{\"title\": \"T\", \"filename\": \"{n}\"}}\n"))
        .collect();
    from.import("a.jsonl", &format!("{whole}\n{many}")).await;
    let listed = from.list().await;
    let said = to.import("b.jsonl", &listed).await;
    assert_eq!(
        said,
        "imported  131 added, 0 changed, 0 unchanged, 0 rejected"
    );
    assert_eq!(to.list().await, listed);
    let again = from.import("b.jsonl", &listed).await;
    assert_eq!(
        again,
        "imported  0 added, 0 changed, 131 unchanged, 0 rejected"
    );

    let table = from.audio(&["list"]).await;
    let row = cells(table.line("Ünïcode"));
    let expected = [
        "11111111-1111-4111-8111-111111111111",
        "Ünïcode \"quoted\"",
        "de-AT",
        "0:12",
        "a",
        "no",
        "",
    ];
    assert_eq!(row, expected);
    assert_eq!(table.last(), "listed    131 recordings");
}

#[tokio::test]
async fn a_search_says_what_matched_and_how_well() {
    let place = Place::with_three().await;
    let ended = place
        .audio(&["search", "falling", "asleep", "--limit", "1"])
        .await;
    let row = cells(ended.line("Falling asleep"));
    let relevance: f64 = row[0].parse().unwrap();
    assert!(relevance > 0.5 && relevance <= 1.0, "{row:?}");
    assert_eq!(row[2], format!("{relevance:.3} (#1)"), "by words");
    assert_eq!(
        row[3..],
        [
            "",
            "falling, asleep",
            "11111111-1111-4111-8111-111111111111"
        ]
    );
    assert_eq!(ended.last(), "found     1, by words");
    let ended = place.audio(&["search", "slumber"]).await;
    assert_eq!(ended.last(), "found     nothing, by words");
}

#[tokio::test]
async fn a_paraphrase_is_found_by_its_meaning_alone() {
    let embedder = Embedder::start([]).await;
    let place = Place::new().await;
    let lines: String = recordings::three()
        .iter()
        .map(|it| serde_json::to_string(it).unwrap() + "\n")
        .collect();
    let file = place.file("a.jsonl", &lines);
    let ended = place
        .audio_with(&["import", &file], &embedder.settings())
        .await;
    assert!(ended.success, "{ended:?}");
    assert_eq!(ended.last(), "embedded  3 by test-embedding");
    let texts = embedder.texts();
    let expected = "Falling asleep with ease\n\nA quiet guide through the body until sleep comes.";
    assert!(texts.iter().any(|text| text == expected), "{texts:?}");

    let search = ["search", "slumber", "--limit", "1"];
    let ended = place.audio_with(&search, &embedder.settings()).await;
    let row = cells(ended.line("Falling asleep"));
    assert_eq!(row[2..5], ["", "1.000 (#1)", ""]);
    assert_eq!(
        ended.last(),
        "found     1, by words and by meaning (test-embedding)"
    );

    // Nothing is asked twice.
    let before = embedder.asked().len();
    let ended = place
        .audio_with(&["import", &file], &embedder.settings())
        .await;
    assert_eq!(ended.last(), "embedded  0 by test-embedding");
    assert_eq!(embedder.asked().len(), before);
}

#[tokio::test]
async fn what_recordings_mean_is_asked_again_until_it_is_known() {
    let busy = Trouble::Status(429, "{}", Some(1));
    let embedder = Embedder::start([busy, Trouble::Status(500, "{}", None)]).await;
    let place = Place::new().await;
    let lines: String = (0..150)
        .map(|n| format!("{{\"title\": \"Forest {n}\", \"filename\": \"{n}\"}}\n"))
        .collect();
    let file = place.file("a.jsonl", &lines);
    let ended = place
        .audio_with(&["import", &file], &embedder.settings())
        .await;
    assert_eq!(ended.last(), "embedded  150 by test-embedding", "{ended:?}");
    let sizes: Vec<usize> = embedder
        .asked()
        .iter()
        .map(|asked| asked.body["input"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [64, 64, 64, 64, 22]);

    // A refusal does not pass. What is stored stays stored.
    let refused = Trouble::Status(
        401,
        r#"{"error": {"code": "invalid_api_key", "message": "secret"}}"#,
        None,
    );
    embedder.trouble([refused]);
    let more = place.file("b.jsonl", "{\"title\": \"Walk\", \"filename\": \"w\"}\n");
    let ended = place
        .audio_with(&["import", &more], &embedder.settings())
        .await;
    assert!(!ended.success);
    assert_eq!(
        ended.last(),
        "imported  1 added, 0 changed, 0 unchanged, 0 rejected"
    );
    assert_eq!(
        ended.complained,
        "error: the recordings are imported, but not what they mean; repeat the import to go on: \
         the provider answered 401 Unauthorized (invalid_api_key)\n"
    );
    let ended = place
        .audio_with(&["import", &more], &embedder.settings())
        .await;
    assert_eq!(ended.last(), "embedded  1 by test-embedding");
}

#[tokio::test]
async fn removed_recordings_are_gone() {
    let place = Place::with_three().await;
    let first = "11111111-1111-4111-8111-111111111111";
    let unknown = "99999999-9999-4999-8999-999999999999";
    let ended = place.audio(&["remove", first, unknown]).await;
    assert!(ended.success, "{ended:?}");
    assert_eq!(ended.last(), "removed   1 of 2");
    assert_eq!(place.recordings().await.len(), 2);
}

#[tokio::test]
async fn the_role_of_the_functions_imports_but_does_not_remove() {
    let place = Place::new().await;
    let file = place.file("a.jsonl", "{\"title\": \"A\", \"filename\": \"a\"}\n");
    let app_url = postgres::app_url(&place.database);
    let owner_url = place.url.clone();
    let settings = [
        ("DATABASE_URL", app_url.as_str()),
        ("MIGRATE_DATABASE_URL", &owner_url),
    ];
    let ended = place.audio_with(&["import", &file], &settings).await;
    assert_eq!(
        ended.last(),
        "imported  1 added, 0 changed, 0 unchanged, 0 rejected",
        "{ended:?}"
    );
    let id = place.recordings().await[0]["audio_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let ended = place.audio_with(&["remove", &id], &settings).await;
    assert!(!ended.success);
    assert!(
        ended.complained.contains("MAINTAIN_DATABASE_URL"),
        "{ended:?}"
    );
    let maintain_url = postgres::maintain_url(&place.database);
    let settings = [
        &settings[..],
        &[("MAINTAIN_DATABASE_URL", maintain_url.as_str())],
    ]
    .concat();
    let ended = place.audio_with(&["remove", &id], &settings).await;
    assert_eq!(ended.last(), "removed   1 of 1", "{ended:?}");
}

#[tokio::test]
async fn an_evaluation_judges_the_order_and_the_thresholds() {
    let embedder = Embedder::start([]).await;
    let place = Place::with_three().await;
    let queries = place.file(
        "queries.jsonl",
        r#"{"query": "falling asleep", "context": null, "audio_id": "11111111-1111-4111-8111-111111111111"}
{"query": "courage", "audio_id": "33333333-3333-4333-8333-333333333333", "also": ["22222222-2222-4222-8222-222222222222"]}
{"query": "slumber", "context": "at night", "audio_id": "11111111-1111-4111-8111-111111111111", "also": []}
{"query": "autumn", "context": null, "audio_id": null}
{"query": "taxes", "context": null, "audio_id": null}
"#,
    );
    let settings = [("AUDIO_MIN_RELEVANCE", "0.35")];
    let evaluate = ["evaluate", &queries, "--misses"];
    let ended = place.audio_with(&evaluate, &settings).await;
    assert!(ended.success, "{ended:?}");
    assert_eq!(
        ended.line("queries "),
        "queries   5: 3 need a recording, 2 need none"
    );
    assert_eq!(
        cells(ended.line("| by words"))[1..],
        ["66.7 %", "66.7 %", "0.667"]
    );
    assert_eq!(
        cells(ended.line("(set) 0.35"))[1..],
        ["66.7 %", "0.0 %", "33.3 %", "50.0 %"]
    );
    assert!(
        ended.printed.ends_with(
            "missed    slumber\n  first   nothing\n  right   11111111-1111-4111-8111-111111111111\n"
        ) || ended.printed.ends_with(
            "missed    slumber\n  first   nothing\n  right   Falling asleep with ease\n"
        )
    );

    // Of a file, without the catalogue.
    let three = recordings::three();
    let two: String = three[1..]
        .iter()
        .map(|it| serde_json::to_string(it).unwrap() + "\n")
        .collect();
    let file = place.file("two.jsonl", &two);
    let ended = place
        .audio_with(&["evaluate", &queries, "--recordings", &file], &settings)
        .await;
    assert_eq!(
        cells(ended.line("| by words"))[1..],
        ["33.3 %", "33.3 %", "0.333"]
    );

    let all = place.list().await;
    let file = place.file("all.jsonl", &all);
    let settings = [&settings[..], &embedder.settings()].concat();
    place.audio_with(&["import", &file], &settings).await;
    let ended = place.audio_with(&evaluate, &settings).await;
    assert_eq!(
        cells(ended.line("| by words "))[1..],
        ["66.7 %", "66.7 %", "0.667"]
    );
    let by_both = cells(ended.line("| by words and meaning"));
    assert_eq!(by_both[1..], ["100.0 %", "100.0 %", "1.000"]);
    assert!(!ended.printed.contains("missed    "), "{ended:?}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_before_a_database_is_opened() {
    let place = Place::new().await;
    let csv = place.file("a.csv", "name\nA\n");
    let bad = place.file("bad.jsonl", "{\"query\": \"a\"}\n\n7\n");
    let none = place.file("none.jsonl", "\n");
    let recordings = place.file("r.jsonl", "\n{\"title\": \"A\"}\n");
    let good = place.file("q.jsonl", "{\"query\": \"a\", \"audio_id\": null}\n");
    for (arguments, expected) in [
        (&["import", "/does/not/exist"][..], "No such file"),
        (&["import", "/"], "it is a folder"),
        (&["import", &csv], "names no column `title`"),
        (&["evaluate", &bad], "line 3: is not an object with"),
        (&["evaluate", &none], "has no queries"),
        (
            &["evaluate", &good, "--recordings", &recordings],
            "line 2: `filename` is missing",
        ),
    ] {
        // Nothing listens there.
        let settings = [("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/d")];
        let ended = place.audio_with(arguments, &settings).await;
        assert!(!ended.success);
        assert!(
            ended.complained.contains(expected),
            "{arguments:?}: {ended:?}"
        );
        assert_eq!(ended.printed, "", "{arguments:?}");
    }
}

#[tokio::test]
async fn the_commands_use_the_database_of_a_server_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.jsonl");
    std::fs::write(
        &file,
        "{\"title\": \"Zebra crossing\", \"filename\": \"z.mp3\"}\n",
    )
    .unwrap();
    let server = LocalRun::start(folder.path(), &[]).await;

    let import = ["audio", "import", file.to_str().unwrap()];
    let ended = run(&import, folder.path(), &[]).await;
    assert!(ended.success, "{ended:?}");

    let body = json!({ "query": "Zebra crossing audio" });
    let request = reqwest::Client::new().post(format!("{}/chat", server.address));
    let answer: Value = request
        .json(&body)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        answer["audio_files"][0]["title"], "Zebra crossing",
        "{answer}"
    );
    server.stop().await;
}
