//! `GET /chat/history/{session_id}`: the messages of a session so far.

use serde::Serialize;
use serde_json::value::RawValue;
use shared::http::cursor;
use shared::http::endpoint::{Endpoint, Reply};
use shared::http::request::Request;
use shared::http::route::Route;
use shared::observed;
use shared::problem::Problem;
use shared::store::Store;
use shared::store::links::Links;
use shared::store::messages::{self, Page};
use uuid::Uuid;

/// The greatest `limit` a caller may ask for.
const MAX_LIMIT: i64 = 1000;

/// The function.
#[derive(Debug)]
pub struct History {
    store: Store,
    links: Links,
}

#[derive(Serialize)]
struct HistoryReply {
    success: bool,
    session_id: Uuid,
    history: Vec<Box<RawValue>>,
    message_count: i64,
    has_more: bool,
    next_cursor: Option<String>,
}

impl History {
    /// The function on a store.
    #[must_use]
    pub fn new(store: Store, links: Links) -> Self {
        Self { store, links }
    }
}

impl Endpoint for History {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ROUTES: &'static [Route] = &[Route::get("/chat/history/{session_id}")];

    /// # Errors
    /// [`Problem::InvalidRequest`], [`Problem::InvalidCursor`], [`Problem::SessionNotFound`].
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        let session_id = request.path_id("session_id")?;
        observed::session(session_id);
        let page = page(&request, session_id)?;

        let (store, links, caller) = (&self.store, &self.links, request.caller());
        let history = messages::history(store, links, caller, session_id, page).await?;

        let last_seq = history.last_seq.filter(|_| history.has_more);
        Reply::json(&HistoryReply {
            success: true,
            session_id,
            message_count: history.message_count,
            has_more: history.has_more,
            next_cursor: last_seq.map(|seq| cursor::encode(session_id, seq)),
            history: history.messages,
        })
    }
}

fn page(request: &Request, session_id: Uuid) -> Result<Page, Problem> {
    let place = |name: &'static str| match request.query_value(name)? {
        None => Ok(None),
        Some(text) => cursor::decode(session_id, text)
            .map(Some)
            .ok_or(Problem::InvalidCursor(name)),
    };
    let descending = match request.query_value("order")? {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => {
            return Err(Problem::InvalidRequest(
                "`order` must be `asc` or `desc`".into(),
            ));
        }
    };
    Ok(Page {
        after: place("after")?,
        before: place("before")?,
        limit: request.query_number("limit", 1..=MAX_LIMIT)?,
        descending,
    })
}
