//! Recordings on S3: their links in answers, and who gets none. Only a process of its own can be given credentials,
//! so each test starts one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::time::Timestamp;
use tokio::net::TcpListener;
use uuid::Uuid;

use support::model_server::{ModelServer, Reply};
use support::{TestApi, aws, recordings};

/// The most that an answer of history may have, in bytes.
const PAGE_BYTES: usize = 5_000_000;

/// A recording on S3, as the catalogue has it.
struct Recording {
    audio_id: Uuid,
    location: String,
}

impl Recording {
    fn new(location: impl Into<String>) -> Self {
        Self {
            audio_id: Uuid::now_v7(),
            location: location.into(),
        }
    }

    /// Puts it into the catalogue.
    async fn add(self, api: &TestApi) -> Self {
        let members = json!({
            "audio_id": self.audio_id,
            "filename": "sleep.mp3",
            "location": self.location,
            "title": "Falling asleep with ease",
            "language": "en",
        });
        recordings::put(&api.database, &[recordings::recording(&members)]).await;
        self
    }

    /// As an answer recommends it.
    fn recommended(&self) -> Value {
        json!({
            "audio_id": self.audio_id,
            "filename": "sleep.mp3",
            "file_path": self.location,
            "title": "Falling asleep with ease",
            "summary": null,
            "relevance_score": 0.1 + 0.2,
        })
    }
}

/// What a recording's link is, where that is all that changed in a stored one.
#[track_caller]
fn link_in(returned: &Value, stored: &Value) -> String {
    let mut returned = returned.clone();
    let link = returned["file_path"].take();
    let mut stored = stored.clone();
    stored["file_path"].take();
    assert_eq!(returned, stored);
    link.as_str().unwrap().to_owned()
}

/// The parameters of a link, by name.
fn parameters(link: &str) -> BTreeMap<String, String> {
    let url = reqwest::Url::parse(link).unwrap();
    url.query_pairs().into_owned().collect()
}

/// Puts recordings into the answers of a session.
async fn recommend(api: &TestApi, session_id: Uuid, audio_files: &Value) {
    api.sql(&format!(
        "update chat_messages set audio_files = '{audio_files}'
         where session_id = '{session_id}' and role = 'assistant'"
    ))
    .await;
}

