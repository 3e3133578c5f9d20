//! The log line of a request: what was asked, how it ended and what it cost; never what was said.

use serde::Serialize;
use uuid::Uuid;

/// The fields of a line.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) route: &'static str,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    pub(crate) duration_ms: u64,
    /// Of a streamed answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_token_ms: Option<u64>,
    /// Of a turn: how many earlier messages its model was shown, and how many it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context_messages: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context_left_out: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<Uuid>,
    pub(crate) round_trips: u64,
    pub(crate) cold_start: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) causes: Option<String>,
}

impl Line<'_> {
    /// Whether the fault is ours or a dependency's.
    pub(crate) fn is_failure(&self) -> bool {
        self.status >= 500
    }

    /// The outcome, in one word.
    pub(crate) fn message(&self) -> &'static str {
        match self.code {
            None => "answered",
            Some(_) if self.is_failure() => "failed",
            Some(_) => "refused",
        }
    }

    /// Writes it to the log, for people to read.
    pub(crate) fn log(&self) {
        let session_id = self.session_id.map(|id| id.to_string());
        // tracing fixes an event's level at compile time, so there are two call sites.
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    request_id = self.request_id,
                    route = self.route,
                    method = self.method,
                    status = self.status,
                    code = self.code,
                    duration_ms = self.duration_ms,
                    first_token_ms = self.first_token_ms,
                    context_messages = self.context_messages,
                    context_left_out = self.context_left_out,
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
