//! `AUDIO_CATALOGUE`: a file of recordings that is in the catalogue when the first question comes.

use std::io::Write;
use std::sync::Arc;

use assistant::AssistantConfig;
use serde_json::json;
use shared::database::{Database, DatabaseConfig};
use shared::store::Store;
use tempfile::NamedTempFile;

use support::api::Answer;
use support::embedder::Embedder;
use support::local_run::{LocalRun, run};
use support::log::Log;
use support::model_server::{ModelServer, Reply};
use support::proxy::Proxy;
use support::{TestApi, ports, postgres};

/// A file as earlier versions read it, with one recording.
fn file(title: &str, more: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    let text = format!(r#"[{{ "title": "{title}", "url": "https://x.example/z.mp3"{more} }}]"#);
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The first answer of a function that starts with this file, of a model that searches for `query` if it can.
async fn asked(database: &str, file: &NamedTempFile, query: &str, more: &[(&str, &str)]) -> Answer {
    let model = ModelServer::start([
        Reply::Call("search_audio_resources", json!({ "query": query })),
        Reply::Text("Good day".into()),
    ])
    .await;
    let path = file.path().to_str().unwrap();
    let settings = [&model.settings()[..], &[("AUDIO_CATALOGUE", path)], more].concat();
    let api = TestApi::on(database.to_owned(), &postgres::app_url(database), &settings).await;
    api.chat(json!({ "query": "Help me" })).await
}

#[tokio::test]
async fn the_file_is_imported_at_the_start_and_what_changed_at_the_next() {
    let database = postgres::migrated_database().await;
    let first = asked(&database, &file("Zebra", ""), "zebra", &[]).await;
    let recommended = &first.body["audio_files"][0];
    assert_eq!(recommended["title"], "Zebra", "{}", first.body);
    assert_eq!(recommended["file_path"], "https://x.example/z.mp3");

    let second = asked(&database, &file("Okapi", ""), "okapi", &[]).await;
    let changed = &second.body["audio_files"][0];
    assert_eq!(changed["title"], "Okapi", "{}", second.body);
    assert_eq!(changed["audio_id"], recommended["audio_id"]);

    let inactive = file("Okapi", r#", "is_active": false"#);
    let third = asked(&database, &inactive, "okapi", &[]).await;
    assert_eq!(third.body["audio_files"], json!([]), "{}", third.body);
}

#[tokio::test]
async fn what_recordings_of_the_file_mean_is_asked_at_the_start() {
    let (database, embedder) = (
        postgres::migrated_database().await,
        Embedder::start([]).await,
    );
    let file = file("Deep sleep", "");
    let answer = asked(&database, &file, "insomnia", &embedder.settings()).await;
    assert_eq!(
        answer.body["audio_files"][0]["title"], "Deep sleep",
        "{}",
        answer.body
    );
    assert_eq!(embedder.texts(), ["Deep sleep", "insomnia"]);
}

#[tokio::test]
async fn a_database_that_is_down_at_the_start_gets_the_file_later() {
    let database = postgres::migrated_database().await;
    let proxy = Proxy::start(ports::free_port()).await;
    let url = proxy.through(&postgres::app_url(&database));
    let store = Store::new(Arc::new(Database::new(
        DatabaseConfig::parse(&url).unwrap(),
    )));
    let file = file("canary", "");
    let path = file.path().to_str().unwrap().to_owned();
    let variable = |name: &str| (name == "AUDIO_CATALOGUE").then(|| path.clone());
    let config = AssistantConfig::read(variable).await.unwrap();

    let (log, guard) = Log::capture("info");
    config.agent.prepare(&store).await;
    drop(guard);
    let log = log.text();
    assert!(log.contains("AUDIO_CATALOGUE is not imported"), "{log}");
    assert!(!log.contains("canary"), "{log}");

    proxy.lead_to(postgres::app_port());
    config.agent.prepare(&store).await;
    let titles = "select string_agg(title, ',') from audio_resources";
    let connection = postgres::connect(&postgres::server().url(&database)).await;
    let title = async || -> Option<String> {
        let row = connection.client().query_typed_one(titles, &[]).await;
        row.unwrap().get(0)
    };
    assert_eq!(title().await.as_deref(), Some("canary"));

    let emptied = "delete from audio_resources";
    connection.client().batch_execute(emptied).await.unwrap();
    config.agent.prepare(&store).await;
    assert_eq!(title().await, None, "it is imported once");
}

#[tokio::test]
async fn the_local_server_has_the_file_when_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    let file = file("Zebra", "");
    let settings = [("AUDIO_CATALOGUE", file.path().to_str().unwrap())];
    let server = LocalRun::start(folder.path(), &settings).await;
    let ended = run(&["audio", "list", "--json"], folder.path(), &[]).await;
    assert!(ended.printed.contains("\"title\":\"Zebra\""), "{ended:?}");
    server.stop().await;
}
