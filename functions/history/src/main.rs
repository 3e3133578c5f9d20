//! Bootstrap of the `history` function; what it does is in the library beside it.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let database = shared::lambda::init().await?;
    shared::lambda::serve(history::History::new(database)).await
}
