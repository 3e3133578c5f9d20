//! Bootstrap of the `status` function; what it does is in the library beside it.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let database = shared::lambda::init().await?;
    shared::lambda::serve(status::Status::new(database)).await
}
