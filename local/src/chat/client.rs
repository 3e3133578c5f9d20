//! The requests of a conversation, over HTTP: what any client of the API sends.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::events::Events;
use super::failure::Failure;
use crate::error::LocalError;

/// Timeout for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be silent. The server sends a comment every 15 s, so after this time it is gone.
const SILENCE: Duration = Duration::from_secs(45);

/// The API at an address.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
}

/// A message that was said before.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    /// `user` or `assistant`.
    pub(super) role: String,
    /// The text.
    pub(super) content: String,
}

impl Client {
    /// The API at this address, for a caller with this token.
    pub(super) fn new(base: Url, token: Option<&str>) -> Result<Self, LocalError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| LocalError::new("DAISSY_TOKEN has characters that no token has"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE)
            // A redirect would take the token and the conversation to another address.
            .redirect(Policy::none())
            .default_headers(headers);
        if is_loopback(&base) {
            // No proxy reaches this machine's own addresses.
            http = http.no_proxy();
        }
        let http = http
            .build()
            .map_err(|error| LocalError::new(error.to_string()))?;
        Ok(Self { http, base })
    }

    /// Asks a question, or asks for the same one again. A session that is not known yet follows from the id of the
    /// question. Returns the events of its turn, from the beginning.
    pub(super) async fn ask(
        &self,
        session_id: Option<Uuid>,
        message_id: Uuid,
        query: &str,
    ) -> Result<Events, Failure> {
        let mut body = json!({ "query": query, "message_id": message_id });
        if let Some(session_id) = session_id {
            body["session_id"] = json!(session_id);
        }
        let request = self
            .http
            .post(self.address(&["chat", "stream"]))
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        events(send(request).await?).ok_or_else(Failure::unexpected)
    }

    /// Takes a turn up again after the event with this id, or from its beginning. Without the id of a question the
    /// turn in progress is meant; `None` if there is none.
    pub(super) async fn resume(
        &self,
        session_id: Uuid,
        message_id: Option<Uuid>,
        last_event_id: Option<&str>,
    ) -> Result<Option<Events>, Failure> {
        let mut address = self.address(&["chat", "stream", &session_id.to_string()]);
        name_message(&mut address, message_id);
        let mut request = self.http.get(address);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = send(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        events(response).map(Some).ok_or_else(Failure::unexpected)
    }

    /// Ends the answer to this question where it is.
    pub(super) async fn stop(&self, session_id: Uuid, message_id: Uuid) -> Result<(), Failure> {
        let mut address = self.address(&["chat", "stop"]);
        let session = session_id.to_string();
        address
            .query_pairs_mut()
            .append_pair("session_id", &session);
        name_message(&mut address, Some(message_id));
        send(self.http.post(address)).await.map(drop)
    }

    /// The last messages of a session, oldest first.
    pub(super) async fn last_messages(
        &self,
        session_id: Uuid,
        count: usize,
    ) -> Result<Vec<Said>, Failure> {
        #[derive(Deserialize)]
        struct Page {
            history: Vec<Said>,
        }
        let mut address = self.address(&["chat", "history", &session_id.to_string()]);
        let query = format!("order=desc&limit={count}");
        address.set_query(Some(&query));
        let body = send(self.http.get(address)).await?.bytes().await;
        let body = body.map_err(|error| Failure::unreachable(&error))?;
        let page: Result<Page, _> = serde_json::from_slice(&body);
        let mut said = page.map_err(|_| Failure::unexpected())?.history;
        said.reverse();
        Ok(said)
    }

    fn address(&self, parts: &[&str]) -> Url {
        let mut address = self.base.clone();
        // An address with a host has a path, which was seen to when it was read.
        if let Ok(mut path) = address.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        address
    }
}

/// Whether an address is one of this machine.
pub(super) fn is_loopback(address: &Url) -> bool {
    let host = address.host_str().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || ip.is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn name_message(address: &mut Url, message_id: Option<Uuid>) {
    if let Some(id) = message_id {
        let mut query = address.query_pairs_mut();
        query.append_pair("message_id", &id.to_string());
    }
}

async fn send(request: RequestBuilder) -> Result<Response, Failure> {
    let response = request
        .send()
        .await
        .map_err(|error| Failure::unreachable(&error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let headers = response.headers().clone();
    let body = response.bytes().await.unwrap_or_default();
    Err(Failure::of_answer(status, &headers, &body))
}

/// The events in an answer; `None` if it is no stream of events, as from something else at this address.
fn events(response: Response) -> Option<Events> {
    let kind = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    kind.starts_with("text/event-stream")
        .then(|| Events::of(response))
}
