//! Cursors: opaque positions in a history or a list, from which the next page continues.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use uuid::Uuid;

/// The first byte of every cursor, which distinguishes this format from later ones.
const FORM: u8 = 1;

/// The first byte of a cursor in a list by time.
const TIMED_FORM: u8 = 2;

/// The first byte of a cursor among the messages of many sessions.
const MESSAGE_FORM: u8 = 3;

/// The first byte of a cursor in an export.
const EXPORT_FORM: u8 = 4;

/// Encodes the position of the message at `seq` as a cursor.
#[must_use]
pub fn encode(session_id: Uuid, seq: i64) -> String {
    let mut bytes = vec![FORM];
    // The session's id, so that a cursor of one session is refused by another.
    bytes.extend_from_slice(session_id.as_bytes());
    bytes.extend_from_slice(&seq.to_be_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a cursor of this session; `None` for anything [`encode`] did not write for it.
#[must_use]
pub fn decode(session_id: Uuid, cursor: &str) -> Option<i64> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (form, rest) = bytes.split_first()?;
    let (session, seq) = rest.split_at_checked(size_of::<Uuid>())?;
    let seq = i64::from_be_bytes(seq.try_into().ok()?);
    (*form == FORM && session == session_id.as_bytes() && seq > 0).then_some(seq)
}

/// Encodes a position in a list by time, in microseconds since 1970, and then by id.
#[must_use]
pub fn encode_timed(time_us: i64, id: Uuid) -> String {
    let mut bytes = vec![TIMED_FORM];
    bytes.extend_from_slice(&time_us.to_be_bytes());
    bytes.extend_from_slice(id.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a cursor of a list; `None` for anything [`encode_timed`] did not write.
#[must_use]
pub fn decode_timed(cursor: &str) -> Option<(i64, Uuid)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (form, rest) = bytes.split_first()?;
    let (time_us, id) = rest.split_at_checked(size_of::<i64>())?;
    let time_us = i64::from_be_bytes(time_us.try_into().ok()?);
    (*form == TIMED_FORM).then_some((time_us, Uuid::from_slice(id).ok()?))
}

/// Encodes the position of a message among those of many sessions: its time in microseconds since 1970,
/// its session, and its `seq`.
#[must_use]
pub fn encode_message(time_us: i64, session_id: Uuid, seq: i64) -> String {
    let mut bytes = vec![MESSAGE_FORM];
    bytes.extend_from_slice(&time_us.to_be_bytes());
    bytes.extend_from_slice(session_id.as_bytes());
    bytes.extend_from_slice(&seq.to_be_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a position among the messages of many sessions; `None` for anything [`encode_message`] did not
/// write.
#[must_use]
pub fn decode_message(cursor: &str) -> Option<(i64, Uuid, i64)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (form, rest) = bytes.split_first()?;
    let (time_us, rest) = rest.split_at_checked(size_of::<i64>())?;
    let (id, seq) = rest.split_at_checked(size_of::<Uuid>())?;
    let time_us = i64::from_be_bytes(time_us.try_into().ok()?);
    let seq = i64::from_be_bytes(seq.try_into().ok()?);
    (*form == MESSAGE_FORM && seq > 0).then_some((time_us, Uuid::from_slice(id).ok()?, seq))
}

/// Encodes a place in an export: a session by time and id, and a position in it.
#[must_use]
pub fn encode_export(time_us: i64, id: Uuid, seq: i64) -> String {
    let mut bytes = vec![EXPORT_FORM];
    bytes.extend_from_slice(&time_us.to_be_bytes());
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(id.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a cursor of an export; `None` for anything [`encode_export`] did not write.
#[must_use]
pub fn decode_export(cursor: &str) -> Option<(i64, Uuid, i64)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (form, rest) = bytes.split_first()?;
    let (time_us, rest) = rest.split_at_checked(size_of::<i64>())?;
    let (seq, id) = rest.split_at_checked(size_of::<i64>())?;
    let time_us = i64::from_be_bytes(time_us.try_into().ok()?);
    let seq = i64::from_be_bytes(seq.try_into().ok()?);
    (*form == EXPORT_FORM).then_some((time_us, Uuid::from_slice(id).ok()?, seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let session_id = Uuid::now_v7();
        for seq in [1, 2, 1_000_000, i64::MAX] {
            assert_eq!(decode(session_id, &encode(session_id, seq)), Some(seq));
        }
    }

    #[test]
    fn a_cursor_of_a_list_is_none_of_a_history() {
        let id = Uuid::now_v7();
        for time in [0, -1, 1_767_225_600_000_000, i64::MAX] {
            let cursor = encode_timed(time, id);
            assert_eq!(decode_timed(&cursor), Some((time, id)));
            assert_eq!(decode(id, &cursor), None);
            assert_eq!(decode_timed(&cursor[..cursor.len() - 2]), None);
            assert_eq!(decode_timed(&format!("{cursor}AAAA")), None);
        }
        assert_eq!(decode_timed(&encode(id, 7)), None);
    }

    #[test]
    fn a_cursor_among_messages_is_no_other_one() {
        let id = Uuid::now_v7();
        for (time, seq) in [(0, 1), (-1, i64::MAX), (1_767_225_600_000_000, 7)] {
            let cursor = encode_message(time, id, seq);
            assert_eq!(decode_message(&cursor), Some((time, id, seq)));
            assert_eq!((decode(id, &cursor), decode_timed(&cursor)), (None, None));
            assert_eq!(decode_message(&cursor[..cursor.len() - 2]), None);
            assert_eq!(decode_message(&format!("{cursor}AAAA")), None);
        }
        assert_eq!(decode_message(&encode_message(0, id, 0)), None);
        assert_eq!(decode_message(&encode_timed(7, id)), None);
    }

    #[test]
    fn what_was_not_given_out_for_the_session_is_no_cursor() {
        let session_id = Uuid::now_v7();
        let cursor = encode(session_id, 7);
        let cases = [
            (String::new(), "empty"),
            ("7".into(), "a bare number"),
            (cursor[1..].into(), "cut at the front"),
            (cursor[..cursor.len() - 1].into(), "cut at the end"),
            (format!("{cursor}="), "padded"),
            (encode(Uuid::now_v7(), 7), "of another session"),
            (encode(session_id, 0), "before the first message"),
            (encode(session_id, -1), "negative"),
        ];
        for (cursor, reason) in cases {
            assert_eq!(decode(session_id, &cursor), None, "{reason}");
        }
    }
}
