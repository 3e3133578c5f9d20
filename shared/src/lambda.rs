//! The Lambda bootstrap of an HTTP function: built once, lent to each invocation, closed cleanly.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use lambda_http::{BoxFuture, Error, RequestExt, Response, SnapStartResource, service_fn};
use lambda_runtime::{
    FunctionResponse, LambdaEvent, MetadataPrelude, Runtime, StreamResponse,
    spawn_graceful_shutdown_handler,
};
use serde_json::Value;

use crate::caller::Permissions;
use crate::database::{Database, DatabaseConfig};
use crate::http::configured::Configured;
use crate::http::cors::AllowedOrigins;
use crate::http::endpoint::{Endpoint, refuse, respond};
use crate::http::event::{self, Api, EventResponse};
use crate::http::reporter::Reporter;
use crate::http::request::request_id_in;
use crate::http::response::{Body, Chunks};
use crate::logging;
use crate::store::Store;

/// Runs a function until its environment ends. `build` makes the endpoint once, in the init phase,
/// where the CPU is at its fastest; the database is connected there as well. A database that is
/// down does not keep the function from starting. Neither does an invalid setting: callers are told
/// about it, which is more than they would learn from a function that does not start.
///
/// Concurrent invocations, in an environment that takes several, share the connection. It is closed
/// before a SnapStart snapshot, reopened after the restore, and closed when the environment ends.
/// On an OS-only runtime, Lambda takes snapshots only of container images, not of zip files.
///
/// # Errors
/// When the Lambda runtime API cannot be reached.
pub fn run<E: Endpoint>(
    build: impl Fn(Store) -> BoxFuture<'static, Result<E, Error>> + Send + Sync + 'static,
) -> Result<(), Error> {
    run_as(Answers::Complete, build)
}

/// Like [`run`], for a function whose answers are sent while they are made. It has to be invoked by what takes
/// such answers; anything else would take the beginning of one for the whole.
///
/// # Errors
/// As [`run`].
pub fn run_streaming<E: Endpoint>(
    build: impl Fn(Store) -> BoxFuture<'static, Result<E, Error>> + Send + Sync + 'static,
) -> Result<(), Error> {
    run_as(Answers::Streamed, build)
}

/// How a function sends its answers.
#[derive(Debug, Clone, Copy)]
enum Answers {
    /// Each in one piece.
    Complete,
    /// Each as a stream, even if it is complete.
    Streamed,
}

fn run_as<E: Endpoint>(
    answers: Answers,
    build: impl Fn(Store) -> BoxFuture<'static, Result<E, Error>> + Send + Sync + 'static,
) -> Result<(), Error> {
    logging::init_json(E::NAME);
    let configured = DatabaseConfig::from_env()
        .and_then(|config| Ok((config, Permissions::read(|name| std::env::var(name).ok())?)));
    if let Ok((config, _)) = &configured
        && !config.uses_system_roots()
    {
        without_system_roots(|| config.prepare_tls());
    }
    let permissions = configured
        .as_ref()
        .map_or_else(|_| Permissions::default(), |(_, it)| *it);
    let database = configured.map(|(config, _)| Arc::new(Database::new(config)));
    // One thread: only then is the first check of the connection after a freeze reliable.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let function = Arc::new(Function {
                origins: match answers {
                    Answers::Complete => AllowedOrigins::default(),
                    Answers::Streamed => AllowedOrigins::read(|name| std::env::var(name).ok()),
                },
                answers,
                reporter: Arc::new(Reporter::on_lambda()),
                permissions,
                database: database.as_ref().ok().map(Arc::clone),
                endpoint: Configured::new(database.map_err(Into::into), move |database| {
                    build(Store::new(database))
                }),
            });
            let init =
                futures_util::future::join(function.endpoint.prepare(), function.preconnect());
            function.reporter.before_requests(init).await;
            close_at_the_end(Arc::clone(&function)).await;
            serve(function).await
        })
}

/// A function in its environment.
struct Function<E: Endpoint> {
    answers: Answers,
    /// Those that the API in front leaves to the function.
    origins: AllowedOrigins,
    reporter: Arc<Reporter>,
    permissions: Permissions,
    /// `None` if none is configured.
    database: Option<Arc<Database>>,
    endpoint: Configured<E>,
}

impl<E: Endpoint> Function<E> {
    async fn preconnect(&self) {
        if let Some(database) = &self.database {
            database.preconnect().await;
        }
    }

