//! The `status` function, built where the tests can find it.

use shared::lambda::{SystemRoots, run};

fn main() -> Result<(), lambda_http::Error> {
    run(SystemRoots::Unused, |store| {
        Box::pin(async { Ok(status::Status::new(store)) })
    })
}
