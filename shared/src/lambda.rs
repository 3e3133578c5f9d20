//! The Lambda bootstrap of an HTTP function: built once, lent to each invocation, closed politely.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use lambda_http::{BoxFuture, Error, RequestExt, SnapStartResource, service_fn};
use lambda_runtime::{LambdaEvent, Runtime, spawn_graceful_shutdown_handler};
use serde_json::Value;

use crate::database::{Database, DatabaseConfig};
use crate::http::configured::Configured;
use crate::http::endpoint::{Endpoint, refuse, respond};
use crate::http::event::{self, Api, EventResponse};
use crate::http::reporter::Reporter;
use crate::http::request::request_id_in;
use crate::logging;

/// Whether a function verifies other servers than RDS, for which it needs the system's authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemRoots {
    /// It talks to its database alone.
    Unused,
    /// It talks to other servers, too.
    Needed,
}

/// Runs a function until its environment ends. `build` makes the endpoint, once, in the init phase,
/// where the processor is at its fastest and the database is connected, too; one that is down does not
/// keep the function from starting. Neither does a setting that cannot be used: its callers are told,
/// which is more than they hear of a function that does not start.
///
/// Invocations that come at once, where the environment takes several, share the connection. It is
/// closed before a snapshot of SnapStart and made anew after it, and closed when the environment ends.
/// Lambda takes such snapshots of functions on an OS-only runtime only if they are container images, not
/// zip files.
///
/// # Errors
/// When the runtime's API cannot be reached.
pub fn run<E: Endpoint>(
    system_roots: SystemRoots,
    build: impl Fn(Arc<Database>) -> BoxFuture<'static, Result<E, Error>> + Send + Sync + 'static,
) -> Result<(), Error> {
    logging::init_json(E::NAME);
    let config = DatabaseConfig::from_env();
    if let Ok(config) = &config
        && system_roots == SystemRoots::Unused
        && !config.uses_system_roots()
    {
        leave_system_roots_alone();
    }
    let database = config.map(|config| Arc::new(Database::new(config)));
    // One thread: only then the first look at a connection after a freeze tells the truth.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let function = Arc::new(Function {
                reporter: Reporter::on_lambda(),
                database: database.as_ref().ok().map(Arc::clone),
                endpoint: Configured::new(database.map_err(Into::into), build),
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
    reporter: Reporter,
    /// `None` where none is configured.
    database: Option<Arc<Database>>,
    endpoint: Configured<E>,
}

impl<E: Endpoint> Function<E> {
    async fn preconnect(&self) {
        if let Some(database) = &self.database {
            database.preconnect().await;
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
        async move {
            let Function {
                endpoint, reporter, ..
            } = &*function;
            Ok::<_, Infallible>(respond_to_event(endpoint, reporter, event).await)
        }
    });
    Runtime::new(answer)
        .register_snapstart_resource(across_snapshots)
        .run_concurrent()
        .await
}

/// Answers an event of Lambda's, whatever it holds; `reporter` writes its line.
pub async fn respond_to_event<E: Endpoint>(
    endpoint: &E,
    reporter: &Reporter,
    event: LambdaEvent<Value>,
) -> EventResponse {
    let api = Api::of(&event.payload);
    let response = match event::read(event.payload) {
        Ok(request) => {
            let request = request.with_lambda_context(event.context);
            respond(endpoint, reporter, request).await
        }
        Err(problem) => refuse::<E>(problem, reporter, &request_id_in(&event.context)).await,
    };
    EventResponse::new(api, response)
}

/// Sees to it that the connection's place at the server is free as soon as the environment ends. For
/// that the runtime's API has to know us as an extension; where it does not take us, the server finds
/// out by itself.
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

/// Keeps OpenSSL from reading the system's certificates, which it does for every connector, also for
/// one that is told not to use them, and which takes longer than all else in a cold start. It does as
/// the variable says, unless somebody has set it.
#[allow(unsafe_code)]
fn leave_system_roots_alone() {
    const CERTIFICATES: &str = "SSL_CERT_FILE";
    if std::env::var_os(CERTIFICATES).is_none() {
        // SAFETY: nobody reads the environment meanwhile. This runs before the runtime is built, so
        // there is no other thread.
        unsafe { std::env::set_var(CERTIFICATES, "/dev/null") };
    }
}
