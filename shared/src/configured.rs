//! An endpoint that is there as soon as its settings can be used; until then its callers are told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use lambda_http::{BoxFuture, Error};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::causes::with_causes;
use crate::database::Database;
use crate::endpoint::{Endpoint, Reply};
use crate::problem::Problem;
use crate::request::Request;
use crate::route::Route;

/// After how long building is tried again. What failed may pass: a secret that could not be fetched, or
/// one that was written only now.
const PAUSE: Duration = Duration::from_secs(5);

type Build<E> = Box<dyn Fn(Arc<Database>) -> BoxFuture<'static, Result<E, Error>> + Send + Sync>;

/// An endpoint, and how to build it.
pub(crate) struct Configured<E> {
    endpoint: OnceCell<E>,
    database: Result<Arc<Database>, Error>,
    build: Build<E>,
    failure: Mutex<Option<Failure>>,
}

/// What building came to the last time.
struct Failure {
    at: Instant,
    cause: String,
}

impl<E: Endpoint> Configured<E> {
    /// An endpoint that is not built yet, on the database that is configured.
    pub(crate) fn new(
        database: Result<Arc<Database>, Error>,
        build: impl Fn(Arc<Database>) -> BoxFuture<'static, Result<E, Error>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            endpoint: OnceCell::new(),
            database,
            build: Box::new(build),
            failure: Mutex::default(),
        }
    }

    /// Builds the endpoint. A failure is logged, once for each reason, and tried again later.
    pub(crate) async fn prepare(&self) {
        let built = async {
            let database = self
                .database
                .as_ref()
                .map_err(|error| with_causes(&**error))?;
            let built = (self.build)(Arc::clone(database)).await;
            built.map_err(|error| with_causes(&*error))
        };
        if let Err(cause) = self.endpoint.get_or_try_init(|| built).await {
            let at = Instant::now();
            let earlier = self.failure().replace(Failure {
                at,
                cause: cause.clone(),
            });
            if earlier.is_none_or(|earlier| earlier.cause != cause) {
                tracing::error!(cause, "the function is not configured");
            }
        }
    }

    async fn endpoint(&self) -> Option<&E> {
        let may_try = || {
            let failure = self.failure();
            let recent = |failure: &Failure| failure.at.elapsed() < PAUSE;
            self.database.is_ok() && !failure.as_ref().is_some_and(recent)
        };
        if !self.endpoint.initialized() && may_try() {
            self.prepare().await;
        }
        self.endpoint.get()
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Endpoint> Endpoint for Configured<E> {
    const NAME: &'static str = E::NAME;
    const ROUTE: Route = E::ROUTE;

    /// # Errors
    /// [`Problem::NotConfigured`], or what the endpoint answers.
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        match self.endpoint().await {
            // Boxed, because the futures of some endpoints are too deep for the compiler otherwise.
            Some(endpoint) => endpoint.handle(request).boxed().await,
            None => Err(Problem::NotConfigured),
        }
    }
}
