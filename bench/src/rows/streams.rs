//! Many answers that are streamed by the local server at once, beside the same answers read from the model.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Stage;
use crate::database::TODAY;
use crate::load::{Call, Caller, QUERY, Server};
use crate::model::Model;
use crate::progress;
use crate::report::{Report, Wanted};
use crate::sample::Sample;

/// How much later than the model sent it a token may arrive, in milliseconds, compared with reading the model.
const WANTED_DELAY: Wanted = Wanted::AboveFloorAtMost(50.0);

/// The most memory that the server may use, in MB.
const WANTED_MEMORY: Wanted = Wanted::AtMost(200.0);

/// Statements for each stream and second.
const WANTED_STATEMENTS: Wanted = Wanted::AtMost(1.25);

/// The time after which the server has counted what ran.
const COUNTED_AFTER: Duration = Duration::from_secs(2);

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) {
    let (count, time) = (stage.effort.streams, stage.effort.stream_time);
    let model = Model::start(time).await;
    let settings = [
        ("MODEL", "bench"),
        ("MODEL_BASE_URL", model.base_url.as_str()),
    ];
    let local = Server::with(&stage.database, &settings).await;

    progress::step(format!("{count} answers of a model, {} s", time.as_secs()));
    let host = model.base_url.trim_start_matches("http://");
    let host = host.trim_end_matches("/v1");
    let body = json!({ "model": "bench", "stream": true, "messages": [] });
    let call = Call::new("POST", "/v1/chat/completions".into(), Some(body));
    let readers = (0..count).map(|_| read(&model, Caller::to(host), call.clone(), of_model));
    let floor = joined(readers).await;

    progress::step(format!("{count} streams, {} s", time.as_secs()));
    let statements = "select xact_commit from pg_stat_database where datname = current_database()";
    let before = stage.database.number(TODAY, statements).await;
    let started = Instant::now();
    let readers = (0..count).map(|_| {
        let body = json!({ "query": QUERY, "session_id": Uuid::now_v7() });
        let call = Call::new("POST", "/chat/stream".into(), Some(body));
        read(&model, local.caller(), call, of_delta)
    });
    let measured = joined(readers).await;
    let seconds = started.elapsed().as_secs_f64();
    tokio::time::sleep(COUNTED_AFTER).await;
    let ran = stage.database.number(TODAY, statements).await - before;

    let streams = format!("{count} streams");
    for (name, percent) in [("median", 50), ("p99", 99)] {
        report.add(
            format!("{streams}, delay of a token, {name}"),
            measured.percentile_ms(percent),
            "ms",
            Some(floor.percentile_ms(percent)),
            (percent == 99).then_some(WANTED_DELAY),
        );
    }
    report.add(
        format!("{streams}, peak memory"),
        local.peak_memory_mb(),
        "MB",
        None,
        Some(WANTED_MEMORY),
    );
    report.add(
        format!("{streams}, statements for each and second"),
        ran / seconds / count as f64,
        "per s",
        None,
        Some(WANTED_STATEMENTS),
    );
}

/// The ages of all tokens that some readers got.
async fn joined(readers: impl Iterator<Item = impl Future<Output = Sample>>) -> Sample {
    let mut all = Sample::default();
    join_all(readers)
        .await
        .into_iter()
        .for_each(|read| all.append(read));
    all
}

/// Reads a stream to its end, and how old each token was when it came.
async fn read(
    model: &Model,
    caller: impl Future<Output = Caller>,
    call: Call,
    text_of: fn(&Value) -> Option<&str>,
) -> Sample {
    let mut body: Incoming = caller.await.begin(&call).await;
    let mut sample = Sample::default();
    let mut arrived = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.unwrap().into_data() else {
            continue;
        };
        arrived.extend_from_slice(&data);
        while let Some(end) = arrived.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = arrived.drain(..end + 2).collect();
            let event = String::from_utf8(event).unwrap();
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            let data: Value = serde_json::from_str(data.unwrap_or("null")).unwrap_or_default();
            let text = text_of(&data).unwrap_or_default();
            model.ages(text).into_iter().for_each(|age| sample.add(age));
        }
    }
    sample
}

fn of_model(chunk: &Value) -> Option<&str> {
    chunk["choices"][0]["delta"]["content"].as_str()
}

/// The text of a `delta`; no other event has a `text`.
fn of_delta(data: &Value) -> Option<&str> {
    data["text"].as_str()
}
