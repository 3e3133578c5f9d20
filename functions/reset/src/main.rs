//! Bootstrap of the `reset` function; what it does is in the library beside it.

use shared::lambda::{Reaches, run};

fn main() -> Result<(), lambda_http::Error> {
    run(Reaches::Database, |database| {
        Box::pin(async { Ok(reset::Reset::new(database)) })
    })
}
