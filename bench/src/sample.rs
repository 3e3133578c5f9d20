//! Repeated measurements of one thing.

use std::time::{Duration, Instant};

/// How long something took, each time.
#[derive(Default)]
pub struct Sample(Vec<Duration>);

impl Sample {
    /// Adds a measurement.
    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Adds the measurements of another.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Does something and adds the time it took; returns its result.
    pub async fn time<T>(&mut self, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let result = work.await;
        self.add(started.elapsed());
        result
    }

    /// The last measurement.
    pub fn last(&self) -> Duration {
        *self.0.last().expect("something was measured")
    }

    /// The median in milliseconds.
    pub fn median_ms(&self) -> f64 {
        self.percentile_ms(50)
    }

    /// The value in milliseconds below which this part of the measurements lie, in per cent.
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        let last = sorted.len() - 1;
        sorted[(last * percent).div_ceil(100)].as_secs_f64() * 1e3
    }
}

/// The middle one of some numbers.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
