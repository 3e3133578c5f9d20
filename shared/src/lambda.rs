//! The Lambda bootstrap of an HTTP function: built once, lent to each invocation, closed politely.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use lambda_http::{BoxFuture, Error, RequestExt, SnapStartResource, service_fn};
use lambda_runtime::{LambdaEvent, Runtime, spawn_graceful_shutdown_handler};
use serde_json::Value;

use crate::configured::Configured;
use crate::database::{Database, DatabaseConfig};
use crate::endpoint::{Endpoint, refuse, respond};
use crate::event::{self, Api, EventResponse};
use crate::logging;
use crate::monitor::Monitor;
use crate::request::request_id_in;

/// Whom a function talks to by TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaches {
    /// The database and nobody else.
    Database,
    /// Other servers, too.
    OtherServers,
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
    reaches: Reaches,
    build: impl Fn(Arc<Database>) -> BoxFuture<'static, Result<E, Error>> + Send + Sync + 'static,
) -> Result<(), Error> {
    logging::init_json();
    let config = DatabaseConfig::from_env();
    if let Ok(config) = &config
        && reaches == Reaches::Database
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
                monitor: Monitor::on_lambda(),
                database: database.as_ref().ok().map(Arc::clone),
                endpoint: Configured::new(database.map_err(Into::into), build),
            });
            let init = futures_util::future::join(function.endpoint.prepare(), function.warm());
            function.monitor.ahead(init).await;
            close_at_the_end(Arc::clone(&function)).await;
            serve(function).await
        })
}

/// A function in its environment.
struct Function<E: Endpoint> {
    monitor: Monitor,
    /// `None` where none is configured.
    database: Option<Arc<Database>>,
    endpoint: Configured<E>,
}

impl<E: Endpoint> Function<E> {
    async fn warm(&self) {
        if let Some(database) = &self.database {
            database.warm().await;
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
                endpoint, monitor, ..
            } = &*function;
            Ok::<_, Infallible>(respond_to_event(endpoint, monitor, event).await)
        }
    });
    Runtime::new(answer)
        .register_snapstart_resource(across_snapshots)
        .run_concurrent()
        .await
}

/// Answers an event of Lambda's, whatever it holds; `monitor` writes its line.
pub async fn respond_to_event<E: Endpoint>(
    endpoint: &E,
    monitor: &Monitor,
    event: LambdaEvent<Value>,
) -> EventResponse {
    let api = Api::of(&event.payload);
    let response = match event::read(event.payload) {
        Ok(request) => {
            let request = request.with_lambda_context(event.context);
            respond(endpoint, monitor, request).await
        }
        Err(problem) => refuse::<E>(problem, monitor, &request_id_in(&event.context)).await,
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
            self.0.monitor.ahead(self.0.warm()).await;
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
