//! New ids.

use uuid::{NoContext, Timestamp, Uuid};

/// A version 7 UUID with 74 random bits. [`Uuid::now_v7`] has fewer, because ids that one process
/// makes within a millisecond share a counter. If no authorizer is configured, its id is all that
/// protects a session.
#[must_use]
pub fn new_id() -> Uuid {
    Uuid::new_v7(Timestamp::now(NoContext))
}

#[cfg(test)]
mod tests {
    use super::*;

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
