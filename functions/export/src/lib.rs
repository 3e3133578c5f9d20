//! `GET /chat/export`: the sessions of a caller, or one of them, as JSON Lines or Markdown.

mod markdown;

use form_urlencoded::Serializer;
use shared::http::cursor;
use shared::http::endpoint::{Endpoint, Reply};
use shared::http::request::Request;
use shared::http::route::Route;
use shared::observed;
use shared::problem::Problem;
use shared::store::Store;
use shared::store::export::{self, Item, Place};

/// The function.
#[derive(Debug)]
pub struct Export {
    store: Store,
}

#[derive(Clone, Copy)]
enum Format {
    JsonLines,
    Markdown,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Markdown => "markdown",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/x-ndjson",
            Self::Markdown => "text/markdown; charset=utf-8",
        }
    }

    fn write(self, item: &Item<'_>) -> Result<String, Problem> {
        match self {
            Self::JsonLines => export::json_line(item, None),
            Self::Markdown => Ok(markdown::part(item)),
        }
    }
}

impl Export {
    /// The function on a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Endpoint for Export {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ROUTES: &'static [Route] = &[Route::get("/chat/export")];

    /// # Errors
    /// [`Problem::InvalidRequest`], [`Problem::InvalidCursor`], [`Problem::Forbidden`],
    /// [`Problem::SessionNotFound`].
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        let session_id = request.query_id("session_id")?;
        let caller = match session_id {
            None => request.caller_of_many()?,
            Some(session_id) => {
                observed::session(session_id);
                request.caller()
            }
        };
        let format = match request.query_value("format")? {
            None | Some("jsonl") => Format::JsonLines,
            Some("markdown") => Format::Markdown,
            Some(_) => {
                return Err(Problem::InvalidRequest(
                    "`format` must be `jsonl` or `markdown`".into(),
                ));
            }
        };
        let after = after(&request)?;

        let page = export::page(&self.store, caller, session_id, after, |item| {
            format.write(item)
        })
        .await?;

        let next = page.next.map(|place| {
            let mut query = Serializer::new(String::new());
            query.append_pair("format", format.name());
            if let Some(session_id) = session_id {
                query.append_pair("session_id", &session_id.to_string());
            }
            let cursor = cursor::encode_export(place.created_us, place.session_id, place.seq);
            query.append_pair("after", &cursor).finish()
        });
        Ok(Reply::text(format.content_type(), page.text).with_next(next))
    }
}

fn after(request: &Request) -> Result<Option<Place>, Problem> {
    let Some(text) = request.query_value("after")? else {
        return Ok(None);
    };
    cursor::decode_export(text)
        .map(|(created_us, session_id, seq)| Place {
            created_us,
            session_id,
            seq,
        })
        .filter(|place| place.is_possible())
        .map(Some)
        .ok_or(Problem::InvalidCursor("after"))
}
