//! What a takeover says about itself.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// What was taken over of the Python server's tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TakenOver {
    /// All sessions.
    pub sessions: i64,
    /// All messages.
    pub messages: i64,
    /// Those of the sessions that have no message.
    pub empty_sessions: i64,
    /// Those that only messages named.
    pub sessions_without_row: i64,
    /// Those that belong to nobody.
    pub sessions_without_owner: i64,
    /// Those whose old id is no UUID, so that their new one is a digest of it.
    pub digested_session_ids: i64,
    /// Those whose id differs from another one's only in case, so that their new one is a digest as well.
    pub renamed_session_ids: i64,
    /// Messages with another id than before.
    pub changed_message_ids: i64,
    /// Answers whose question was never stored.
    pub answers_without_question: i64,
    /// Messages without a time, which have that of the one before now.
    pub missing_times: i64,
    /// Values in which U+0000 or half a character became U+FFFD.
    pub replaced_characters: i64,
}

/// Where the Python server's tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LegacyState {
    /// In their place; the next migration takes them over.
    Found,
    /// Taken over, and kept as the way back.
    Kept,
}

/// A table that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Its name.
    pub table: String,
    /// How many rows it had.
    pub rows: i64,
}

impl Display for TakenOver {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} sessions with {} messages of the Python server taken over",
            self.sessions, self.messages
        )?;
        for (count, what) in [
            (self.empty_sessions, "sessions have no message"),
            (
                self.sessions_without_row,
                "sessions were named by messages alone",
            ),
            (self.sessions_without_owner, "sessions belong to nobody"),
            (
                self.digested_session_ids,
                "session ids are no UUIDs and are found with LEGACY_IDS=true",
            ),
            (
                self.renamed_session_ids,
                "session ids differed from another in case only and are new",
            ),
            (self.changed_message_ids, "message ids are new"),
            (self.answers_without_question, "answers have no question"),
            (self.missing_times, "messages had no time"),
            (
                self.replaced_characters,
                "values had characters that cannot be stored",
            ),
        ] {
            if count > 0 {
                write!(formatter, "; {count} {what}")?;
            }
        }
        Ok(())
    }
}

impl Display for LegacyState {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Found => {
                "tables of the Python server; `cargo run -- migrate` takes them over (docs/moving-in.md)"
            }
            Self::Kept => {
                "the Python server's tables are kept in the schema daissy_legacy until \
                 `cargo run -- migrate --drop-legacy`"
            }
        })
    }
}
