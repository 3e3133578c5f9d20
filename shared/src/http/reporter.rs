//! One log line for each request: what was asked, how it ended and what it cost; never what was
//! said.
//!
//! On Lambda the line is also a metric document (CloudWatch embedded metric format), so metrics
//! need neither a call nor a second line.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lambda_http::http::Method;

use super::emf;
use super::line::Line;
use crate::causes::causes;
use crate::observed::{self, Observed};
use crate::problem::Problem;
use crate::settings;

/// The variable with the name that distinguishes two installations in one account.
const STACK_NAME: &str = "STACK_NAME";

/// The stack's name in metrics if none is set.
const NO_STACK: &str = "none";

/// The methods that are logged by name. Any other is text the caller chose.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Observes the requests of a process and writes their log lines.
pub struct Reporter {
    output: Output,
    /// Whether a request has been served yet.
    has_served: AtomicBool,
    /// Database work done before a request, to be counted with the next one.
    earlier: Mutex<Observed>,
}

/// Writes a line, which ends in a line feed.
type WriteLine = Box<dyn Fn(&str) + Send + Sync>;

enum Output {
    Log,
    Documents { stack: String, write: WriteLine },
}

/// A request that was answered.
pub(crate) struct Outcome<'a> {
    pub(crate) function: &'static str,
    pub(crate) route: &'static str,
    pub(crate) method: &'a Method,
    pub(crate) request_id: &'a str,
    pub(crate) duration: Duration,
    pub(crate) problem: Option<&'a Problem>,
    pub(crate) observed: Observed,
}

impl Reporter {
    /// Writes lines to the log, for people to read.
    #[must_use]
    pub fn to_log() -> Self {
        Self::new(Output::Log)
    }

    /// Writes lines that are metric documents, whatever the log level. `stack` distinguishes
    /// installations; `write` receives whole lines.
    #[must_use]
    pub fn to_cloudwatch(
        stack: Option<String>,
        write: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self::new(Output::Documents {
            stack: stack.unwrap_or_else(|| NO_STACK.to_owned()),
            write: Box::new(write),
        })
    }

    /// Writes metric documents to standard output, which Lambda sends to CloudWatch, under the name
    /// in `STACK_NAME`.
    #[must_use]
    pub fn on_lambda() -> Self {
        let stack = settings::text(|name| std::env::var(name).ok(), STACK_NAME);
        Self::to_cloudwatch(stack, |line| {
            // Written in one piece, so that lines do not interleave. There is no way to report a
            // failure.
            let _ = std::io::stdout().lock().write_all(line.as_bytes());
        })
    }

    fn new(output: Output) -> Self {
        Self {
            output,
            has_served: AtomicBool::new(false),
            earlier: Mutex::default(),
        }
    }

    /// Runs work outside any request (init, snapshot restore) and adds its database cost to the
    /// next request's line.
    pub async fn before_requests<T>(&self, work: impl Future<Output = T>) -> T {
        let (outcome, observed) = observed::of(work).await;
        self.earlier().absorb(&observed);
        outcome
    }

    /// Writes the line of a request.
    pub(crate) fn report(&self, outcome: Outcome<'_>) {
        let Outcome {
            problem,
            mut observed,
            ..
        } = outcome;
        observed.absorb(&std::mem::take(&mut self.earlier()));
        let line = Line {
            request_id: outcome.request_id,
            route: outcome.route,
            method: name_of(outcome.method),
            status: problem.map_or(200, |problem| problem.status().as_u16()),
            code: problem.map(Problem::code),
            duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
            first_token_ms: observed.first_token_ms,
            context_messages: observed.context.map(|(messages, _)| messages),
            context_left_out: observed.context.map(|(_, left_out)| left_out),
            session_id: problem
                .and_then(Problem::session_id)
                .or(observed.session_id),
            round_trips: observed.round_trips,
            cold_start: !self.has_served.swap(true, Ordering::Relaxed),
            causes: problem
                .filter(|problem| problem.is_failure())
                .map(|problem| causes(problem.root())),
        };
        match &self.output {
            Output::Log => line.log(),
            Output::Documents { stack, write } => {
                match emf::document(stack, outcome.function, &line, &observed) {
                    Ok(document) => write(&document),
                    Err(_) => line.log(),
                }
            }
        }
    }

    fn earlier(&self) -> std::sync::MutexGuard<'_, Observed> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(method: &Method) -> &'static str {
    let known = METHODS.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reporter").finish_non_exhaustive()
    }
}
