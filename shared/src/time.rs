//! Times as the API writes them: RFC 3339, UTC, microseconds.

use std::fmt::{self, Display};

use serde::{Serialize, Serializer, ser::Error};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

const FORMAT: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// A point in time, serialised as `2026-01-01T00:00:00.000000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(pub OffsetDateTime);

/// A time in microseconds since 1970. Times in the tables have no more digits.
#[must_use]
pub fn microseconds(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}

/// The time that is so many microseconds after 1970; `None` if there is no such time.
#[must_use]
pub fn from_microseconds(microseconds: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(microseconds) * 1000).ok()
}

impl Timestamp {
    fn text(self) -> Result<String, time::error::Format> {
        self.0.to_offset(UtcOffset::UTC).format(FORMAT)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text().map_err(S::Error::custom)?)
    }
}

impl Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text().map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_time_is_written_in_utc_with_six_digits() {
        let cases = [
            (
                datetime!(2026-01-01 00:00:00 UTC),
                "\"2026-01-01T00:00:00.000000Z\"",
            ),
            (
                datetime!(2026-01-01 00:30:00.000001 +01:00),
                "\"2025-12-31T23:30:00.000001Z\"",
            ),
        ];
        for (moment, expected) in cases {
            assert_eq!(serde_json::to_string(&Timestamp(moment)).unwrap(), expected);
        }
    }
}
