//! The metrics of turns.

use std::time::Duration;

use shared::observed::{Unit, count, measure};
use shared::problem::Problem;
use shared::store::turns::Answer;

/// A turn whose answer was stored.
pub fn stored() {
    count("Turns");
}

/// A turn that was already answered by an earlier call.
pub fn replayed() {
    count("TurnsReplayed");
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

/// The model answered; its tokens are spent, even if the answer is not stored.
pub fn answered(answer: &Answer) {
    let tokens = |count| u64::try_from(count).unwrap_or_default();
    measure("InputTokens", Unit::Count, tokens(answer.input_tokens));
    measure("OutputTokens", Unit::Count, tokens(answer.output_tokens));
}
