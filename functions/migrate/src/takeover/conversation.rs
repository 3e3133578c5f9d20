//! A conversation while its messages are copied: positions, times, ids, and which answer belongs to which
//! question. The Python server stored none of that.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use shared::ids::{legacy_digest, legacy_id};
use time::OffsetDateTime;
use uuid::Uuid;

use super::rows::{OldMessage, OldRow};

/// How far apart the server stored the two messages of a turn, at most: it wrote both when it had the answer.
const TURN: Duration = Duration::from_secs(1);

/// A conversation, as far as it has been read.
pub(super) struct Conversation {
    pub(super) session_id: Uuid,
    /// When it was opened; without a row that says so, the time of its first message.
    pub(super) created_at: OffsetDateTime,
    /// When it was last changed, as its row says.
    pub(super) updated_at: Option<OffsetDateTime>,
    pub(super) is_active: bool,
    /// The owner in its stored form.
    pub(super) owner: Option<String>,
    is_even: bool,
    seq: i64,
    last_time: Option<OffsetDateTime>,
    message_ids: HashSet<Uuid>,
    /// The questions without an answer, and their times.
    unanswered: VecDeque<(i64, OffsetDateTime)>,
}

/// Where a message is in its conversation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: i64,
    pub(super) reply_to_seq: Option<i64>,
    pub(super) message_id: Uuid,
    /// Whether that is another id than it had.
    pub(super) has_new_id: bool,
    pub(super) time: OffsetDateTime,
    /// Whether that is another time than it had.
    pub(super) has_new_time: bool,
}

impl Conversation {
    /// A conversation whose first row this is; `now` is for one that has no time at all.
    pub(super) fn new(row: &OldRow, owner: Option<String>, now: OffsetDateTime) -> Self {
        let first_time = row.message.as_ref().and_then(|message| message.said_at);
        let created_at = row.created_at.or(first_time).or(row.updated_at);
        Self {
            session_id: row.session_id,
            created_at: created_at.unwrap_or(now),
            updated_at: row.updated_at,
            is_active: row.is_active,
            owner,
            is_even: row.is_even,
            seq: 0,
            last_time: None,
            message_ids: HashSet::new(),
            unanswered: VecDeque::new(),
        }
    }

    /// The place of the next message.
    pub(super) fn add(&mut self, message: &OldMessage) -> Place {
        self.seq += 1;
        let earliest = self.last_time.unwrap_or(self.created_at);
        // Messages without a time come last, and get that of the one before.
        let time = message.said_at.unwrap_or(earliest);
        self.last_time = Some(time);
        let reply_to_seq = if message.is_question {
            self.unanswered.push_back((self.seq, time));
            None
        } else {
            self.question(time)
        };
        let message_id = self.message_id(&message.message_id);
        Place {
            seq: self.seq,
            reply_to_seq,
            has_new_id: !message_id
                .to_string()
                .eq_ignore_ascii_case(&message.message_id),
            message_id,
            time,
            has_new_time: message.said_at.is_none(),
        }
    }

    /// The question that an answer belongs to. If none of either is missing, the n-th answer is that to the
    /// n-th question, however turns ran side by side. Otherwise it is that to the oldest open question that was
    /// stored with it, else to the latest open one before.
    fn question(&mut self, time: OffsetDateTime) -> Option<i64> {
        let of_this_turn = |(_, asked): &(i64, OffsetDateTime)| *asked + TURN >= time;
        let place = match self.unanswered.iter().position(of_this_turn) {
            _ if self.is_even => Some(0),
            Some(place) => Some(place),
            None => self.unanswered.len().checked_sub(1),
        };
        let (seq, _) = self.unanswered.remove(place?)?;
        Some(seq)
    }

    /// The id of a message, unique in its conversation.
    fn message_id(&mut self, text: &str) -> Uuid {
        let mut id = legacy_id(text);
        let mut attempt = 0;
        while !self.message_ids.insert(id) {
            attempt += 1;
            id = legacy_digest(text, attempt);
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const START: OffsetDateTime = datetime!(2025-09-02 12:00 UTC);

    fn conversation(is_even: bool) -> Conversation {
        let row = OldRow {
            session_id: Uuid::nil(),
            has_row: true,
            created_at: Some(START),
            updated_at: None,
            is_active: true,
            user: None,
            is_even,
            message: None,
        };
        Conversation::new(&row, None, START)
    }

    fn message(id: &str, is_question: bool, said_at: Option<OffsetDateTime>) -> OldMessage {
        OldMessage {
            message_id: id.into(),
            is_question,
            content: String::new(),
            said_at,
            audio_files: None,
            function_calls: None,
            extra_data: None,
        }
    }

    /// The questions of the answers in this sequence of `q` and `a`, each at this many seconds.
    fn questions(is_even: bool, said: &[(char, i64)]) -> Vec<Option<i64>> {
        let mut conversation = conversation(is_even);
        let mut found = Vec::new();
        for (index, (what, seconds)) in said.iter().enumerate() {
            let time = START + time::Duration::seconds(*seconds);
            let place = conversation.add(&message(&index.to_string(), *what == 'q', Some(time)));
            if *what == 'a' {
                found.push(place.reply_to_seq);
            }
        }
        found
    }

    #[test]
    fn an_answer_finds_its_question() {
        for (is_even, said, expected) in [
            (
                true,
                &[('q', 0), ('a', 0), ('q', 9), ('a', 9)][..],
                &[Some(1), Some(3)][..],
            ),
            // Side by side, whatever the times.
            (
                true,
                &[('q', 0), ('q', 60), ('a', 90), ('a', 90)],
                &[Some(1), Some(2)],
            ),
            // The first answer is missing.
            (false, &[('q', 0), ('q', 60), ('a', 60)], &[Some(2)]),
            (false, &[('q', 0), ('q', 60), ('a', 90)], &[Some(2)]),
            // The last answer is missing, and two turns ran side by side.
            (
                false,
                &[('q', 0), ('q', 0), ('a', 0), ('a', 0), ('q', 60)],
                &[Some(1), Some(2)],
            ),
            // Questions are missing.
            (
                false,
                &[('a', 0), ('q', 60), ('a', 60), ('a', 61)],
                &[None, Some(2), None],
            ),
        ] {
            assert_eq!(questions(is_even, said), expected, "{said:?}");
        }
    }

    #[test]
    fn a_message_has_a_time_and_an_id_of_its_own() {
        let mut conversation = conversation(false);
        let id = "0198c0de-0000-4000-8000-00000000abcd";
        let first = conversation.add(&message(&id.to_uppercase(), true, Some(START)));
        assert_eq!(
            (first.message_id.to_string().as_str(), first.has_new_id),
            (id, false)
        );
        let second = conversation.add(&message(id, true, None));
        assert_eq!((second.time, second.has_new_time), (START, true));
        assert_ne!(second.message_id, first.message_id);
        assert!(second.has_new_id);
        let third = conversation.add(&message("no uuid", true, None));
        assert_eq!(third.message_id, legacy_id("no uuid"));
    }
}
