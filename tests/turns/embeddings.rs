//! What texts mean, asked over real HTTP in the protocols of providers; and turns that do without.

use std::time::{Duration, Instant};

use assistant::Embeddings;
use serde_json::{Value, json};

use support::embedder::{Asked, Embedder, Trouble};
use support::local_run::run;
use support::log::Log;
use support::model_server::{ModelServer, Reply};
use support::{TestApi, aws, postgres, recordings};

async fn embeddings(settings: &[(&str, &str)]) -> Embeddings {
    let variable = |name: &str| {
        let found = settings.iter().find(|(set, _)| *set == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Embeddings::read(variable).await.unwrap().unwrap()
}

/// A vector as providers should have given it.
fn close(vector: &[f32], expected: [f32; 4]) -> bool {
    let length: f32 = expected.iter().map(|it| it * it).sum::<f32>().sqrt();
    let pairs = vector.iter().zip(expected);
    vector.len() == 4
        && pairs
            .into_iter()
            .all(|(it, other)| (it - other / length).abs() < 1e-6)
}

const SLEEP: [f32; 4] = [3.0, 0.0, 0.0, 0.5];
const WALK: [f32; 4] = [0.0, 0.0, 3.0, 0.5];

#[tokio::test]
async fn every_provider_is_asked_in_its_own_protocol() {
    let of = |body: &Value, text: usize, member: &str| body["requests"][text][member].clone();
    let key = |asked: &Asked, header: &str| asked.headers.get(header).cloned();
    for (name, key_variable, path) in [
        ("test-embedding", "OPENAI_API_KEY", "/v1/embeddings"),
        ("text-embedding-3-small", "OPENAI_API_KEY", "/v1/embeddings"),
        ("ollama::nomic", "", "/v1/api/embed"),
        (
            "gemini::gemini-embedding",
            "GEMINI_API_KEY",
            "/v1/models/gemini-embedding:batchEmbedContents",
        ),
        ("cohere::embed-v4.0", "COHERE_API_KEY", "/v2/embed"),
    ] {
        let server = Embedder::start([]).await;
        let settings = [
            ("EMBEDDING_MODEL", name),
            ("EMBEDDING_BASE_URL", &server.base_url),
            ("EMBEDDING_DIMENSIONS", "4"),
            (key_variable, "k"),
        ];
        let embeddings = embeddings(&settings).await;
        let texts = vec!["A walk".to_owned(), "To sleep".to_owned()];
        let vectors = embeddings.of_texts(texts, None).await.unwrap();
        assert!(
            close(&vectors[0], WALK) && close(&vectors[1], SLEEP),
            "{name}: {vectors:?}"
        );
        let query = embeddings.of_query("slumber").await.unwrap();
        assert!(close(&query.vector, SLEEP), "{name}");
        assert_eq!(query.model, format!("{name}/4"));

        let asked = server.asked();
        assert!(
            asked.iter().all(|asked| asked.path == path),
            "{name}: {asked:?}"
        );
        let (texts, query) = (&asked[0], &asked[1]);
        match key_variable {
            "OPENAI_API_KEY" => {
                assert_eq!(texts.body["model"], name);
                assert_eq!(texts.body["dimensions"], 4);
                assert_eq!(key(texts, "authorization").unwrap(), "Bearer k");
            }
            "GEMINI_API_KEY" => {
                assert_eq!(of(&texts.body, 1, "taskType"), "RETRIEVAL_DOCUMENT");
                assert_eq!(of(&query.body, 0, "taskType"), "RETRIEVAL_QUERY");
                assert_eq!(of(&texts.body, 0, "outputDimensionality"), 4);
                assert_eq!(key(texts, "x-goog-api-key").unwrap(), "k");
            }
            "COHERE_API_KEY" => {
                assert_eq!(texts.body["input_type"], "search_document");
                assert_eq!(query.body["input_type"], "search_query");
            }
            _ => assert_eq!(texts.body["model"], "nomic"),
        }
    }
}

#[tokio::test]
async fn vectors_belong_to_their_texts_in_whatever_order_they_come() {
    let server = Embedder::start([Trouble::Shuffled, Trouble::OneMissing]).await;
    let embeddings = embeddings(&server.settings()).await;
    let texts = || vec!["A walk".to_owned(), "To sleep".to_owned()];
    let vectors = embeddings.of_texts(texts(), None).await.unwrap();
    assert!(close(&vectors[0], WALK) && close(&vectors[1], SLEEP));
    let failure = embeddings.of_texts(texts(), None).await.unwrap_err();
    assert!(
        failure.to_string().contains("not one for each text"),
        "{failure}"
    );
}

#[tokio::test]
async fn the_key_comes_from_a_secret_of_its_own_or_by_its_name_from_that_of_the_model() {
    let own = aws::create_secret("own-key").await;
    let single = aws::create_secret("model-key").await;
    let named = r#"{"OPENAI_API_KEY": "named-key", "ANTHROPIC_API_KEY": "x"}"#;
    let named = aws::create_secret(named).await;
    let database = postgres::migrated_database().await;
    let url = postgres::server().url(&database);
    let folder = tempfile::tempdir().unwrap();
    for (secrets, expected) in [
        (&[("EMBEDDING_KEY_SECRET_ARN", own.as_str())][..], "own-key"),
        (&[("MODEL_KEY_SECRET_ARN", &named)], "named-key"),
        (
            &[
                ("MODEL_KEY_SECRET_ARN", &named),
                ("EMBEDDING_KEY_SECRET_ARN", &own),
            ],
            "own-key",
        ),
        // The only key of another provider stays where it belongs.
        (&[("MODEL_KEY_SECRET_ARN", &single)], "none"),
    ] {
        let server = Embedder::start([]).await;
        let place = [("DATABASE_URL", url.as_str())];
        let settings = [&server.settings()[..], secrets, &aws::settings(), &place].concat();
        // AWS's configuration is read from the process's environment, so this needs its own process.
        let ended = run(&["audio", "search", "sleep"], folder.path(), &settings).await;
        assert!(ended.success, "{ended:?}");
        let key = server.asked()[0].headers["authorization"].clone();
        assert_eq!(key, format!("Bearer {expected}"), "{secrets:?}");
    }
}

/// The answer to a question at which the model searches for `query`, and the log.
async fn turn(server: &Embedder, query: &str) -> (Value, String) {
    let model = ModelServer::start([
        Reply::Call("search_audio_resources", json!({ "query": query })),
        Reply::Text("Good day".into()),
    ])
    .await;
    let database = postgres::migrated_database().await;
    recordings::put(&database, &recordings::three()).await;
    let settings = [&model.settings()[..], &server.settings()].concat();
    let api = TestApi::on(database.clone(), &postgres::app_url(&database), &settings).await;
    let (log, guard) = Log::capture("info");
    let answer = api.chat(json!({ "query": "Help me" })).await;
    drop(guard);
    assert_eq!(answer.status, 200, "{}", answer.body);
    (answer.body, log.text())
}

#[tokio::test]
async fn a_query_whose_meaning_is_unknown_is_searched_by_its_words() {
    for (trouble, cause) in [
        (Trouble::Status(500, "canary", None), "500"),
        (
            Trouble::Status(
                401,
                r#"{"error": {"code": "no_key", "message": "canary"}}"#,
                None,
            ),
            "no_key",
        ),
        (Trouble::OneMissing, "no use"),
        (Trouble::Late(Duration::from_secs(30)), "too long"),
    ] {
        let server = Embedder::start([trouble]).await;
        let began = Instant::now();
        let (answer, log) = turn(&server, "asleep canary").await;
        assert!(began.elapsed() < Duration::from_secs(9), "{cause}");
        assert_eq!(
            answer["audio_files"][0]["title"], "Falling asleep with ease",
            "{answer}"
        );
        assert!(
            log.contains("searched by words alone") && log.contains(cause),
            "{cause}: {log}"
        );
        assert!(!log.contains("canary"), "{log}");
    }
}

#[tokio::test]
async fn a_query_is_asked_for_once_and_found_by_its_meaning() {
    let server = Embedder::start([]).await;
    let database = postgres::migrated_database().await;
    recordings::put(&database, &recordings::three()).await;
    // Known beforehand, as after an import.
    let url = postgres::server().url(&database);
    let settings = [&[("DATABASE_URL", url.as_str())], &server.settings()[..]].concat();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.jsonl");
    std::fs::write(&file, "").unwrap();
    let import = ["audio", "import", file.to_str().unwrap()];
    let ended = run(&import, folder.path(), &settings).await;
    assert!(
        ended.printed.ends_with("embedded  3 by test-embedding\n"),
        "{ended:?}"
    );

    let model = ModelServer::start([
        Reply::Call("search_audio_resources", json!({ "query": "slumber" })),
        Reply::Text("Good day".into()),
    ])
    .await;
    let settings = [&model.settings()[..], &server.settings()].concat();
    let api = TestApi::on(database.clone(), &postgres::app_url(&database), &settings).await;
    let answer = api.chat(json!({ "query": "Help me" })).await.body;
    assert_eq!(
        answer["audio_files"][0]["title"], "Falling asleep with ease",
        "{answer}"
    );
    assert_eq!(server.texts().last().unwrap(), "slumber");
    assert_eq!(server.asked().len(), 2);
}
