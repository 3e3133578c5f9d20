//! One line for each request: what was asked, what came of it and what it cost; never what was said.
//!
//! On Lambda the line is a metric document as well (CloudWatch embedded metric format), so metrics
//! cost no call and no second line.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lambda_http::http::Method;
use serde::Serialize;
use uuid::Uuid;

use crate::causes::causes;
use crate::metrics;
use crate::problem::Problem;
use crate::record::{self, Record};
use crate::route::Route;
use crate::settings;

/// The variable with the name that tells two installations in one account apart.
const STACK_NAME: &str = "STACK_NAME";

/// What stands for the installation where it has no name.
const NO_STACK: &str = "none";

/// Methods that are named in the log. Any other is a word of the caller's.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Watches the requests of a process and writes their lines.
pub struct Monitor {
    output: Output,
    /// Whether a request was seen.
    is_warm: AtomicBool,
    /// What happened before a request, until the next takes it over.
    earlier: Mutex<Record>,
}

/// Writes a line, which has its line feed.
type WriteLine = Box<dyn Fn(&str) + Send + Sync>;

enum Output {
    Log,
    Documents { stack: String, write: WriteLine },
}

/// A request that was answered.
pub(crate) struct Outcome<'a> {
    pub(crate) function: &'static str,
    pub(crate) route: &'a Route,
    pub(crate) method: &'a Method,
    pub(crate) request_id: &'a str,
    pub(crate) duration: Duration,
    pub(crate) problem: Option<&'a Problem>,
    pub(crate) record: Record,
}

/// The fields of a line.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    request_id: &'a str,
    route: &'static str,
    method: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
    round_trips: u64,
    cold_start: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    causes: Option<String>,
}

impl Monitor {
    /// Writes lines to the log, for a person.
    #[must_use]
    pub fn to_log() -> Self {
        Self::new(Output::Log)
    }

    /// Writes lines that are metric documents, whatever level is logged. `stack` tells installations
    /// apart; `write` is given whole lines.
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

    /// Writes metric documents to standard output, from where Lambda takes them, under the name in
    /// `STACK_NAME`.
    #[must_use]
    pub fn on_lambda() -> Self {
        let stack = settings::text(|name| std::env::var(name).ok(), STACK_NAME);
        Self::to_cloudwatch(stack, |line| {
            // In one piece, so that nothing gets between. There is nobody to tell of a failure.
            let _ = std::io::stdout().lock().write_all(line.as_bytes());
        })
    }

    fn new(output: Output) -> Self {
        Self {
            output,
            is_warm: AtomicBool::new(false),
            earlier: Mutex::default(),
        }
    }

    /// Does what has to be done before a request can come; what it costs is counted with the next one.
    pub async fn ahead<T>(&self, work: impl Future<Output = T>) -> T {
        let (outcome, record) = record::of(work).await;
        self.earlier().absorb(&record);
        outcome
    }

    /// Writes the line of a request.
    pub(crate) fn report(&self, outcome: Outcome<'_>) {
        let Outcome {
            problem,
            mut record,
            ..
        } = outcome;
        record.absorb(&std::mem::take(&mut self.earlier()));
        let line = Line {
            request_id: outcome.request_id,
            route: outcome.route.path,
            method: name_of(outcome.method),
            status: problem.map_or(200, |problem| problem.status().as_u16()),
            code: problem.map(Problem::code),
            duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
            session_id: problem.and_then(Problem::session_id).or(record.session_id),
            round_trips: record.round_trips,
            cold_start: !self.is_warm.swap(true, Ordering::Relaxed),
            causes: problem
                .filter(|problem| problem.status().is_server_error())
                .map(|problem| causes(problem.root())),
        };
        match &self.output {
            Output::Log => line.log(),
            Output::Documents { stack, write } => {
                match metrics::document(stack, outcome.function, &line, &record) {
                    Ok(document) => write(&document),
                    Err(_) => line.log(),
                }
            }
        }
    }

    fn earlier(&self) -> std::sync::MutexGuard<'_, Record> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line<'_> {
    /// Whether the fault is ours or of what we depend on.
    pub(crate) fn is_failure(&self) -> bool {
        self.status >= 500
    }

    /// How long the request took.
    pub(crate) fn duration_ms(&self) -> u64 {
        self.duration_ms
    }

    /// Whether no request came before.
    pub(crate) fn is_cold_start(&self) -> bool {
        self.cold_start
    }

    /// What happened, in a word.
    pub(crate) fn message(&self) -> &'static str {
        match self.code {
            None => "answered",
            Some(_) if self.is_failure() => "failed",
            Some(_) => "refused",
        }
    }

    fn log(&self) {
        let session_id = self.session_id.map(|id| id.to_string());
        // The level is a part of what is known of an event before it happens, so there are two.
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    request_id = self.request_id,
                    route = self.route,
                    method = self.method,
                    status = self.status,
                    code = self.code,
                    duration_ms = self.duration_ms,
                    session_id,
                    round_trips = self.round_trips,
                    cold_start = self.cold_start,
                    causes = self.causes,
                    "{}",
                    self.message()
                )
            };
        }
        if self.is_failure() {
            log!(error);
        } else {
            log!(info);
        }
    }
}

fn name_of(method: &Method) -> &'static str {
    let known = METHODS.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Monitor").finish_non_exhaustive()
    }
}
