//! `/chat/sessions`: the sessions of a caller, in a list and one by one, and feedback on answers.

use serde::Serialize;
use shared::caller::Permissions;
use shared::http::cursor;
use shared::http::endpoint::{Endpoint, Reply};
use shared::http::request::Request;
use shared::http::route::Route;
use shared::observed;
use shared::problem::Problem;
use shared::store::Store;
use shared::store::feedback;
use shared::store::listing::{self, Archived, Change, Filter, Position, Session};
use shared::store::messages::Feedback;
use uuid::Uuid;

const LIST: Route = Route::get("/chat/sessions");
const FIND: Route = Route::get("/chat/sessions/{session_id}");
const CHANGE: Route = Route::patch("/chat/sessions/{session_id}");
const ERASE: Route = Route::delete("/chat/sessions/{session_id}");
const FEEDBACK: Route = Route::put("/chat/sessions/{session_id}/messages/{message_id}/feedback");

/// The greatest `limit` a caller may ask for.
const MAX_LIMIT: i64 = 100;

const DEFAULT_LIMIT: i64 = 20;

/// In characters.
const MAX_TITLE: usize = 200;

/// In bytes of JSON.
const MAX_METADATA: usize = 16 * 1024;

/// In characters.
const MAX_COMMENT: usize = 2000;

/// The function.
#[derive(Debug)]
pub struct Sessions {
    store: Store,
}

#[derive(Serialize)]
struct ListReply {
    success: bool,
    sessions: Vec<Session>,
    has_more: bool,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct EraseReply {
    success: bool,
    session_id: Uuid,
    erased_messages: i64,
}

#[derive(Serialize)]
struct FeedbackReply<'a> {
    success: bool,
    session_id: Uuid,
    message_id: Uuid,
    feedback: Option<Feedback<'a>>,
}

impl Sessions {
    /// The function on a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    async fn list(&self, request: &Request) -> Result<Reply, Problem> {
        let caller = request.caller_of_many()?;
        let (filter, after) = (filter(request)?, after(request)?);
        let limit = request
            .query_number("limit", 1..=MAX_LIMIT)?
            .unwrap_or(DEFAULT_LIMIT);
        let (sessions, has_more) = listing::list(&self.store, caller, filter, after, limit).await?;
        let last = sessions.last().filter(|_| has_more);
        let next = last.and_then(|session| session.position);
        Reply::json(&ListReply {
            success: true,
            has_more,
            next_cursor: next.map(
                |Position {
                     last_used_us,
                     session_id,
                 }| { cursor::encode_timed(last_used_us, session_id) },
            ),
            sessions,
        })
    }

    async fn change(&self, request: &Request, session_id: Uuid) -> Result<Reply, Problem> {
        let change = change(request)?;
        Reply::json(&listing::change(&self.store, request.caller(), session_id, &change).await?)
    }

    async fn erase(&self, request: &Request, session_id: Uuid) -> Result<Reply, Problem> {
        let caller = request.caller();
        if !caller.permissions.callers_may_erase {
            return Err(Problem::Forbidden(format!(
                "Callers may not erase sessions here; its operator can, or allows it with {}=true",
                Permissions::CALLERS_MAY_ERASE
            )));
        }
        Reply::json(&EraseReply {
            success: true,
            session_id,
            erased_messages: listing::erase(&self.store, caller, session_id).await?,
        })
    }

    async fn feedback(&self, request: &Request, session_id: Uuid) -> Result<Reply, Problem> {
        let message_id = request.path_id("message_id")?;
        let fields = request.fields()?;
        if !fields.contains("rating") {
            return Err(Problem::InvalidRequest(
                "`rating` is required: `up`, `down`, or null to take it back".into(),
            ));
        }
        let rating = fields.optional_text("rating", MAX_COMMENT)?;
        let comment = fields.optional_text("comment", MAX_COMMENT)?;
        let given = match rating.as_deref() {
            None => None,
            Some(rating @ ("up" | "down")) => Some((rating, comment.as_deref())),
            Some(_) => {
                return Err(Problem::InvalidRequest(
                    "`rating` must be `up`, `down` or null".into(),
                ));
            }
        };
        feedback::give(&self.store, request.caller(), session_id, message_id, given).await?;
        Reply::json(&FeedbackReply {
            success: true,
            session_id,
            message_id,
            feedback: given.map(|(rating, comment)| Feedback { rating, comment }),
        })
    }
}

impl Endpoint for Sessions {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ROUTES: &'static [Route] = &[LIST, FIND, CHANGE, ERASE, FEEDBACK];

    /// # Errors
    /// [`Problem::InvalidRequest`], [`Problem::InvalidCursor`], [`Problem::Forbidden`],
    /// [`Problem::SessionNotFound`], [`Problem::MessageNotFound`].
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        let route = *request.route();
        if route == LIST {
            return self.list(&request).await;
        }
        let session_id = request.path_id("session_id")?;
        observed::session(session_id);
        match route {
            CHANGE => self.change(&request, session_id).await,
            ERASE => self.erase(&request, session_id).await,
            FEEDBACK => self.feedback(&request, session_id).await,
            _ => Reply::json(&listing::find(&self.store, request.caller(), session_id).await?),
        }
    }
}

fn filter(request: &Request) -> Result<Filter, Problem> {
    let invalid = |sentence: &str| Err(Problem::InvalidRequest(sentence.into()));
    Ok(Filter {
        archived: match request.query_value("archived")? {
            None | Some("false") => Archived::False,
            Some("true") => Archived::True,
            Some("all") => Archived::All,
            Some(_) => return invalid("`archived` must be `false`, `true` or `all`"),
        },
        pinned: match request.query_value("pinned")? {
            None => false,
            Some("true") => true,
            Some(_) => return invalid("`pinned` must be `true`, or left out"),
        },
    })
}

fn after(request: &Request) -> Result<Option<Position>, Problem> {
    let Some(text) = request.query_value("after")? else {
        return Ok(None);
    };
    cursor::decode_timed(text)
        .map(|(last_used_us, session_id)| Position {
            last_used_us,
            session_id,
        })
        .filter(|position| position.is_possible())
        .map(Some)
        .ok_or(Problem::InvalidCursor("after"))
}

fn change(request: &Request) -> Result<Change, Problem> {
    let fields = request.fields()?;
    let title = fields.optional_text("title", MAX_TITLE)?;
    let metadata = fields.optional_object("metadata", MAX_METADATA)?;
    Ok(Change {
        title: fields.contains("title").then_some(title),
        pinned: fields.optional_flag("pinned")?,
        archived: fields.optional_flag("archived")?,
        metadata: fields.contains("metadata").then_some(metadata),
    })
}