/// The recordings of each message in the history of a session, oldest first.
async fn history(api: &TestApi, session_id: Uuid) -> Vec<Value> {
    let answer = api.history(session_id, "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    audio_files(&answer.body)
}

fn audio_files(body: &Value) -> Vec<Value> {
    let messages = body["history"].as_array().unwrap().iter();
    messages
        .map(|message| message["audio_files"].clone())
        .collect()
}

#[tokio::test]
async fn every_way_to_an_answer_leads_to_a_link_that_fetches_the_recording() {
    let bucket = aws::create_bucket().await;
    aws::put_object(&bucket, "sleep/a%20b.mp3", "a recording").await;
    let recording = Recording::new(format!("s3://{bucket}/sleep/a b.mp3"));
    let mut settings = aws::settings().to_vec();
    settings.extend([("AUDIO_BUCKETS", bucket.as_str()), ("RUST_LOG", "debug")]);
    let (api, complaints) = TestApi::in_a_process(&settings).await;
    let recording = recording.add(&api).await;
    let stored = recording.recommended();

    let session_id = Uuid::now_v7();
    let question = json!({
        "query": "Hello", "session_id": session_id, "message_id": Uuid::now_v7(),
    });
    let answer = api.chat(question.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    recommend(&api, session_id, &json!([stored])).await;

    let replayed = api.chat(question.clone()).await.body["audio_files"].clone();
    let streamed = api.streamed_turn(question.clone()).await.body["audio_files"].clone();
    let message_id = question["message_id"].as_str().unwrap();
    let of_message = format!("?message_id={message_id}");
    let followed = api.resume(session_id, &of_message, None).await.all().await;
    let followed = followed.last().unwrap().data["audio_files"].clone();
    let read = history(&api, session_id).await.pop().unwrap();
    let loaded = audio_files(&api.load(session_id).await.body).pop().unwrap();
    let copied = api.fork(session_id, answer.id("response_id")).await;
    let copied = audio_files(&copied.body).pop().unwrap();

    for (way, returned) in [
        ("replayed", replayed),
        ("streamed", streamed),
        ("followed", followed),
        ("history", read),
        ("load-session", loaded),
        ("copy", copied),
    ] {
        assert_eq!(
            returned.as_array().map(Vec::len),
            Some(1),
            "{way}: {returned}"
        );
        let link = link_in(&returned[0], &stored);
        let address = format!("{}/{bucket}/sleep/a%20b.mp3?", aws::endpoint());
        assert!(link.starts_with(&address), "{way}: {link}");
        let parameters = parameters(&link);
        let date = &parameters["X-Amz-Date"];
        let scope = format!("AKIDEXAMPLE/{}/eu-central-1/s3/aws4_request", &date[..8]);
        assert_eq!(parameters["X-Amz-Algorithm"], "AWS4-HMAC-SHA256");
        assert_eq!(parameters["X-Amz-Credential"], scope);
        assert_eq!(parameters["X-Amz-Expires"], "3600");
        assert_eq!(parameters["X-Amz-SignedHeaders"], "host");
        assert_eq!(parameters["X-Amz-Signature"].len(), 64);
        assert_eq!(parameters.len(), 6, "{way}: {link}");
        let fetched = reqwest::get(&link).await.unwrap();
        assert_eq!(fetched.status(), 200, "{way}: {link}");
        assert_eq!(fetched.text().await.unwrap(), "a recording", "{way}");
    }

    // What is stored, and taken along, is the location.
    let stored = format!(
        "select count(*) from chat_messages where audio_files @> '[{{\"file_path\": \"{}\"}}]'",
        recording.location
    );
    assert_eq!(api.number(&stored).await, 2, "in the session and its copy");
    let request = format!("?session_id={session_id}");
    let exported = api.export(&request).await.body.to_string();
    assert!(exported.contains(&recording.location), "{exported}");
    assert!(!exported.contains("X-Amz"), "{exported}");
    let complained = complaints.text();
    assert!(complained.contains("/chat/history"), "{complained}");
    for secret in ["X-Amz", "a b.mp3", "a%20b.mp3"] {
        assert!(!complained.contains(secret), "{complained}");
    }
}

#[tokio::test]
async fn a_recording_that_is_just_being_recommended_has_its_link() {
    let call = || {
        Reply::Call(
            "search_audio_resources",
            json!({ "query": "falling asleep" }),
        )
    };
    let says = || Reply::Text("Try this one.".into());
    let model = ModelServer::start(vec![call(), says(), call(), says()]).await;
    let bucket = aws::create_bucket().await;
    aws::put_object(&bucket, "sleep.mp3", "a recording").await;
    let mut settings = aws::settings().to_vec();
    settings.extend(model.settings());
    settings.push(("AUDIO_BUCKETS", &bucket));
    let (api, _) = TestApi::in_a_process(&settings).await;
    let recording = Recording::new(format!("s3://{bucket}/sleep.mp3"));
    let recording = recording.add(&api).await;
    recordings::put(&api.database, &recordings::three()[1..]).await;

    let question = json!({ "query": "I cannot sleep" });
    for answer in [
        api.chat(question.clone()).await,
        api.streamed_turn(question).await,
    ] {
        let recommended = &answer.body["audio_files"][0];
        let id = json!(recording.audio_id);
        assert_eq!(recommended["audio_id"], id, "{}", answer.body);
        let link = recommended["file_path"].as_str().unwrap();
        let fetched = reqwest::get(link).await.unwrap().text().await;
        assert_eq!(fetched.unwrap(), "a recording", "{link}");
        let told = answer.body["function_calls"].to_string();
        assert!(!told.contains("X-Amz"), "{told}");
    }
    for request in model.requests() {
        assert!(!request.to_string().contains(&bucket), "{request}");
    }
}

#[tokio::test]
async fn nobody_gets_a_link_by_naming_an_object() {
    let mut settings = aws::settings().to_vec();
    settings.push(("AUDIO_BUCKETS", "recordings,more.recordings=eu-west-1"));
    let (api, complaints) = TestApi::in_a_process(&settings).await;
    let listed = Recording::new("s3://recordings/sleep.mp3").add(&api).await;
    let elsewhere = Recording::new("s3://elsewhere/sleep.mp3").add(&api).await;
    let on_the_web = Recording::new("https://example.com/a.mp3").add(&api).await;
    let inactive = Recording::new("s3://more.recordings/a.mp3").add(&api).await;
    api.sql(&format!(
        "update audio_resources set is_active = false where audio_id = '{}'",
        inactive.audio_id
    ))
    .await;
    let changed = |member: &str, value: Value| {
        let mut recommended = listed.recommended();
        recommended[member] = value;
        recommended
    };

    // What a user sent is the user's, even if it is what the catalogue has.
    let session_id = Uuid::now_v7();
    let sent = json!([listed.recommended(), inactive.recommended()]);
    let question = json!({ "query": "Hi", "session_id": session_id, "audio_files": sent });
    assert_eq!(api.chat(question).await.status, 200);
    assert_eq!(history(&api, session_id).await[0], sent);
    let loaded = audio_files(&api.load(session_id).await.body);
    assert_eq!(loaded[0], sent);

    // So is what the assistant said, unless it is what the catalogue has under this id.
    let untouched = [
        changed("audio_id", json!(Uuid::now_v7())),
        changed("audio_id", json!("sleep")),
        changed("audio_id", Value::Null),
        changed("file_path", json!("s3://recordings/secret.mp3")),
        changed("file_path", json!(inactive.location)),
        changed("file_path", json!("s3://recordings/")),
        changed("file_path", json!(["s3://recordings/sleep.mp3"])),
        on_the_web.recommended(),
        elsewhere.recommended(),
    ];
    for stored in &untouched {
        recommend(&api, session_id, &json!([stored])).await;
        let read = history(&api, session_id).await;
        assert_eq!(read[1], json!([stored]));
    }
    // Beside those, the others have theirs.
    let mut mixed = untouched.to_vec();
    mixed.insert(3, listed.recommended());
    mixed.push(inactive.recommended());
    recommend(&api, session_id, &json!(mixed)).await;
    let read = history(&api, session_id).await.remove(1);
    for (place, stored) in mixed.iter().enumerate() {
        if place == 3 || place == mixed.len() - 1 {
            let link = link_in(&read[place], stored);
            assert!(link.starts_with("http://127.0.0.1:"), "{link}");
            let region = if place == 3 {
                "eu-central-1"
            } else {
                "eu-west-1"
            };
            let credential = parameters(&link).remove("X-Amz-Credential").unwrap();
            assert!(credential.contains(region), "{credential}");
        } else {
            assert_eq!(&read[place], stored);
        }
    }

    // One line for each history with a location that leads to no object in a listed bucket.
    let complained = complaints.text();
    let warnings: Vec<&str> = complained.lines().collect();
    assert_eq!(warnings.len(), 3, "{complained}");
    for warning in warnings {
        assert!(warning.contains("without links"), "{warning}");
        assert!(warning.contains("AUDIO_BUCKETS"), "{warning}");
        assert!(!warning.contains("sleep"), "{warning}");
    }
}

#[tokio::test]
async fn a_link_ends_with_the_credentials_of_the_role() {
    let container = Router::new().route(
        "/credentials",
        get(async || {
            let expiry = SystemTime::now() + Duration::from_secs(600);
            Json(json!({
                "AccessKeyId": "ASIAEXAMPLE",
                "SecretAccessKey": "an example's key",
                "Token": "a token",
                "Expiration": Timestamp(expiry.into()),
            }))
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/credentials", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, container).await });
    let settings = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str()),
        ("AUDIO_BUCKETS", "recordings=eu-west-1"),
        ("AUDIO_LINK_SECONDS", "604800"),
    ];
    let (api, _) = TestApi::in_a_process(&settings).await;
    let recording = Recording::new("s3://recordings/sleep.mp3").add(&api).await;
    let session_id = api.session(&["Hi"]).await;
    recommend(&api, session_id, &json!([recording.recommended()])).await;

    let read = history(&api, session_id).await.remove(1);

    let link = link_in(&read[0], &recording.recommended());
    let address = "https://recordings.s3.eu-west-1.amazonaws.com/sleep.mp3?";
    assert!(link.starts_with(address), "{link}");
    let parameters = parameters(&link);
    assert_eq!(parameters["X-Amz-Security-Token"], "a token");
    let seconds: u64 = parameters["X-Amz-Expires"].parse().unwrap();
    assert!((500..=600).contains(&seconds), "{link}");
}

#[tokio::test]
async fn without_credentials_an_answer_has_the_location_and_the_log_says_why() {
    let settings = [
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AUDIO_BUCKETS", "recordings=eu-west-1"),
    ];
    let (api, complaints) = TestApi::in_a_process(&settings).await;
    let recording = Recording::new("s3://recordings/sleep.mp3").add(&api).await;
    let session_id = api.session(&["Hi"]).await;
    let stored = json!([recording.recommended(), recording.recommended()]);
    recommend(&api, session_id, &stored).await;

    for _ in 0..3 {
        let read = history(&api, session_id).await.remove(1);
        assert_eq!(read, stored);
    }

    let complained = complaints.text();
    assert_eq!(complained.lines().count(), 3, "{complained}");
    for line in complained.lines() {
        assert!(line.contains("WARN"), "{line}");
        assert!(line.contains("credentials"), "{line}");
        assert!(!line.contains("sleep"), "{line}");
    }
}

#[tokio::test]
async fn a_credential_service_that_is_silent_delays_a_history_by_seconds_and_only_the_first() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", silent.local_addr().unwrap());
    let settings = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str()),
        ("AUDIO_BUCKETS", "recordings=eu-west-1"),
    ];
    let (api, _) = TestApi::in_a_process(&settings).await;
    let recording = Recording::new("s3://recordings/sleep.mp3").add(&api).await;
    let session_id = api.session(&["Hi"]).await;
    let stored = json!([recording.recommended()]);
    recommend(&api, session_id, &stored).await;

    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(history(&api, session_id).await[1], stored);
    }
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_page_with_links_is_no_larger_than_lambda_carries() {
    const MESSAGES: usize = 800;
    let token = "a-token".repeat(120);
    let mut settings = aws::settings().to_vec();
    settings.extend([
        ("AUDIO_BUCKETS", "recordings"),
        ("AWS_SESSION_TOKEN", &token),
    ]);
    let (api, _) = TestApi::in_a_process(&settings).await;
    let recording = Recording::new("s3://recordings/sleep.mp3").add(&api).await;
    let session_id = api.long_session(MESSAGES, 10).await;
    // More than have a link.
    let stored = json!(vec![recording.recommended(); 30]);
    recommend(&api, session_id, &stored).await;

    for order in ["asc", "desc"] {
        let (mut messages, mut pages, mut place) = (0, 0, String::new());
        loop {
            let page = api
                .history(session_id, &format!("?order={order}{place}"))
                .await;
            assert_eq!(page.status, 200);
            let size = page.body.to_string().len();
            assert!(size <= PAGE_BYTES, "{size}");
            let on_page = audio_files(&page.body);
            for audio_files in on_page.iter().filter(|it| !it.is_null()) {
                let is_link = |it: &&Value| it["file_path"].as_str().unwrap().starts_with("http");
                let items = audio_files.as_array().unwrap();
                assert_eq!(items.len(), 30);
                assert_eq!(items.iter().filter(is_link).count(), 20);
            }
            messages += on_page.len();
            pages += 1;
            let Some(cursor) = page.body["next_cursor"].as_str() else {
                break;
            };
            let from = if order == "asc" { "after" } else { "before" };
            place = format!("&{from}={cursor}");
        }
        assert_eq!(messages, MESSAGES, "each message once");
        assert!(pages > 1, "there is more than a page");
    }
}

#[tokio::test]
async fn without_buckets_nothing_is_looked_up() {
    let (api, complaints) = TestApi::in_a_process(&[("RUST_LOG", "info")]).await;
    let recording = Recording::new("s3://recordings/sleep.mp3").add(&api).await;
    let session_id = api.session(&["Hi"]).await;
    recommend(&api, session_id, &json!([recording.recommended()])).await;

    let read = history(&api, session_id).await.remove(1);

    assert_eq!(read, json!([recording.recommended()]));
    let complained = complaints.text();
    let line = complained.lines().last().unwrap();
    assert!(line.contains("/chat/history"), "{line}");
    assert!(line.contains("round_trips=1"), "{line}");
    assert!(!complained.contains("without links"), "{complained}");
}
