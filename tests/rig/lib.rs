//! What the tests and the benchmark both stand on: the product's programs in processes of their own, and
//! what they need around them. Nothing of the product is linked here, so a release build of it is quick.

// A helper that cannot continue fails its test.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

pub mod certificates;
pub mod lambda;
pub mod local_run;
pub mod memory;
pub mod ports;
pub mod programs;
pub mod sessions;
pub mod tls;
