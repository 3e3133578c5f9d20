//! Bootstrap of the `reset` function; what it does is in the library beside it.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let database = shared::lambda::init().await?;
    shared::lambda::serve(reset::Reset::new(database)).await
}
