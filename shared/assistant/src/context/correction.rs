//! How far the estimate of tokens is off, learnt from what the provider counts.

use std::sync::atomic::{AtomicU32, Ordering};

use super::size::Size;

/// How fast the correction follows what needs less than it says. What needs more is believed at once: too much
/// is refused, too little only shows less.
const FALL: f32 = 0.25;

/// The largest correction: tokenizers that take a script apart into bytes need twice what is estimated.
const MOST: f32 = 3.0;

/// How much more a refused request is taken for than before.
const REFUSED: f32 = 1.5;

/// A count that is this part of the least correction is none of the whole request: some servers leave out what
/// they had read before.
const IMPLAUSIBLE: f32 = 0.5;

/// The kinds of texts that are corrected separately, because tokenizers differ in how well they know a script: up
/// to how many extra bytes for each character, and the least correction.
const KINDS: [(f64, f32); 3] = [
    // Latin.
    (0.35, 0.5),
    // Cyrillic, Greek, Arabic and others of two bytes.
    (1.1, 0.15),
    // Chinese, Indian scripts and others of three bytes.
    (f64::INFINITY, 0.15),
];

/// The factors between the estimate and what the provider counts, for each kind of text.
#[derive(Debug)]
pub struct Correction {
    /// As the bits of an `f32`.
    factors: [AtomicU32; KINDS.len()],
}

impl Default for Correction {
    fn default() -> Self {
        Self {
            factors: [const { AtomicU32::new(1.0_f32.to_bits()) }; KINDS.len()],
        }
    }
}

impl Correction {
    /// By what the estimate of a request is to be multiplied.
    pub fn factor(&self, request: Size) -> f64 {
        let (factor, _) = self.of(request);
        f64::from(f32::from_bits(factor.load(Ordering::Relaxed)))
    }

    /// Learns from a request for which the provider counted these tokens.
    pub fn learn(&self, sent: Size, counted: f64) {
        let ratio = (counted / sent.tokens().max(1.0)) as f32;
        let (_, least) = self.of(sent);
        if ratio < least * IMPLAUSIBLE {
            return;
        }
        self.change(sent, |factor| {
            if ratio > factor {
                ratio
            } else {
                factor - (factor - ratio) * FALL
            }
        });
    }

    /// Learns from a request that was refused as too long.
    pub fn refused(&self, sent: Size) {
        self.change(sent, |factor| factor * REFUSED);
    }

    fn change(&self, sent: Size, change: impl Fn(f32) -> f32) {
        let (factor, least) = self.of(sent);
        let change = |bits| Some(change(f32::from_bits(bits)).clamp(least, MOST).to_bits());
        // It always gives something new, so it does not fail.
        let _ = factor.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// The factor of a kind of text, and the least that it may be.
    fn of(&self, request: Size) -> (&AtomicU32, f32) {
        let extra = request.extra_bytes();
        let kinds = self.factors.iter().zip(KINDS);
        let mut kinds = kinds.filter(|(_, (most, _))| extra <= *most);
        let (factor, (_, least)) = kinds.next().unwrap_or((&self.factors[0], KINDS[0]));
        (factor, least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_believed_at_once_and_less_little_by_little() {
        let correction = Correction::default();
        let sent = Size::of(&"hello ".repeat(1000));
        let learn = |part: f64| {
            correction.learn(sent, sent.tokens() * part);
            (correction.factor(sent) * 1000.0).round() / 1000.0
        };
        assert_eq!(learn(1.4), 1.4);
        assert_eq!(learn(0.6), 1.2);
        assert_eq!(learn(0.6), 1.05);
        assert_eq!(learn(9.0), 3.0, "within limits");
        for _ in 0..50 {
            learn(0.3);
        }
        assert_eq!(learn(0.3), 0.5, "within limits");
        assert_eq!(learn(0.8), 0.8);
        assert_eq!(learn(0.01), 0.8, "an implausible count");
        correction.refused(sent);
        assert!((correction.factor(sent) - 1.2).abs() < 1e-6);
    }

    #[test]
    fn scripts_are_corrected_separately() {
        let correction = Correction::default();
        let kinds = ["Grüße aus Köln und Việt Nam", "Привет", "你好"].map(Size::of);
        for (kind, part) in kinds.into_iter().zip([1.2, 1.4, 1.6]) {
            correction.learn(kind, kind.tokens() * part);
        }
        let factors = kinds.map(|kind| (correction.factor(kind) * 10.0).round() / 10.0);
        assert_eq!(factors, [1.2, 1.4, 1.6]);
    }
}
