//! A request as a handler sees it: typed values, the caller, and the deadline.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use lambda_http::http::header::{AsHeaderName, CONTENT_TYPE, HeaderMap};
use lambda_http::{Body, Context, RequestExt};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;
use uuid::Uuid;

use crate::caller::{Caller, Permissions, REQUEST_TIMEOUT, time_until};
use crate::http::body::{JsonBody, parse_id};
use crate::http::identity;
use crate::http::route::Route;
use crate::ids::{legacy_id, new_id};
use crate::problem::Problem;

/// The longest body that is accepted, in bytes.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// Timeout for a request, which a server other than Lambda puts into its extensions.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimit(pub Duration);

/// The part of the time before a Lambda deadline that is reserved for writing the answer.
const DEADLINE_RESERVE: Duration = Duration::from_millis(500);

/// A request to one endpoint.
#[derive(Debug)]
pub struct Request {
    route: &'static Route,
    caller: Caller,
    /// When a Lambda environment ends the request.
    environment_ends: Option<Instant>,
    path_parameters: Vec<String>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    /// Reads a request for `route` with these values for the parameters in its path.
    ///
    /// # Errors
    /// [`Problem::PayloadTooLarge`], [`Problem::Unauthorized`].
    pub fn read(
        route: &'static Route,
        path_parameters: Vec<String>,
        request: lambda_http::Request,
    ) -> Result<Self, Problem> {
        let environment_ends = environment_end(&request);
        let caller = Caller {
            owner: identity::owner(&request)?,
            permissions: permissions(&request),
            deadline: environment_ends.unwrap_or_else(|| Instant::now() + time_limit(&request)),
        };
        let query = request.uri().query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let (parts, body) = request.into_parts();
        let body = match body {
            Body::Text(text) => text.into_bytes(),
            Body::Binary(bytes) => bytes,
            // Includes future variants: a body that this version cannot read counts as empty.
            _ => Vec::new(),
        };
        if body.len() > MAX_BODY_BYTES {
            return Err(Problem::PayloadTooLarge(MAX_BODY_BYTES));
        }
        Ok(Self {
            route,
            caller,
            environment_ends,
            path_parameters,
            query,
            headers: parts.headers,
            body,
        })
    }

