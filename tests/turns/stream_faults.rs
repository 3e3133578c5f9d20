//! Streams that are hit in the middle: whatever breaks, a reader that does what docs/api.md says ends with
//! exactly the text that the history holds, and a repeated turn is one question and one answer.
//!
//! `STREAM_FAULTS` says how often each fault strikes, at moments spread over an answer; by default a few times.
//! `STREAM_FAULTS=100 cargo test --package tests -- turns::stream_faults` is the full run.

use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use support::TestApi;
use support::local_run::LocalRun;
use support::model_server::{ModelServer, Reply};
use support::model_stream::{Part, done, stop, text};
use support::postgres;
use support::stream::{Read, Source, Stream};

/// How often each fault strikes by default.
const FEW: u64 = 8;

/// How many turns are hit concurrently.
const LANES: u64 = 4;

/// The latest moment after the request was sent, in milliseconds: the answer takes about a second.
const LATEST_MS: u64 = 1_300;

/// So that a dead function is noticed soon.
const SETTINGS: [(&str, &str); 1] = [("STREAM_DEAD_AFTER_SECONDS", "2")];

/// How long a reader tries before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The numbers of the faults of each lane.
fn lanes() -> Vec<Vec<u64>> {
    let faults = std::env::var("STREAM_FAULTS").map_or(FEW, |faults| faults.parse().unwrap());
    let of_lane = |lane| (0..faults).filter(move |fault| fault % LANES == lane);
    (0..LANES).map(|lane| of_lane(lane).collect()).collect()
}

/// The moment of a fault: all of them are spread evenly over an answer.
fn moment(fault: u64) -> Duration {
    // By the golden ratio, so that few are spread as evenly as many.
    let part = (fault * 618) % 1000;
    Duration::from_millis(part * LATEST_MS / 1000)
}

/// A question that is asked as often as it takes, and what its reader has.
struct Asked {
    session_id: Uuid,
    message_id: Uuid,
    query: String,
    /// What was said in the session before.
    earlier: usize,
    read: Read,
}

impl Asked {
    fn new() -> Self {
        Self {
            session_id: Uuid::now_v7(),
            message_id: Uuid::now_v7(),
            query: "What helps against stress?".into(),
            earlier: 0,
            read: Read::default(),
        }
    }

    /// One whose answer takes twice as long, because an earlier question is quoted in it.
    async fn long(api: &TestApi) -> Self {
        let query = "a ".repeat(40);
        Self {
            session_id: api.session(&[&query]).await,
            query,
            earlier: 2,
            ..Self::new()
        }
    }

    fn body(&self) -> Value {
        json!({
            "query": self.query,
            "session_id": self.session_id, "message_id": self.message_id,
        })
    }

    /// Reads until the stream ends, or for this long.
    async fn read_for(&mut self, stream: Stream, time: Duration) {
        let _ = timeout(time, self.read.follow(stream)).await;
    }

    /// Does what docs/api.md says until the answer is there.
    async fn read_to_the_end(&mut self, api: &TestApi) {
        timeout(PATIENCE, async {
            loop {
                let stream = match &self.read.end {
                    Some((name, _)) if name == "done" => return,
                    Some(_) => self.repeat(api).await,
                    None => self.resume(api).await,
                };
                match stream.status {
                    200 => self.read.follow(stream).await,
                    _ => sleep(Duration::from_millis(200)).await,
                }
            }
        })
        .await
        .expect("the reader gets an answer");
    }

    async fn resume(&mut self, api: &TestApi) -> Stream {
        let query = format!("?message_id={}", self.message_id);
        let last_id = self.read.last_id.as_deref();
        let stream = api.resume(self.session_id, &query, last_id).await;
        match stream.status {
            // The question never arrived.
            404 => self.repeat(api).await,
            _ => stream,
        }
    }

    /// A repeated turn is answered anew.
    async fn repeat(&mut self, api: &TestApi) -> Stream {
        let stream = api.stream(self.body()).await;
        if stream.status == 200 {
            self.read = Read::default();
        }
        stream
    }

