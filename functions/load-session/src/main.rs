//! Bootstrap of the function; its logic is in the library beside it.

use shared::buckets::Buckets;
use shared::lambda::run;
use shared::store::links::Links;

fn main() -> Result<(), lambda_http::Error> {
    run(|store| {
        Box::pin(async {
            let links = Links::new(store.clone(), Buckets::from_env()?);
            Ok(load_session::LoadSession::new(store, links))
        })
    })
}
