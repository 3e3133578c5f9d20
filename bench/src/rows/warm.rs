//! One invocation of a function that is running, beside a function that sends the plainest statements
//! for the same rows.

use rig::lambda::{Environment, http_event};
use serde_json::{Value, json};

use super::cold_start::wanted_memory;
use super::{Stage, plain};
use crate::build::{FUNCTIONS, program};
use crate::database::TODAY;
use crate::load::Call;
use crate::progress;
use crate::report::{Report, Wanted};
use crate::sample::Sample;

/// How much longer than its floor an invocation may take.
const WANTED: f64 = 1.5;

/// How often a function is invoked before it is measured.
const WARM_UP: usize = 20;

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) {
    for name in FUNCTIONS {
        let warm = invocation(stage, name, stage.session_for(name)).await;
        let wanted = Wanted::RatioAtMost(WANTED);
        report.add(
            name,
            warm.median_ms,
            "ms",
            Some(warm.floor_ms),
            Some(wanted),
        );
        report.add(
            format!("{name}, p95"),
            warm.p95_ms,
            "ms",
            Some(warm.floor_p95_ms),
            None,
        );
        let memory = wanted_memory(name);
        report.add(
            format!("{name}, peak memory"),
            warm.peak_mb,
            "MB",
            None,
            Some(memory),
        );
    }
}

/// The invocations of one function, and of its floor.
pub struct Warm {
    /// The median, in milliseconds.
    pub median_ms: f64,
    p95_ms: f64,
    floor_ms: f64,
    floor_p95_ms: f64,
    peak_mb: f64,
}

/// Measures one function on a session.
pub async fn invocation(stage: &Stage, name: &str, session_id: &str) -> Warm {
    progress::step(format!("warm invocations of {name}"));
    let url = stage.database.url(TODAY);
    let statements = json!(plain(name, &format!("'{session_id}'::uuid"))).to_string();
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("STATEMENTS", statements.as_str()),
    ];
    let function = Environment::start(&program(name), name, &settings).await;
    let plain = Environment::start(&program("plain-statements"), "plain", &settings).await;
    let call = Call::to_function(name, session_id);
    let event = http_event(call.method, &call.uri, call.body.as_ref());

    for _ in 0..WARM_UP {
        invoke(&function, &event).await;
        invoke(&plain, &event).await;
    }
    let (mut took, mut floor) = (Sample::default(), Sample::default());
    for _ in 0..stage.effort.times {
        took.time(invoke(&function, &event)).await;
        floor.time(invoke(&plain, &event)).await;
    }
    let peak_mb = function.peak_memory_mb();
    function.end().await;
    plain.end().await;
    Warm {
        median_ms: took.median_ms(),
        p95_ms: took.percentile_ms(95),
        floor_ms: floor.median_ms(),
        floor_p95_ms: floor.percentile_ms(95),
        peak_mb,
    }
}

async fn invoke(environment: &Environment, event: &Value) {
    let answer = environment.invoke(event.clone()).await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
}
