//! `POST /chat/load-session`: continues a session, or a copy of it from any point.

use serde::Serialize;
use serde_json::value::RawValue;
use shared::http::endpoint::{Endpoint, Reply};
use shared::http::request::Request;
use shared::http::route::Route;
use shared::ids::new_id;
use shared::observed;
use shared::problem::Problem;
use shared::store::Store;
use shared::store::links::Links;
use shared::store::sessions;
use uuid::Uuid;

/// The function.
#[derive(Debug)]
pub struct LoadSession {
    store: Store,
    links: Links,
}

#[derive(Serialize)]
struct LoadSessionReply {
    success: bool,
    session_id: Uuid,
    conversation_length: i64,
    message: String,
    forked_from: Option<Origin>,
    history: Vec<Box<RawValue>>,
}

/// The session and message that a session is a copy of.
#[derive(Serialize)]
struct Origin {
    session_id: Uuid,
    message_id: Uuid,
}

impl LoadSession {
    /// The function on a store.
    #[must_use]
    pub fn new(store: Store, links: Links) -> Self {
        Self { store, links }
    }
}

impl Endpoint for LoadSession {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ROUTES: &'static [Route] = &[Route::post("/chat/load-session")];

    /// # Errors
    /// [`Problem::InvalidRequest`], [`Problem::SessionNotFound`], [`Problem::MessageNotFound`].
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        let session_id = request.required_query_id("session_id")?;
        observed::session(session_id);
        let at = request.query_id("at")?;
        request.refuse_in_body("at")?;
        let (store, links, caller) = (&self.store, &self.links, request.caller());

        let Some(message_id) = at else {
            let resumed = sessions::resume(store, links, caller, session_id).await?;
            return Reply::json(&LoadSessionReply {
                success: true,
                session_id,
                conversation_length: resumed.message_count,
                message: format!("Loaded session {session_id}"),
                forked_from: None,
                history: resumed.recent,
            });
        };

        let copy_id = new_id();
        let copy = sessions::fork(store, links, caller, session_id, message_id, copy_id).await?;
        Reply::json(&LoadSessionReply {
            success: true,
            session_id: copy_id,
            conversation_length: copy.message_count,
            message: format!("Loaded session {session_id} up to message {message_id} as a copy"),
            forked_from: Some(Origin {
                session_id,
                message_id,
            }),
            history: copy.recent,
        })
    }
}