    async fn answer(&self, event: LambdaEvent<Value>) -> FunctionResponse<EventResponse, Chunks> {
        let Self {
            endpoint,
            origins,
            reporter,
            permissions,
            ..
        } = self;
        match self.answers {
            Answers::Complete => FunctionResponse::BufferedResponse(
                respond_to_event(endpoint, reporter, *permissions, event).await,
            ),
            Answers::Streamed => FunctionResponse::StreamingResponse(in_chunks(
                respond_to(endpoint, origins, reporter, *permissions, event).await,
            )),
        }
    }

    async fn close(&self) {
        if let Some(database) = &self.database {
            database.close().await;
        }
    }
}

async fn serve<E: Endpoint>(function: Arc<Function<E>>) -> Result<(), Error> {
    let across_snapshots = Arc::new(AcrossSnapshots(Arc::clone(&function)));
    let answer = service_fn(move |event| {
        let function = Arc::clone(&function);
        async move { Ok::<_, Infallible>(function.answer(event).await) }
    });
    Runtime::new(answer)
        .register_snapstart_resource(across_snapshots)
        .run_concurrent()
        .await
}

/// Answers a Lambda event, whatever it contains; `reporter` writes its log line.
pub async fn respond_to_event<E: Endpoint>(
    endpoint: &E,
    reporter: &Arc<Reporter>,
    permissions: Permissions,
    event: LambdaEvent<Value>,
) -> EventResponse {
    let api = Api::of(&event.payload);
    let origins = AllowedOrigins::default();
    let response = respond_to(endpoint, &origins, reporter, permissions, event).await;
    EventResponse::new(api, response).await
}

async fn respond_to<E: Endpoint>(
    endpoint: &E,
    origins: &AllowedOrigins,
    reporter: &Arc<Reporter>,
    permissions: Permissions,
    event: LambdaEvent<Value>,
) -> Response<Body> {
    match event::read(event.payload) {
        Ok(request) => {
            let origin = origins.of(request.headers());
            let mut request = request.with_lambda_context(event.context);
            request.extensions_mut().insert(permissions);
            let mut response = respond(endpoint, reporter, request).await;
            origins.allow(origin, response.headers_mut());
            response
        }
        Err(problem) => refuse::<E>(problem, reporter, request_id_in(&event.context)),
    }
}

/// An answer in the form in which Lambda streams it: status and headers first.
fn in_chunks(response: Response<Body>) -> StreamResponse<Chunks> {
    let (parts, body) = response.into_parts();
    StreamResponse {
        metadata_prelude: MetadataPrelude {
            status_code: parts.status,
            headers: parts.headers,
            cookies: Vec::new(),
        },
        stream: body.into_chunks(),
    }
}

/// Closes the connection when the environment shuts down, which frees its slot immediately. Lambda
/// signals shutdown only to registered extensions; if registration fails, the server has to notice
/// by itself.
async fn close_at_the_end<E: Endpoint>(function: Arc<Function<E>>) {
    let close = move || async move { function.close().await };
    let registered = AssertUnwindSafe(spawn_graceful_shutdown_handler(close));
    if registered.catch_unwind().await.is_err() {
        tracing::warn!("the connection will not be closed when the environment ends");
    }
}

struct AcrossSnapshots<E: Endpoint>(Arc<Function<E>>);

impl<E: Endpoint> SnapStartResource for AcrossSnapshots<E> {
    fn before_snapshot(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.0.close().await;
            Ok(())
        })
    }

    fn after_restore(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.0.reporter.before_requests(self.0.preconnect()).await;
            Ok(())
        })
    }
}

/// Runs `build` while OpenSSL finds none of the system's certificates. It loads them for every connector,
/// even one that is told not to use them, and that takes longer than everything else in a cold start.
/// OpenSSL takes the path from this variable; a value that is already set is left alone.
#[allow(unsafe_code)]
fn without_system_roots(build: impl FnOnce()) {
    const CERTIFICATES: &str = "SSL_CERT_FILE";
    if std::env::var_os(CERTIFICATES).is_some() {
        return build();
    }
    // SAFETY: nothing reads the environment concurrently. This runs before the runtime is built, so
    // there is no other thread.
    unsafe { std::env::set_var(CERTIFICATES, "/dev/null") };
    build();
    // SAFETY: as above.
    unsafe { std::env::remove_var(CERTIFICATES) };
}