    /// The route that was called, one of the function's.
    #[must_use]
    pub fn route(&self) -> &'static Route {
        self.route
    }

    /// The caller and the deadline.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The caller, if it may ask for more than sessions whose ids it knows.
    ///
    /// # Errors
    /// [`Problem::Forbidden`].
    pub fn caller_of_many(&self) -> Result<&Caller, Problem> {
        if self.caller.may_list() {
            return Ok(&self.caller);
        }
        Err(Problem::Forbidden(format!(
            "This installation cannot tell its callers apart, so it lists no sessions; name one by \
             its id, or set {}=true",
            Permissions::ANONYMOUS_SEES_ALL
        )))
    }

    /// The id in the path under this name of the route.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`] when it is not a UUID, and old ids are not taken.
    pub fn path_id(&self, name: &'static str) -> Result<Uuid, Problem> {
        let segments = self.route.path.split('/');
        let names = segments.filter(|segment| segment.starts_with('{'));
        let value = names
            .zip(&self.path_parameters)
            .find(|(segment, _)| segment.trim_matches(['{', '}']) == name);
        self.id(name, value.map_or("", |(_, value)| value.as_str()))
    }

    /// An id in the query string, if it is given.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`].
    pub fn query_id(&self, name: &'static str) -> Result<Option<Uuid>, Problem> {
        self.query_value(name)?
            .map(|text| self.id(name, text))
            .transpose()
    }

    /// An id as this installation takes it. A setting says so and not the database, because asking would
    /// cost a round trip, and because old ids stay in use when the old tables are long gone.
    fn id(&self, name: &'static str, text: &str) -> Result<Uuid, Problem> {
        if self.caller.permissions.legacy_ids && !text.is_empty() {
            return Ok(legacy_id(text));
        }
        parse_id(name, text)
    }

    /// An id that is required in the query string.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`].
    pub fn required_query_id(&self, name: &'static str) -> Result<Uuid, Problem> {
        self.query_id(name)?
            .ok_or_else(|| Problem::InvalidRequest(format!("`{name}` is required")))
    }

    /// A number within `range` in the query string, if it is given.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`].
    pub fn query_number<T>(
        &self,
        name: &'static str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, Problem>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.query_value(name)? else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(Problem::InvalidRequest(format!(
                "`{name}` must be a whole number from {} to {}",
                range.start(),
                range.end()
            ))),
        }
    }

    /// A time in the query string, if it is given.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`].
    pub fn query_time(&self, name: &'static str) -> Result<Option<OffsetDateTime>, Problem> {
        let Some(text) = self.query_value(name)? else {
            return Ok(None);
        };
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
            Problem::InvalidRequest(format!(
                "`{name}` must be a time such as 2026-01-31T12:00:00Z; a `+` in it is written %2B"
            ))
        })?;
        Ok(Some(time))
    }

    /// A value in the query string, decoded, if it is given.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`] when it is given more than once: which one was meant is a guess.
    pub fn query_value(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut values = self
            .query
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value);
        let value = values.next();
        if values.next().is_some() {
            return Err(Problem::InvalidRequest(format!(
                "`{name}` is given more than once"
            )));
        }
        Ok(value.map(String::as_str))
    }

    /// A header's value, if it is given.
    #[must_use]
    pub fn header(&self, name: impl AsHeaderName) -> Option<Cow<'_, str>> {
        let value = self.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()))
    }

    /// The caller with this much time for the request instead, if the environment lasts that long.
    #[must_use]
    pub fn caller_for(&self, time: Duration) -> Caller {
        let deadline = Instant::now() + time;
        Caller {
            deadline: match self.environment_ends {
                Some(end) => deadline.min(end),
                None => deadline,
            },
            ..self.caller.clone()
        }
    }

    /// Refuses a body with a field that belongs in the query string: ignoring it would do something
    /// other than the caller asked for.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`].
    pub fn refuse_in_body(&self, name: &'static str) -> Result<(), Problem> {
        let fields = JsonBody::parse(&self.body);
        if fields.is_ok_and(|fields| fields.contains(name)) {
            return Err(Problem::InvalidRequest(format!(
                "`{name}` belongs in the query string, not in the body"
            )));
        }
        Ok(())
    }

    /// The JSON object in the body.
    ///
    /// # Errors
    /// [`Problem::UnsupportedMediaType`], [`Problem::InvalidJson`].
    pub fn fields(&self) -> Result<JsonBody, Problem> {
        if let Some(content_type) = self.header(CONTENT_TYPE) {
            let media_type = content_type.split(';').next().unwrap_or_default().trim();
            if !media_type.eq_ignore_ascii_case("application/json") {
                return Err(Problem::UnsupportedMediaType);
            }
        }
        JsonBody::parse(&self.body)
    }
}

/// The id under which a request is answered and logged: Lambda's, or a new one elsewhere.
#[must_use]
pub fn request_id(request: &lambda_http::Request) -> String {
    request
        .lambda_context_ref()
        .map_or_else(new_request_id, request_id_in)
}

/// The id of an invocation, or a new one if Lambda gave none.
pub(crate) fn request_id_in(context: &Context) -> String {
    match context.request_id.as_str() {
        "" => new_request_id(),
        id => id.to_owned(),
    }
}

/// An id for a request without one from Lambda.
#[must_use]
pub fn new_request_id() -> String {
    new_id().to_string()
}

/// What the server put into the extensions, else nothing.
fn permissions(request: &lambda_http::Request) -> Permissions {
    let permissions = request.extensions().get::<Permissions>();
    permissions.copied().unwrap_or_default()
}

fn environment_end(request: &lambda_http::Request) -> Option<Instant> {
    let limit = time_until(request.lambda_context_ref()?.deadline)?;
    Some(Instant::now() + limit.saturating_sub(DEADLINE_RESERVE))
}

/// The time for a request where no environment ends it.
fn time_limit(request: &lambda_http::Request) -> Duration {
    let limit = request.extensions().get::<RequestLimit>();
    limit.map_or(REQUEST_TIMEOUT, |RequestLimit(limit)| *limit)
}
