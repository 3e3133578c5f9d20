//! The `status` function, built where the tests can find it.

use shared::lambda::{Reaches, run};

fn main() -> Result<(), lambda_http::Error> {
    run(Reaches::Database, |database| {
        Box::pin(async { Ok(status::Status::new(database)) })
    })
}
