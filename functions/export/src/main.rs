//! Bootstrap of the function; its logic is in the library beside it.

use shared::lambda::run;

fn main() -> Result<(), lambda_http::Error> {
    run(|store| Box::pin(async { Ok(export::Export::new(store)) }))
}
