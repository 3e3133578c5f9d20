//! The process is killed at various moments of a turn: the stored data stays consistent, and the
//! repeated call results in one question and one answer.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use uuid::Uuid;

use support::TestApi;
use support::api::Answer;
use support::local_run::LocalRun;
use support::model_server::{ModelServer, Reply};
use support::postgres;

/// How often the process is killed.
const KILLS: u64 = 100;

/// How many processes run concurrently.
const LANES: u64 = 4;

/// The latest moment of the kill after the request was sent, in milliseconds. A turn takes about that
/// long, so some processes die before it began and some after it ended.
const LATEST_MS: u64 = 200;

#[tokio::test]
async fn a_process_killed_a_hundred_times_in_the_middle_of_turns_loses_nothing() {
    let database = postgres::migrated_database().await;
    let url = postgres::app_url(&database);
    let model = ModelServer::start([Reply::Late(Duration::from_millis(20), "done".into())]).await;
    let api = TestApi::on(database, &url, &model.settings()).await;

    let lanes = (0..LANES).map(|lane| lane_of_kills(lane, &url, &model, &api));
    let states: Vec<usize> = futures_util::future::join_all(lanes)
        .await
        .into_iter()
        .flatten()
        .collect();

    assert_eq!(states.len(), usize::try_from(KILLS).unwrap());
    // The moments were spread over the turn: some questions were stored but not answered.
    assert!(
        states.contains(&1),
        "no turn was killed in the middle: {states:?}"
    );
    assert!(
        states.iter().any(|stored| *stored != 1),
        "all turns were: {states:?}"
    );
}

/// Kills a process again and again; returns the number of stored messages after each kill.
async fn lane_of_kills(lane: u64, url: &str, model: &ModelServer, api: &TestApi) -> Vec<usize> {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = model.settings().to_vec();
    settings.push(("DATABASE_URL", url));
    let client = reqwest::Client::new();
    let mut states = Vec::new();
    for kill in 0..KILLS / LANES {
        let local = LocalRun::start(folder.path(), &settings).await;
        let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
        let body = json!({ "query": "Hi", "session_id": session_id, "message_id": message_id });
        let (address, request) = (format!("{}/chat", local.address), body.clone());
        let client = client.clone();
        let turn = tokio::spawn(async move {
            let request = client.post(address).json(&request);
            Some(Answer::over_http(request).await.ok()?.body)
        });
        // Evenly spread, and different in each lane.
        let moment = (kill * LANES + lane) * LATEST_MS / KILLS;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        local.signal(Signal::KILL);
        local.ended().await;
        let answered = turn.await.unwrap();

        // The lease of a dead process expires by itself; here it is ended early to save time.
        api.sql(&format!(
            "update chat_sessions set lease_until = least(lease_until, clock_timestamp())
             where session_id = '{session_id}' and lease_until is not null"
        ))
        .await;
        api.verify().await;
        let history = api.history(session_id, "").await;
        let stored = if history.status == 200 {
            history.said().len()
        } else {
            0
        };
        states.push(stored);
        if answered.is_some_and(|answer| answer["response"].is_string()) {
            assert_eq!(stored, 2, "an answered turn is stored");
        }

        let repeated = api.chat(body).await;
        assert_eq!(repeated.status, 200, "{}", repeated.body);
        let said = api.history(session_id, "").await.said();
        assert_eq!(
            said,
            [
                ("user".into(), "Hi".into()),
                ("assistant".into(), "done".into())
            ],
            "killed after {moment} ms, with {stored} messages stored"
        );
        api.verify().await;
    }
    states
}