    /// Asserts that the answer is stored as it was read, once.
    async fn check(&self, api: &TestApi, how: &str) {
        let response = &self.read.done()["response"];
        assert_eq!(response, self.read.text.as_str(), "{how}");
        let mut said = api.history(self.session_id, "").await.said();
        let expected = [
            ("user".to_owned(), self.query.clone()),
            ("assistant".to_owned(), self.read.text.clone()),
        ];
        assert_eq!(said.split_off(self.earlier), expected, "{how}");
        let left = format!(
            "select count(*) from chat_streams where session_id = '{}'",
            self.session_id
        );
        assert_eq!(api.number(&left).await, 0, "{how}");
    }
}

#[tokio::test]
async fn a_function_that_is_killed_in_the_middle() {
    let database = postgres::migrated_database().await;
    let url = postgres::app_url(&database);
    let api = TestApi::on(database, &url, &SETTINGS).await;
    let lane = async |faults: Vec<u64>| {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = SETTINGS.to_vec();
        settings.push(("DATABASE_URL", &url));
        for fault in faults {
            let local = LocalRun::start(folder.path(), &settings).await;
            let mut asked = Asked::new();
            let request = reqwest::Client::new().post(format!("{}/chat/stream", local.address));
            let response = request.json(&asked.body()).send();
            let reading = async {
                if let Ok(response) = response.await {
                    let (status, headers) =
                        (response.status().as_u16(), response.headers().clone());
                    let stream = Stream::new(status, headers, Source::There(response));
                    asked.read.follow(stream).await;
                }
            };
            let killing = async {
                sleep(moment(fault)).await;
                local.signal(Signal::KILL);
                local.ended().await;
            };
            tokio::join!(reading, killing);
            asked.read_to_the_end(&api).await;
            asked
                .check(&api, &format!("killed after {:?}", moment(fault)))
                .await;
        }
    };
    join_all(lanes().into_iter().map(lane)).await;
    api.verify().await;
}

#[tokio::test]
async fn a_turn_that_is_cut_from_the_database() {
    let lane = async |faults: Vec<u64>| {
        // Cutting it off concerns no other lane.
        let api = TestApi::with_settings(&SETTINGS).await;
        for fault in faults {
            let mut asked = Asked::new();
            let cutting = async {
                sleep(moment(fault)).await;
                api.cut_connections().await;
            };
            let asking = async {
                let stream = api.stream(asked.body()).await;
                if stream.status == 200 {
                    asked.read.follow(stream).await;
                }
                asked.read_to_the_end(&api).await;
            };
            tokio::join!(asking, cutting);
            asked
                .check(&api, &format!("cut after {:?}", moment(fault)))
                .await;
        }
        api.verify().await;
    };
    join_all(lanes().into_iter().map(lane)).await;
}

/// An answer of 40 words that the provider breaks off before this one, if there is one.
fn answer(broken_off: Option<(usize, Part)>) -> Reply {
    let (words, end) = match broken_off {
        Some((word, how)) => (word, vec![how]),
        None => (40, vec![stop("stop"), done()]),
    };
    let words = (0..words).flat_map(|word| {
        let wait = Part::Wait(Duration::from_millis(20));
        [text(&format!("word {word} ")), wait]
    });
    Reply::Stream("text/event-stream", words.chain(end).collect())
}

