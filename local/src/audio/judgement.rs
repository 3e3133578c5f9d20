//! How good a search is, by queries whose right answers are known.

use shared::store::recordings::Found;
use uuid::Uuid;

use super::queries::Query;

/// How many recordings the assistant is shown, and chooses from.
const SHOWN: usize = 5;

/// What was found for a query, best first, and how relevant it is.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    pub query: &'a Query,
    pub found: Vec<(Uuid, f64)>,
}

/// How good the order is, for queries that need a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Order {
    /// The share of the queries for which the first recording is right.
    pub first: f64,
    /// The share for which one of the first three is.
    pub among_three: f64,
    /// The mean of 1 / the rank of the first right one; 0 where none is found.
    pub mean_reciprocal_rank: f64,
}

/// What would be recommended at a threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct AtThreshold {
    /// The shares of the queries that need a recording: a right one, a wrong one or none is recommended.
    pub right: f64,
    pub wrong: f64,
    pub missed: f64,
    /// The share of the queries that need none for which one is recommended.
    pub false_recommendations: f64,
}

impl<'a> Judged<'a> {
    /// What a search found for a query.
    pub(super) fn new(query: &'a Query, found: &[Found]) -> Self {
        let found = found.iter().map(|found| (found.audio_id, found.relevance));
        Self {
            query,
            found: found.collect(),
        }
    }

    fn needs_one(&self) -> bool {
        self.query.audio_id.is_some()
    }

    /// The rank of the first recording that is right, from 1.
    fn rank(&self) -> Option<usize> {
        let mut ids = self.found.iter();
        ids.position(|(id, _)| self.query.is_right(*id))
            .map(|index| index + 1)
    }

    /// Whether the first recording is not right although the query needs one.
    pub(super) fn is_missed(&self) -> bool {
        self.needs_one() && self.rank() != Some(1)
    }

    /// The recording that would be recommended: the most relevant of those that are relevant enough.
    fn recommended(&self, threshold: f64) -> Option<Uuid> {
        let shown = self.found.iter().take(SHOWN);
        let relevant = shown.filter(|(_, relevance)| *relevance >= threshold);
        // The last of several that are as relevant is the maximum; the first is recommended.
        relevant
            .rev()
            .max_by(|one, other| one.1.total_cmp(&other.1))
            .map(|(id, _)| *id)
    }
}

/// Judges the order.
pub(super) fn order(judged: &[Judged<'_>]) -> Order {
    let ranks: Vec<Option<usize>> = judged
        .iter()
        .filter(|it| it.needs_one())
        .map(Judged::rank)
        .collect();
    let within = |most: usize| {
        let reached = ranks.iter().flatten().filter(|rank| **rank <= most);
        share(reached.count(), ranks.len())
    };
    let reciprocal = ranks.iter().flatten().map(|rank| share(1, *rank));
    Order {
        first: within(1),
        among_three: within(3),
        mean_reciprocal_rank: if ranks.is_empty() {
            0.0
        } else {
            reciprocal.sum::<f64>() * share(1, ranks.len())
        },
    }
}

/// Judges what would be recommended at a threshold.
pub(super) fn at_threshold(judged: &[Judged<'_>], threshold: f64) -> AtThreshold {
    let (mut right, mut wrong, mut missed, mut false_ones, mut need_one) = (0, 0, 0, 0, 0);
    for it in judged {
        need_one += usize::from(it.needs_one());
        match (it.needs_one(), it.recommended(threshold)) {
            (true, Some(id)) if it.query.is_right(id) => right += 1,
            (true, Some(_)) => wrong += 1,
            (true, None) => missed += 1,
            (false, Some(_)) => false_ones += 1,
            (false, None) => {}
        }
    }
    AtThreshold {
        right: share(right, need_one),
        wrong: share(wrong, need_one),
        missed: share(missed, need_one),
        false_recommendations: share(false_ones, judged.len() - need_one),
    }
}

/// A part of a whole; 0 of nothing.
fn share(part: usize, whole: usize) -> f64 {
    // Counts of queries are exact.
    #[allow(clippy::cast_precision_loss)]
    let share = part as f64 / whole.max(1) as f64;
    share
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn query(right: Option<u128>) -> Query {
        let right = right.map(id);
        serde_json::from_value(json!({ "query": "q", "audio_id": right })).unwrap()
    }

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn the_order_is_judged_by_the_rank_of_the_first_right_recording() {
        let queries = [
            query(Some(1)),
            query(Some(2)),
            query(Some(3)),
            query(Some(4)),
            query(None),
        ];
        let found = [
            vec![(id(1), 0.9), (id(2), 0.8)],
            vec![(id(1), 0.9), (id(2), 0.8)],
            vec![(id(1), 0.9), (id(2), 0.8), (id(4), 0.7), (id(3), 0.6)],
            vec![],
            vec![(id(1), 0.9)],
        ];
        let judged = queries.iter().zip(found);
        let judged: Vec<Judged<'_>> = judged
            .map(|(query, found)| Judged { query, found })
            .collect();
        let order = order(&judged);
        assert!(close(order.first, 0.25), "{order:?}");
        assert!(close(order.among_three, 0.5), "{order:?}");
        assert!(
            close(order.mean_reciprocal_rank, (1.0 + 0.5 + 0.25) / 4.0),
            "{order:?}"
        );
        let missed: Vec<bool> = judged.iter().map(Judged::is_missed).collect();
        assert_eq!(missed, [false, true, true, true, false]);
    }

    #[test]
    fn a_threshold_is_judged_by_what_would_be_recommended() {
        let queries = [
            query(Some(1)),
            query(Some(1)),
            query(Some(1)),
            query(None),
            query(None),
        ];
        let found = [
            vec![(id(2), 0.5), (id(1), 0.6)],
            vec![(id(2), 0.5), (id(1), 0.5)],
            vec![(id(1), 0.4)],
            vec![(id(1), 0.5)],
            vec![(id(1), 0.49)],
        ];
        let judged = queries.iter().zip(found);
        let judged: Vec<Judged<'_>> = judged
            .map(|(query, found)| Judged { query, found })
            .collect();
        let at = at_threshold(&judged, 0.5);
        assert!(close(at.right, 1.0 / 3.0), "the most relevant: {at:?}");
        assert!(close(at.wrong, 1.0 / 3.0), "the first of two: {at:?}");
        assert!(close(at.missed, 1.0 / 3.0), "{at:?}");
        assert!(close(at.false_recommendations, 0.5), "{at:?}");
        let at = at_threshold(&judged, 0.0);
        assert!(
            close(at.right, 2.0 / 3.0) && close(at.false_recommendations, 1.0),
            "{at:?}"
        );
        let at = at_threshold(&[], 0.0);
        assert!(
            close(at.right, 0.0) && close(at.false_recommendations, 0.0),
            "{at:?}"
        );
    }
}
