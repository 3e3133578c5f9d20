//! `GET /chat/status`: statistics of a session; without one, the state of the service.

use serde::Serialize;
use shared::http::endpoint::{Endpoint, Reply};
use shared::http::request::Request;
use shared::http::route::Route;
use shared::observed;
use shared::problem::Problem;
use shared::store::Store;
use shared::store::sessions::{self, Statistics};
use uuid::Uuid;

/// The function.
#[derive(Debug)]
pub struct Status {
    store: Store,
}

#[derive(Serialize)]
struct SessionReply {
    success: bool,
    session_id: Uuid,
    conversation_length: i64,
    status: &'static str,
    session_stats: Statistics,
}

#[derive(Serialize)]
struct ServiceReply {
    success: bool,
    session_id: Option<Uuid>,
    conversation_length: i64,
    status: &'static str,
    service: Service,
}

#[derive(Serialize)]
struct Service {
    database: &'static str,
    schema_version: i32,
    version: &'static str,
}

impl Status {
    /// The function on a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Endpoint for Status {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ROUTES: &'static [Route] = &[Route::get("/chat/status")];

    /// # Errors
    /// [`Problem::InvalidRequest`], [`Problem::SessionNotFound`], or a database problem that says
    /// why the service cannot be used.
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        let (store, caller) = (&self.store, request.caller());

        let Some(session_id) = request.query_id("session_id")? else {
            let schema_version = sessions::schema_version(store, caller).await?;
            return Reply::json(&ServiceReply {
                success: true,
                session_id: None,
                conversation_length: 0,
                status: "new_session",
                service: Service {
                    database: "ok",
                    schema_version,
                    version: shared::VERSION,
                },
            });
        };

        observed::session(session_id);
        let statistics = sessions::statistics(store, caller, session_id).await?;
        Reply::json(&SessionReply {
            success: true,
            session_id,
            conversation_length: statistics.message_count,
            status: sessions::state(statistics.is_active, statistics.message_count),
            session_stats: statistics,
        })
    }
}
