//! `POST /chat/reset`: closes a session, keeps its record, and opens a new one.

use serde::Serialize;
use shared::http::endpoint::{Endpoint, Reply};
use shared::http::request::Request;
use shared::http::route::Route;
use shared::ids::new_id;
use shared::observed;
use shared::problem::Problem;
use shared::store::Store;
use shared::store::sessions;
use uuid::Uuid;

/// The function.
#[derive(Debug)]
pub struct Reset {
    store: Store,
}

#[derive(Serialize)]
struct ResetReply {
    success: bool,
    message: &'static str,
    session_id: Option<Uuid>,
    new_session_id: Uuid,
}

impl Reset {
    /// The function on a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Endpoint for Reset {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ROUTES: &'static [Route] = &[Route::post("/chat/reset")];

    /// # Errors
    /// [`Problem::InvalidRequest`], [`Problem::SessionNotFound`].
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        let session_id = request.query_id("session_id")?;
        request.refuse_in_body("session_id")?;
        let (store, caller) = (&self.store, request.caller());

        let new_session_id = new_id();
        observed::session(session_id.unwrap_or(new_session_id));
        match session_id {
            Some(session_id) => {
                sessions::reset(store, caller, session_id, new_session_id).await?;
            }
            None => sessions::open(store, caller, new_session_id).await?,
        }

        Reply::json(&ResetReply {
            success: true,
            message: match session_id {
                Some(_) => "Conversation history cleared. Ready for new consultation session.",
                None => {
                    "No session was named, so none was closed. Ready for new consultation session."
                }
            },
            session_id,
            new_session_id,
        })
    }
}
