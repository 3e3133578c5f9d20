//! The log line of a request as a document in CloudWatch's embedded metric format: metrics that
//! CloudWatch extracts from the log, next to the fields of the line.
//!
//! Specification: Amazon CloudWatch User Guide, "Embedded metric format specification".

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::line::Line;
use crate::observed::{Measurement, Observed, Unit};
use crate::time::Timestamp;

/// The namespace of all metrics.
const NAMESPACE: &str = "Daissy";

/// A line and its metrics.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    #[serde(rename = "timestamp")]
    timestamp: Timestamp,
    #[serde(rename = "level")]
    level: &'static str,
    #[serde(rename = "message")]
    message: &'static str,
    #[serde(flatten)]
    line: &'a Line<'a>,
    stack: &'a str,
    function: &'static str,
    #[serde(flatten)]
    values: Map<String, Value>,
    #[serde(rename = "_aws")]
    aws: Value,
}

/// The document of a request, with its line feed.
///
/// # Errors
/// When it cannot be written as JSON.
pub(crate) fn document(
    stack: &str,
    function: &'static str,
    line: &Line<'_>,
    observed: &Observed,
) -> Result<String, serde_json::Error> {
    let now = SystemTime::now();
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let measurements = of_every_request(line, observed);
    let measurements = measurements.iter().chain(&observed.measurements);
    let defined: Vec<Value> = measurements
        .clone()
        .map(|measurement| json!({ "Name": measurement.name, "Unit": measurement.unit }))
        .collect();
    let mut text = serde_json::to_string(&Document {
        timestamp: Timestamp(OffsetDateTime::from(now)),
        level: if line.is_failure() { "ERROR" } else { "INFO" },
        message: line.message(),
        line,
        stack,
        function,
        values: measurements
            .map(|measurement| (measurement.name.to_owned(), json!(measurement.value)))
            .collect(),
        aws: json!({
            "Timestamp": u64::try_from(since_1970.as_millis()).unwrap_or_default(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["Stack", "Function"]],
                "Metrics": defined,
            }],
        }),
    })?;
    text.push('\n');
    Ok(text)
}

/// The measurements of every request, even when zero: the mean of a count is its rate.
fn of_every_request(line: &Line<'_>, observed: &Observed) -> [Measurement; 6] {
    let count = |name, value| Measurement {
        name,
        unit: Unit::Count,
        value,
    };
    [
        count("Requests", 1),
        count("Errors", line.is_failure().into()),
        Measurement {
            name: "Duration",
            unit: Unit::Milliseconds,
            value: line.duration_ms,
        },
        count("ColdStarts", line.cold_start.into()),
        count("DatabaseConnects", observed.connects),
        count("DatabaseRepeats", observed.repeats),
    ]
}
