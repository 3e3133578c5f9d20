//! Bootstrap of the `load-session` function; what it does is in the library beside it.

use shared::lambda::{Reaches, run};

fn main() -> Result<(), lambda_http::Error> {
    run(Reaches::Database, |database| {
        Box::pin(async { Ok(load_session::LoadSession::new(database)) })
    })
}
