//! Ids: new ones, and those of the Python server, which could be any text.

use openssl::sha::Sha256;
use uuid::{Builder, NoContext, Timestamp, Uuid};

/// The length of a UUID in its usual form.
const HYPHENATED_LENGTH: usize = 36;

/// What an id's digest begins with, so that it is the digest of nothing else.
const LEGACY_PREFIX: &str = "daissy legacy id";

/// A version 7 UUID with 74 random bits. [`Uuid::now_v7`] has fewer, because ids that one process
/// makes within a millisecond share a counter. If no authorizer is configured, its id is all that
/// protects a session.
#[must_use]
pub fn new_id() -> Uuid {
    Uuid::new_v7(Timestamp::now(NoContext))
}

/// Reads a UUID in its usual form of 36 characters, in upper or lower case.
#[must_use]
pub fn parse_id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text)
        .ok()
        .filter(|_| text.len() == HYPHENATED_LENGTH)
}

/// The id here of what the Python server knew by this one: the same if it is a UUID, else a digest of it.
/// It is computed where tables are taken over and where a request names an old id, so that none has to be
/// looked up.
#[must_use]
pub fn legacy_id(text: &str) -> Uuid {
    parse_id(text).unwrap_or_else(|| legacy_digest(text, 0))
}

/// The digest of an old id, as a UUID; another one for each `attempt`, for an id whose own is taken.
#[must_use]
pub fn legacy_digest(text: &str, attempt: u32) -> Uuid {
    let mut digest = Sha256::new();
    digest.update(format!("{LEGACY_PREFIX} {attempt}:").as_bytes());
    digest.update(text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finish()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_is_itself_if_it_is_a_uuid_and_else_always_the_same_digest() {
        let id = "0198c0de-0000-4000-8000-00000000abcd";
        assert_eq!(legacy_id(id).to_string(), id);
        assert_eq!(legacy_id(&id.to_uppercase()).to_string(), id);

        // Computed with Python's hashlib. An id that was taken over must never change between versions.
        assert_eq!(
            legacy_id("my-session").to_string(),
            "b8f107d4-7a75-8c05-a551-b370cfc39067"
        );
        let others = [
            "My-session",
            "",
            "0198c0de000040008000000abcd",
            "{0198c0de}",
        ];
        for other in others.map(legacy_id) {
            assert_eq!(other.get_version_num(), 8);
            assert_ne!(other, legacy_id("my-session"));
        }
        assert_ne!(legacy_digest("my-session", 1), legacy_id("my-session"));
    }

    #[test]
    fn ids_of_one_moment_have_no_counter_in_common() {
        let ids: Vec<u128> = (0..200).map(|_| new_id().as_u128()).collect();
        // The bits after the time, the version and the variant. With a counter, neighbours agree in
        // them.
        let high_bits = |id: &u128| (id >> 40) & 0x3f_ffff;
        let agreeing = ids
            .windows(2)
            .filter(|pair| high_bits(&pair[0]) == high_bits(&pair[1]))
            .count();
        assert!(agreeing < 3, "{agreeing} of 199");
        assert!(
            ids.iter()
                .all(|id| Uuid::from_u128(*id).get_version_num() == 7)
        );
    }
}
