//! What a request does, told where it happens and kept until its line is written.
//!
//! It belongs to the task of the request, so that the connection and a handler can tell without being
//! handed anything. What is told outside of a request goes nowhere.

use std::cell::RefCell;

use serde::Serialize;
use uuid::Uuid;

tokio::task_local! {
    static CURRENT: RefCell<Observed>;
}

/// What a measurement is given in, by CloudWatch's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// How often, or how many.
    Count,
    /// How long.
    Milliseconds,
}

/// A value under the name it has in CloudWatch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) value: u64,
}

/// What is known of a request beside its answer.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The session it is about.
    pub(crate) session_id: Option<Uuid>,
    /// How often the database was sent something and answered, or should have.
    pub(crate) round_trips: u64,
    /// Connections made.
    pub(crate) connects: u64,
    /// Statements sent again.
    pub(crate) repeats: u64,
    /// What the handler measured.
    pub(crate) measurements: Vec<Measurement>,
}

impl Observed {
    /// Takes over what happened to the database before the request.
    pub(crate) fn absorb(&mut self, earlier: &Self) {
        self.round_trips += earlier.round_trips;
        self.connects += earlier.connects;
        self.repeats += earlier.repeats;
    }
}

/// Names the session that the request is about; the last one stands.
pub fn session(session_id: Uuid) {
    tell(|record| record.session_id = Some(session_id));
}

/// Adds a measurement of the handler's own. Give a name once for each request: CloudWatch takes one
/// value of it.
pub fn measure(name: &'static str, unit: Unit, value: u64) {
    tell(|record| record.measurements.push(Measurement { name, unit, value }));
}

/// Measures that something happened.
pub fn count(name: &'static str) {
    measure(name, Unit::Count, 1);
}

/// Counts a round trip to the database.
pub(crate) fn round_trip() {
    tell(|record| record.round_trips += 1);
}

/// Counts a connection that was made.
pub(crate) fn connect() {
    tell(|record| record.connects += 1);
}

/// Counts a statement that is sent again.
pub(crate) fn repeat() {
    tell(|record| record.repeats += 1);
}

/// Does `work`, and gives what it told.
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
