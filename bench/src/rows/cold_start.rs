//! From the start of a function's process until it asks for its first invocation, and until it has
//! answered it: with verified TLS and SCRAM, beside a function that does nothing. Also its size, and the
//! most memory it used.

use std::io::Write;
use std::time::Instant;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use rig::lambda::{Environment, http_event};

use super::Stage;
use crate::build::{FUNCTIONS, program};
use crate::database::TODAY;
use crate::load::Call;
use crate::progress;
use crate::report::{Report, Wanted};
use crate::sample::Sample;

/// How far above the floor the first poll may come, in milliseconds.
const WANTED_MS: f64 = 12.0;

/// The most memory that a function may use, in MB.
pub fn wanted_memory(function: &str) -> Wanted {
    Wanted::AtMost(if function == "chat" { 20.0 } else { 14.0 })
}

/// The largest package of a function, in MB.
fn wanted_size(function: &str) -> Wanted {
    Wanted::AtMost(if function == "chat" { 6.0 } else { 4.0 })
}

/// A program whose start is measured.
#[derive(Default)]
struct Starts {
    polls: Sample,
    answers: Sample,
    peak_mb: f64,
}

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) {
    let url = stage.database.tls_url(TODAY);
    let programs = ["do-nothing"].into_iter().chain(FUNCTIONS);
    let mut programs: Vec<_> = programs.map(|name| (name, Starts::default())).collect();
    for round in 1..=stage.effort.starts {
        progress::step(format!("cold starts, {round} of {}", stage.effort.starts));
        // In turn, so that what else the machine does meets all of them alike.
        for (name, starts) in &mut programs {
            start(name, &url, stage.session_for(name), starts).await;
        }
    }

    let mut programs = programs.into_iter();
    let (_, floor) = programs.next().unwrap();
    let floor_sizes = (!cfg!(debug_assertions)).then(|| sizes("do-nothing"));
    for (name, starts) in programs {
        for (what, sample, floor, wanted) in [
            (
                "first poll",
                &starts.polls,
                &floor.polls,
                Some(Wanted::AboveFloorAtMost(WANTED_MS)),
            ),
            ("first answer", &starts.answers, &floor.answers, None),
        ] {
            let median = (sample.median_ms(), floor.median_ms());
            let p95 = (sample.percentile_ms(95), floor.percentile_ms(95));
            report.add(
                format!("{name}, {what}"),
                median.0,
                "ms",
                Some(median.1),
                wanted,
            );
            report.add(
                format!("{name}, {what}, p95"),
                p95.0,
                "ms",
                Some(p95.1),
                None,
            );
        }
        let memory = wanted_memory(name);
        report.add(
            format!("{name}, peak memory"),
            starts.peak_mb,
            "MB",
            Some(floor.peak_mb),
            Some(memory),
        );
        // Those of debug builds say nothing, and take long to compress.
        if let Some((floor_size, floor_zipped)) = floor_sizes {
            let (size, zipped) = sizes(name);
            report.add(format!("{name}, size"), size, "MB", Some(floor_size), None);
            report.add(
                format!("{name}, size zipped"),
                zipped,
                "MB",
                Some(floor_zipped),
                Some(wanted_size(name)),
            );
        }
    }
}

async fn start(name: &str, url: &str, session_id: &str, starts: &mut Starts) {
    let started = Instant::now();
    let environment = Environment::start(&program(name), name, &[("DATABASE_URL", url)]).await;
    environment.started().await;
    starts.polls.add(started.elapsed());
    let call = match name {
        "do-nothing" => Call::status(session_id),
        name => Call::to_function(name, session_id),
    };
    let event = http_event(call.method, &call.uri, call.body.as_ref());
    let invoked = Instant::now();
    let answer = environment.invoke(event).await;
    // What passed between poll and event is ours.
    let until_poll = starts.polls.last();
    starts.answers.add(until_poll + invoked.elapsed());
    assert_eq!(answer["statusCode"], 200, "{name}: {answer}");
    starts.peak_mb = starts.peak_mb.max(environment.peak_memory_mb());
    environment.end().await;
}

/// The size of a program in MB, as it is and compressed as in a zip file.
fn sizes(name: &str) -> (f64, f64) {
    let content = std::fs::read(program(name)).unwrap();
    let mut zip = DeflateEncoder::new(Vec::new(), Compression::default());
    zip.write_all(&content).unwrap();
    let zipped = zip.finish().unwrap();
    (content.len() as f64 / 1e6, zipped.len() as f64 / 1e6)
}
