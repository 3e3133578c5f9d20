//! Bootstrap of the function; its logic is in the library beside it.

use shared::lambda::{SystemRoots, run};

fn main() -> Result<(), lambda_http::Error> {
    run(SystemRoots::Unused, |store| {
        Box::pin(async { Ok(reset::Reset::new(store)) })
    })
}