#[tokio::test]
async fn a_model_that_breaks_off() {
    let lane = async |faults: Vec<u64>| {
        let broken = faults.iter().flat_map(|fault| {
            let word = usize::try_from((fault * 618) % 41).unwrap();
            // Broken, ended as if that were all, or silent.
            let how = match fault % 3 {
                0 => Part::Reset,
                1 => Part::Wait(Duration::ZERO),
                _ => Part::Stall,
            };
            [answer(Some((word, how))), answer(None)]
        });
        let model = ModelServer::start(broken.collect::<Vec<_>>()).await;
        let mut settings = SETTINGS.to_vec();
        settings.extend(model.settings());
        settings.push(("MODEL_TIMEOUT_SECONDS", "1"));
        let api = TestApi::with_settings(&settings).await;
        for fault in faults {
            let mut asked = Asked::new();
            asked.read_to_the_end(&api).await;
            let words: String = (0..40).map(|word| format!("word {word} ")).collect();
            assert_eq!(asked.read.text, words, "fault {fault}");
            asked.check(&api, &format!("fault {fault}")).await;
        }
        // Each question was asked twice.
        assert_eq!(model.requests().len() % 2, 0);
        api.verify().await;
    };
    join_all(lanes().into_iter().map(lane)).await;
}

#[tokio::test]
async fn a_turn_whose_model_is_silent_is_alive_and_can_be_stopped() {
    for said in [vec![], vec![text("One "), text("two ")]] {
        let parts = [said.clone(), vec![Part::Stall]].concat();
        let model = ModelServer::start([Reply::Stream("text/event-stream", parts)]).await;
        let mut settings = SETTINGS.to_vec();
        settings.extend(model.settings());
        let api = TestApi::with_settings(&settings).await;
        let mut asked = Asked::new();
        let stream = api.stream(asked.body()).await;
        // Longer than a dead function is waited for.
        asked.read_for(stream, Duration::from_millis(3_500)).await;
        assert_eq!(asked.read.end, None);
        let other = json!({ "query": "Hi", "session_id": asked.session_id });
        let refused = api.chat(other).await;
        refused.assert_problem(409, "session_busy");

        let stopped = api.stop(asked.session_id, "").await;
        assert_eq!(stopped.body["stopping"], true);
        let stopping = Instant::now();
        asked.read_to_the_end(&api).await;
        assert!(stopping.elapsed() < Duration::from_secs(3), "{stopping:?}");
        assert_eq!(asked.read.done()["finish_reason"], "stopped");
        let expected = if said.is_empty() { "" } else { "One two " };
        assert_eq!(asked.read.text, expected);
        asked.check(&api, "stopped").await;
        // The provider's connection is closed.
        timeout(PATIENCE, model.streamed())
            .await
            .expect("nobody reads on");
        api.verify().await;
    }
}

#[tokio::test]
async fn a_stream_that_is_left_by_its_reader() {
    let api = TestApi::with_settings(&SETTINGS).await;
    let lane = async |faults: Vec<u64>| {
        for fault in faults {
            let mut asked = Asked::new();
            let stream = api.stream(asked.body()).await;
            asked.read_for(stream, moment(fault)).await;
            // Every other one comes back a while later.
            if fault % 2 == 0 {
                sleep(moment(fault + 1)).await;
            }
            asked.read_to_the_end(&api).await;
            asked
                .check(&api, &format!("left after {:?}", moment(fault)))
                .await;
        }
    };
    join_all(lanes().into_iter().map(lane)).await;
    api.verify().await;
}

#[tokio::test]
async fn a_database_that_forgets_the_texts_in_the_making() {
    let api = TestApi::with_settings(&SETTINGS).await;
    let lane = async |faults: Vec<u64>| {
        for fault in faults {
            let mut asked = Asked::long(&api).await;
            let stream = api.stream(asked.body()).await;
            asked.read_for(stream, moment(fault)).await;
            // As after a crash of the server, whose sessions it keeps.
            let session_id = asked.session_id;
            let forget = format!("delete from chat_streams where session_id = '{session_id}'");
            api.sql(&forget).await;
            // The function has made its row again by then.
            sleep(Duration::from_millis(1_100)).await;
            asked.read_to_the_end(&api).await;
            asked
                .check(&api, &format!("forgotten after {:?}", moment(fault)))
                .await;
        }
    };
    join_all(lanes().into_iter().map(lane)).await;
    api.verify().await;
}
