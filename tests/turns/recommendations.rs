//! Recordings that the assistant recommends: which, and when none.

use serde_json::{Value, json};
use shared::store::recordings::Recording;
use support::model_server::{ModelServer, Reply};
use support::stream::Read;
use support::{TestApi, postgres, recordings};
use uuid::Uuid;

/// A call of the search.
fn search(query: &str) -> Reply {
    Reply::Call("search_audio_resources", json!({ "query": query }))
}

fn says(text: &str) -> Reply {
    Reply::Text(text.into())
}

/// The answer to a question at which the model does this, with these recordings and settings.
async fn answered(
    catalogue: &[Recording],
    replies: Vec<Reply>,
    more: &[(&str, &str)],
) -> (Value, ModelServer) {
    let model = ModelServer::start(replies).await;
    let database = postgres::migrated_database().await;
    recordings::put(&database, catalogue).await;
    let settings = [&model.settings()[..], more].concat();
    let url = postgres::app_url(&database);
    let api = TestApi::on(database, &url, &settings).await;
    let answer = api.chat(json!({ "query": "Help me" })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let history = api.history(answer.id("session_id"), "").await;
    let stored = &history.body["history"][1];
    let calls = &answer.body["function_calls"];
    assert_eq!(
        stored["function_calls"].as_array().unwrap_or(&vec![]),
        calls.as_array().unwrap()
    );
    if answer.body["audio_provided"] == true {
        assert_eq!(stored["audio_files"], answer.body["audio_files"]);
    } else {
        assert_eq!(stored["audio_files"], Value::Null);
    }
    (answer.body, model)
}

#[tokio::test]
async fn the_best_recording_is_recommended_with_its_score_and_the_call_is_stored() {
    let replies = vec![search("falling asleep"), says("Try this one.")];
    let (answer, model) = answered(&recordings::three(), replies, &[]).await;

    let [recommended] = &answer["audio_files"].as_array().unwrap()[..] else {
        panic!("{answer}")
    };
    let score = recommended["relevance_score"].as_f64().unwrap();
    assert!(score > 0.5 && score <= 1.0, "{recommended}");
    let expected = json!({
        "audio_id": "11111111-1111-4111-8111-111111111111",
        "filename": "sleep.mp3",
        "file_path": "sleep.mp3",
        "title": "Falling asleep with ease",
        "summary": "A quiet guide through the body until sleep comes.",
        "relevance_score": score,
    });
    assert_eq!(recommended, &expected);
    assert_eq!(answer["audio_provided"], true);

    let call = &answer["function_calls"][0];
    assert_eq!(call["name"], "search_audio_resources");
    assert_eq!(call["arguments"], json!({ "query": "falling asleep" }));
    assert_eq!(call["error"], Value::Null);
    let found = json!([{
        "audio_id": "11111111-1111-4111-8111-111111111111",
        "title": "Falling asleep with ease",
        "summary": "A quiet guide through the body until sleep comes.",
        "language": "en",
        "relevance_score": score,
    }]);
    assert_eq!(call["result"], found);
    let requests = model.requests();
    let got = requests[1]["messages"].as_array().unwrap().last().unwrap();
    let got: Value = serde_json::from_str(got["content"].as_str().unwrap()).unwrap();
    assert_eq!(got["result"], found, "without the place of the file");
}

#[tokio::test]
async fn a_turn_that_needs_none_has_none() {
    let replies = vec![says("Hello!")];
    let (answer, model) = answered(&recordings::three(), replies, &[]).await;
    assert_eq!(answer["audio_files"], json!([]));
    assert_eq!(answer["audio_provided"], false);
    assert_eq!(answer["function_calls"], json!([]));
    let tool = model.requests()[0]["tools"][0]["function"].clone();
    assert_eq!(tool["name"], "search_audio_resources");
    assert_eq!(tool["parameters"]["required"], json!(["query"]));
}

#[tokio::test]
async fn nothing_is_recommended_that_is_not_relevant_enough() {
    for (query, min_relevance, is_recommended) in [
        ("compound interest", "0.1", false),
        ("falling asleep on a motorway", "0.99", false),
        ("falling asleep on a motorway", "0.2", true),
    ] {
        let settings = [("AUDIO_MIN_RELEVANCE", min_relevance)];
        let replies = vec![search(query), says("Well")];
        let (answer, _) = answered(&recordings::three(), replies, &settings).await;
        assert_eq!(
            answer["audio_provided"], is_recommended,
            "{query}: {answer}"
        );
        let found = answer["function_calls"][0]["result"].as_array().unwrap();
        assert_eq!(
            !found.is_empty(),
            is_recommended,
            "the model is shown no others"
        );
    }
}

#[tokio::test]
async fn of_all_searches_the_best_are_recommended_as_many_as_the_installation_wants() {
    let replies = || {
        vec![
            search("walking while it is raining in november"),
            search("falling asleep"),
            says("These"),
        ]
    };
    for (max, titles) in [
        ("0", vec![]),
        ("1", vec!["Falling asleep with ease"]),
        (
            "2",
            vec!["Falling asleep with ease", "Walking through autumn leaves"],
        ),
    ] {
        let settings = [
            ("AUDIO_MAX_RECOMMENDED", max),
            ("AUDIO_MIN_RELEVANCE", "0.1"),
        ];
        let (answer, _) = answered(&recordings::three(), replies(), &settings).await;
        let recommended = answer["audio_files"].as_array().unwrap().iter();
        let recommended: Vec<_> = recommended.map(|file| file["title"].as_str()).collect();
        let titles: Vec<_> = titles.into_iter().map(Some).collect();
        assert_eq!(recommended, titles, "{answer}");
    }
}

#[tokio::test]
async fn a_recording_with_a_location_is_given_with_it() {
    let mut catalogue = recordings::three();
    catalogue[0].location = Some("https://media.example/sleep.mp3".into());
    let replies = vec![search("falling asleep"), says("Try this one.")];
    let (answer, _) = answered(&catalogue, replies, &[]).await;
    let recommended = &answer["audio_files"][0];
    assert_eq!(recommended["file_path"], "https://media.example/sleep.mp3");
    assert_eq!(recommended["filename"], "sleep.mp3");
}

#[tokio::test]
async fn a_search_that_fails_is_a_result_and_not_a_failed_turn() {
    let model = ModelServer::start([search("sleep"), says("Sorry")]).await;
    let database = postgres::migrated_database().await;
    recordings::put(&database, &recordings::three()).await;
    let owner = postgres::connect(&postgres::server().url(&database)).await;
    let broken = "alter function public.audio_search_v1 rename to audio_search_v0";
    owner.client().batch_execute(broken).await.unwrap();
    let url = postgres::app_url(&database);
    let api = TestApi::on(database, &url, &model.settings()).await;

    let answer = api.chat(json!({ "query": "Help me" })).await;

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["response"], "Sorry");
    let call = &answer.body["function_calls"][0];
    assert_eq!(
        call["error"],
        "the recordings cannot be searched at the moment"
    );
    assert_eq!(answer.body["audio_provided"], false);
}

#[tokio::test]
async fn a_stopped_answer_keeps_the_recording_that_was_found() {
    let model = ModelServer::start([search("falling asleep"), Reply::Held("Try".into())]).await;
    let database = postgres::migrated_database().await;
    recordings::put(&database, &recordings::three()).await;
    let url = postgres::app_url(&database);
    let api = TestApi::on(database, &url, &model.settings()).await;
    let session_id = Uuid::now_v7();
    let body = json!({ "query": "Help me", "session_id": session_id });
    let stream = api.stream(body).await;
    // The second request: the search is done.
    model.asked().await;
    model.asked().await;
    api.stop(session_id, "").await;
    let mut read = Read::default();
    read.follow(stream).await;
    let done = read.done();
    assert_eq!(done["finish_reason"], "stopped", "{done}");
    assert_eq!(done["audio_files"][0]["title"], "Falling asleep with ease");
}
