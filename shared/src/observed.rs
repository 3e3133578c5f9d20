//! Collects what happens during a request until its log line is written.
//!
//! The data is local to the request's task, so the connection and the handlers can report without
//! being handed anything. Reports made outside a request are dropped.

use std::cell::RefCell;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

tokio::task_local! {
    static CURRENT: RefCell<Observed>;
}

/// The unit of a measurement, as CloudWatch names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// A number of events or things.
    Count,
    /// A duration.
    Milliseconds,
}

/// A value with its metric name in CloudWatch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) value: u64,
}

/// Everything observed during a request, apart from its answer.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The session it is about.
    pub(crate) session_id: Option<Uuid>,
    /// Round trips to the database, including those that were never answered.
    pub(crate) round_trips: u64,
    /// Connections opened.
    pub(crate) connects: u64,
    /// Statements sent again.
    pub(crate) repeats: u64,
    /// How long the first text of an answer took, if it is streamed.
    pub(crate) first_token_ms: Option<u64>,
    /// How many earlier messages a model was shown, and how many it was not.
    pub(crate) context: Option<(i64, i64)>,
    /// The handler's own measurements.
    pub(crate) measurements: Vec<Measurement>,
}

impl Observed {
    /// Adds the database work that was done before the request.
    pub(crate) fn absorb(&mut self, earlier: &Self) {
        self.round_trips += earlier.round_trips;
        self.connects += earlier.connects;
        self.repeats += earlier.repeats;
    }

    /// Both parts of a request as one.
    pub(crate) fn and(mut self, later: Self) -> Self {
        self.absorb(&later);
        self.session_id = later.session_id.or(self.session_id);
        self.first_token_ms = later.first_token_ms.or(self.first_token_ms);
        self.context = later.context.or(self.context);
        self.measurements.extend(later.measurements);
        self
    }
}

/// Sets how long the first text of an answer took.
pub fn first_token(after: Duration) {
    let milliseconds = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    tell(|record| record.first_token_ms = Some(milliseconds));
    measure("FirstToken", Unit::Milliseconds, milliseconds);
}

/// Sets how many earlier messages a model was shown, and how many it was not.
pub fn context(messages: i64, left_out: i64) {
    tell(|record| record.context = Some((messages, left_out)));
}

/// Sets the session that the request is about; the last call wins.
pub fn session(session_id: Uuid) {
    tell(|record| record.session_id = Some(session_id));
}

/// Adds one of the handler's own measurements. Use a name at most once per request: CloudWatch
/// accepts only one value for it.
pub fn measure(name: &'static str, unit: Unit, value: u64) {
    tell(|record| record.measurements.push(Measurement { name, unit, value }));
}

/// Counts one occurrence of an event.
pub fn count(name: &'static str) {
    measure(name, Unit::Count, 1);
}

/// Counts a round trip to the database.
pub(crate) fn round_trip() {
    tell(|record| record.round_trips += 1);
}

/// Counts a new connection.
pub(crate) fn connect() {
    tell(|record| record.connects += 1);
}

/// Counts a statement that is sent again.
pub(crate) fn repeat() {
    tell(|record| record.repeats += 1);
}

/// Runs `work` and returns its output with everything it reported.
pub(crate) async fn of<T>(work: impl Future<Output = T>) -> (T, Observed) {
    let told = async {
        let outcome = work.await;
        (outcome, CURRENT.with(RefCell::take))
    };
    CURRENT.scope(RefCell::default(), told).await
}

fn tell(what: impl FnOnce(&mut Observed)) {
    let _ = CURRENT.try_with(|record| what(&mut record.borrow_mut()));
}
