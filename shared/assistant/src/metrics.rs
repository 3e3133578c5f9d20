//! The metrics of turns.

use std::time::Duration;

use shared::observed::{Unit, count, measure};
use shared::problem::Problem;
use shared::store::turns::Usage;

/// A turn whose answer was stored.
pub fn stored() {
    count("Turns");
}

/// A turn that was already answered by an earlier call.
pub fn replayed() {
    count("TurnsReplayed");
}

/// A streamed turn that its caller stopped.
pub fn stopped() {
    count("TurnsStopped");
}

/// A turn that failed: counted only if another turn is in progress, or if the model failed.
pub fn failed(problem: &Problem) {
    match problem.root() {
        Problem::SessionBusy => count("TurnsBusy"),
        Problem::ModelError(_) | Problem::ModelTimeout(_) => count("ModelErrors"),
        _ => {}
    }
}

/// The model was asked, whatever the outcome.
pub fn asked(duration: Duration) {
    let latency_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    measure("ModelLatency", Unit::Milliseconds, latency_ms);
}

/// The model answered; its tokens are spent, even if the answer is not stored. What the provider
/// did not count is not measured.
pub fn answered(usage: Usage) {
    let tokens = |name, count: Option<i64>| {
        if let Some(count) = count.and_then(|count| u64::try_from(count).ok()) {
            measure(name, Unit::Count, count);
        }
    };
    tokens("InputTokens", usage.input_tokens);
    tokens("OutputTokens", usage.output_tokens);
}
