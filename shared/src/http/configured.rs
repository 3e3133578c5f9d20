//! An endpoint that works as soon as its settings do; until then, callers get an error.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use lambda_http::{BoxFuture, Error};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use crate::causes::with_causes;
use crate::database::Database;
use crate::http::endpoint::{Endpoint, Reply};
use crate::http::request::Request;
use crate::http::route::Route;
use crate::problem::Problem;

/// The pause before building is retried. A failure may be temporary: a secret that could not be
/// fetched, or one that has only just been written.
const PAUSE: Duration = Duration::from_secs(5);

type Build<E> = Box<dyn Fn(Arc<Database>) -> BoxFuture<'static, Result<E, Error>> + Send + Sync>;

/// An endpoint, and how to build it.
pub(crate) struct Configured<E> {
    endpoint: OnceCell<E>,
    database: Result<Arc<Database>, Error>,
    build: Build<E>,
    failure: Mutex<Option<Failure>>,
}

/// No endpoint could be built; the log says why.
struct NotBuilt;

/// The last failure to build. Timed by the wall clock: monotonic clocks stand still while the
/// environment is frozen, and the cause may have been fixed long since.
struct Failure {
    at: SystemTime,
    cause: String,
}

impl<E: Endpoint> Configured<E> {
    /// An endpoint that is not built yet, on the configured database.
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

    /// Builds the endpoint. A failure is logged, once for each cause, and retried later.
    pub(crate) async fn prepare(&self) {
        let _ = self.endpoint.get_or_try_init(|| self.build()).await;
    }

    /// Builds the endpoint, or reports that it cannot be built now; callers who waited for a
    /// failure share it.
    async fn build(&self) -> Result<E, NotBuilt> {
        if self.has_just_failed() {
            return Err(NotBuilt);
        }
        let built = match &self.database {
            Ok(database) => (self.build)(Arc::clone(database)).await,
            Err(error) => Err(with_causes(&**error).into()),
        };
        built.map_err(|error| {
            let cause = with_causes(&*error);
            let failure = Failure {
                at: SystemTime::now(),
                cause: cause.clone(),
            };
            let earlier = self.failure().replace(failure);
            if earlier.is_none_or(|earlier| earlier.cause != cause) {
                tracing::error!(cause, "the function is not configured");
            }
            NotBuilt
        })
    }

    async fn endpoint(&self, deadline: Instant) -> Option<&E> {
        // A mistake in the database's own settings is permanent.
        if !self.endpoint.initialized() && self.database.is_ok() {
            let _ = timeout_at(deadline, self.prepare()).await;
        }
        self.endpoint.get()
    }

    fn has_just_failed(&self) -> bool {
        let recent = |failure: &Failure| failure.at.elapsed().is_ok_and(|age| age < PAUSE);
        self.failure().as_ref().is_some_and(recent)
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Endpoint> Endpoint for Configured<E> {
    const NAME: &'static str = E::NAME;
    const ROUTES: &'static [Route] = E::ROUTES;

    /// # Errors
    /// [`Problem::NotConfigured`], or what the endpoint answers.
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        match self.endpoint(request.caller().deadline).await {
            // Boxed: the futures of some endpoints otherwise nest too deeply for the compiler.
            Some(endpoint) => endpoint.handle(request).boxed().await,
            None => Err(Problem::NotConfigured),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::database::DatabaseConfig;

    struct Ready;

    impl Endpoint for Ready {
        const NAME: &'static str = "ready";
        const ROUTES: &'static [Route] = &[Route::get("/ready")];

        async fn handle(&self, _: Request) -> Result<Reply, Problem> {
            Err(Problem::SessionBusy)
        }
    }

    #[tokio::test]
    async fn a_failure_is_shared_for_a_while_and_then_tried_again() {
        static BUILDS: AtomicUsize = AtomicUsize::new(0);
        let config = DatabaseConfig::parse("postgresql://u@127.0.0.1:1/d").unwrap();
        let database = Arc::new(Database::new(config));
        let configured = Configured::new(Ok(database), |_| {
            Box::pin(async {
                tokio::task::yield_now().await;
                match BUILDS.fetch_add(1, Ordering::Relaxed) {
                    0 => Err("the secret cannot be fetched".into()),
                    _ => Ok(Ready),
                }
            })
        });
        let soon = Instant::now() + Duration::from_secs(20);

        let callers = (0..8).map(|_| configured.endpoint(soon));
        let found = futures_util::future::join_all(callers).await;
        assert!(found.iter().all(Option::is_none));
        assert_eq!(BUILDS.load(Ordering::Relaxed), 1);

        // The environment was frozen meanwhile.
        if let Some(failure) = &mut *configured.failure() {
            failure.at -= PAUSE;
        }
        assert!(configured.endpoint(soon).await.is_some());
        assert_eq!(BUILDS.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn building_takes_no_longer_than_the_caller_waits() {
        let config = DatabaseConfig::parse("postgresql://u@127.0.0.1:1/d").unwrap();
        let database = Arc::new(Database::new(config));
        let configured =
            Configured::<Ready>::new(Ok(database), |_| Box::pin(std::future::pending()));
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(configured.endpoint(soon).await.is_none());
    }
}
