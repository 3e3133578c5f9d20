//! The connection to PostgreSQL fails at every message of a turn, in every way. In each case all
//! sessions stay consistent, and the repeated call results in one question and one answer.

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use support::TestApi;
use support::log::Log;
use support::model_server::{ModelServer, Reply};
use support::proxy::{Fault, Proxy};

/// The longest a turn may take with one fault in it: one statement given up and repeated.
const BOUND: Duration = Duration::from_secs(20);

/// More messages than a turn has.
const TOO_MANY: usize = 60;

/// An API behind a proxy, with a model that answers or fails on command.
struct Bench {
    api: TestApi,
    proxy: Proxy,
    model: ModelServer,
    log: Log,
}

impl Bench {
    async fn start(log: &Log) -> Self {
        let model = ModelServer::start([Reply::Echo]).await;
        let (api, proxy) = TestApi::behind_proxy(&model.settings()).await;
        Self {
            api,
            proxy,
            model,
            log: log.clone(),
        }
    }

    /// A turn with a fault after this many messages. Returns whether the turn was long enough for it.
    async fn turn(&self, messages: usize, fault: Fault, model_fails: bool) -> bool {
        let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
        let body = json!({ "query": "Hi", "session_id": session_id, "message_id": message_id });
        self.api.service_status().await;
        let asked_before = self.model.requests().len();
        self.model.fail(model_fails);
        self.proxy.fail_after(messages, fault);
        let started = Instant::now();

        let first = self.api.chat(body.clone()).await;

        let what = format!("{fault:?} after {messages} messages, model fails: {model_fails}");
        assert!(started.elapsed() < BOUND, "{what}: {:?}", started.elapsed());
        let happened = !self.proxy.disarm();
        self.api.verify().await;
        if model_fails {
            first.assert_problem(502, "model_error");
        } else {
            assert_eq!(
                first.status,
                200,
                "{what}: a single fault goes unnoticed: {}, {}",
                first.body,
                self.log.text()
            );
        }

        self.model.fail(false);
        let repeated = self.api.chat(body).await;
        assert_eq!(repeated.status, 200, "{what}: {}", repeated.body);
        let said = self.api.history(session_id, "").await.said();
        assert_eq!(
            said,
            [
                ("user".into(), "Hi".into()),
                ("assistant".into(), "answer to Hi".into())
            ],
            "{what}"
        );
        let asked = self.model.requests().len() - asked_before;
        assert_eq!(
            asked,
            if model_fails { 2 } else { 1 },
            "{what}: the model is not asked needlessly"
        );
        self.api.verify().await;
        happened
    }
}

/// A turn for every position, until a turn ends before its fault; returns the number of positions. They
/// are distributed among this many concurrent lanes.
async fn every_position(fault: Fault, model_fails: bool, lanes: usize) -> usize {
    let (log, _guard) = Log::capture("info");
    let lane = async |lane: usize| {
        let bench = Bench::start(&log).await;
        let mut position = lane;
        while bench.turn(position, fault, model_fails).await {
            position += lanes;
            assert!(position < TOO_MANY, "a turn does not end");
        }
        (position - lane) / lanes
    };
    futures_util::future::join_all((0..lanes).map(lane))
        .await
        .into_iter()
        .sum()
}

/// A statement sends Parse, Bind, Describe, Execute, Sync and receives at least ParseComplete,
/// BindComplete, RowDescription, CommandComplete, ReadyForQuery; a turn has two statements.
const MESSAGES_OF_A_TURN: usize = 20;

#[tokio::test]
async fn a_connection_cut_at_any_message_of_a_turn_harms_nothing() {
    assert!(every_position(Fault::Cut, false, 1).await >= MESSAGES_OF_A_TURN);
}

#[tokio::test]
async fn a_message_truncated_anywhere_in_a_turn_harms_nothing() {
    assert!(every_position(Fault::Truncate, false, 1).await >= MESSAGES_OF_A_TURN);
}

#[tokio::test]
async fn a_connection_stalled_at_any_message_of_a_turn_harms_nothing() {
    assert!(every_position(Fault::Stall, false, 6).await >= MESSAGES_OF_A_TURN);
}

#[tokio::test]
async fn a_connection_cut_at_any_message_of_a_turn_whose_model_fails_harms_nothing() {
    assert!(every_position(Fault::Cut, true, 1).await >= MESSAGES_OF_A_TURN);
}
