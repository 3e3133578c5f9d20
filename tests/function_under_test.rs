//! The `status` function, built where the tests can find it.

use shared::lambda::run;

fn main() -> Result<(), lambda_http::Error> {
    run(|store| Box::pin(async { Ok(status::Status::new(store)) }))
}
