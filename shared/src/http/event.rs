//! Reads events of API Gateway and of function URLs as requests, and writes answers in their form.
//!
//! Events are read member by member from JSON that may contain anything: the SDKs' types reject a
//! whole event for one odd member, and `lambda_http` panics on addresses that `http::Uri` does not
//! accept.
//!
//! Formats: AWS documentation, "Create AWS Lambda proxy integrations for HTTP APIs" (payload 2.0,
//! which function URLs also use) and "Input format of a Lambda function for proxy integration"
//! (REST APIs).

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lambda_http::http::header::{HeaderMap, HeaderName, HeaderValue};
use lambda_http::http::{Method, Uri};
use lambda_http::{Body as RequestBody, Request, Response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::http::response::Body;
use crate::problem::Problem;

/// The characters escaped in a path; a percent sign already is an escape. More than `http::Uri`
/// rejects, but none that a URL may contain as they are (RFC 3986, section 3.3).
const PATH: &AsciiSet = &QUERY.add(b'?').add(b'`').add(b'{').add(b'}');

/// The characters escaped in a query string. Function URLs pass a `+` on as a space.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// The `requestContext` of an event, unchanged. Kept in the extensions of the request.
#[derive(Debug, Clone)]
pub enum RequestContext {
    /// From an HTTP API or a function URL.
    HttpApi(Value),
    /// From a REST API.
    RestApi(Value),
}

impl RequestContext {
    /// The context that an HTTP API with a JWT authorizer sends for a token with these claims.
    #[must_use]
    pub fn of_jwt(claims: Map<String, Value>) -> Self {
        Self::HttpApi(json!({ "authorizer": { "jwt": { "claims": claims } } }))
    }
}

/// The kinds of API that send events, each with its own members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// An HTTP API, or a function URL.
    Http,
    /// A REST API.
    Rest,
}

impl Api {
    /// The kind of API an event comes from; a REST API if the event does not say.
    pub(crate) fn of(event: &Value) -> Self {
        if event["requestContext"]["http"].is_object() {
            Self::Http
        } else {
            Self::Rest
        }
    }
}

/// The answer to an event, in the form its API expects.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventResponse {
    /// The status.
    pub status_code: u16,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The body, which is text.
    pub body: String,
    is_base64_encoded: bool,
    /// We set none. The answer to an HTTP API still has this member, because cargo-lambda's
    /// emulator requires it; the answer to a REST API does not, because that returns 502 for
    /// members it does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    cookies: Option<[String; 0]>,
}

/// Reads an event.
///
/// # Errors
/// [`Problem::InvalidRequest`] if it is not an event of an API, or its address or body cannot be
/// read.
pub fn read(mut event: Value) -> Result<Request, Problem> {
    let api = Api::of(&event);
    let context = take(&mut event, "requestContext");
    let (method, uri, headers, context) = match api {
        Api::Http => (
            method(&context["http"]["method"])?,
            uri(&event["rawPath"], text(&event, "rawQueryString")?)?,
            headers(&event, None)?,
            RequestContext::HttpApi(context),
        ),
        // A load balancer's event also has a method, but no authorizer that we could ask.
        Api::Rest if event["httpMethod"].is_null() || !context["elb"].is_null() => {
            return Err(unreadable("it does not come from an API"));
        }
        Api::Rest => (
            method(&event["httpMethod"])?,
            uri(&event["path"], &parameters(&event)?)?,
            headers(&event, Some("multiValueHeaders"))?,
            RequestContext::RestApi(context),
        ),
    };
    let mut request = Request::new(body(&mut event)?);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request.extensions_mut().insert(context);
    Ok(request)
}

impl EventResponse {
    /// A response in the form of the API that sent the event, complete: events are waited for.
    pub(crate) async fn new(api: Api, response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let headers = parts.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        });
        Self {
            status_code: parts.status.as_u16(),
            headers: headers.collect(),
            body: body.collected().await,
            is_base64_encoded: false,
            cookies: (api == Api::Http).then_some([]),
        }
    }
}

fn unreadable(why: &str) -> Problem {
    Problem::InvalidRequest(format!("The request cannot be read: {why}"))
}

fn method(name: &Value) -> Result<Method, Problem> {
    let name = name.as_str().unwrap_or_default();
    Method::from_bytes(name.as_bytes()).map_err(|_| unreadable("its method is not valid"))
}

/// Builds the address from path and query string, escaping every character it may not contain.
fn uri(path: &Value, query: &str) -> Result<Uri, Problem> {
    let path = path.as_str().ok_or_else(|| unreadable("it has no path"))?;
    let path = utf8_percent_encode(path.trim_start_matches('/'), PATH);
    let query = utf8_percent_encode(query, QUERY);
    format!("/{path}?{query}")
        .parse()
        .map_err(|_| unreadable("its address is too long"))
}

/// Takes out a member; null if there is none.
fn take(event: &mut Value, name: &str) -> Value {
    event.get_mut(name).map(Value::take).unwrap_or_default()
}

/// A member that is a string; empty if there is none.
fn text<'a>(event: &'a Value, name: &str) -> Result<&'a str, Problem> {
    match &event[name] {
        Value::Null => Ok(""),
        Value::String(text) => Ok(text),
        _ => Err(unreadable(&format!("{name} is not a string"))),
    }
}

/// Builds the query string from a REST API's event, which lists its parameters decoded, one by one.
fn parameters(event: &Value) -> Result<String, Problem> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let mut add = |name: &str, value: &Value| match value {
        Value::String(text) => {
            query.append_pair(name, text);
            Ok(())
        }
        _ => Err(unreadable("a parameter is not a string")),
    };
    // The first has every value of a name, the second only the last.
    for members in ["multiValueQueryStringParameters", "queryStringParameters"] {
        match &event[members] {
            Value::Object(parameters) if !parameters.is_empty() => {
                for (name, value) in parameters {
                    match value {
                        Value::Array(values) => {
                            values.iter().try_for_each(|value| add(name, value))?;
                        }
                        value => add(name, value)?,
                    }
                }
                break;
            }
            Value::Null | Value::Object(_) => {}
            _ => return Err(unreadable("its parameters are not an object")),
        }
    }
    Ok(query.finish())
}

/// The headers. An invalid one is left out: no client can have sent it.
fn headers(event: &Value, multiple: Option<&str>) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    let members = [Some("headers"), multiple].into_iter().flatten();
    for (name, value) in members.filter_map(|name| event[name].as_object()).flatten() {
        let value = match value {
            Value::Array(values) => values.last(),
            value => Some(value),
        };
        let value = value.and_then(Value::as_str).map(str::as_bytes);
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes())
            && let Some(Ok(value)) = value.map(HeaderValue::from_bytes)
        {
            let inserted = headers.try_insert(name, value);
            inserted.map_err(|_| unreadable("it has too many headers"))?;
        }
    }
    Ok(headers)
}

fn body(event: &mut Value) -> Result<RequestBody, Problem> {
    let is_base64_encoded = event["isBase64Encoded"] == true;
    match take(event, "body") {
        Value::Null => Ok(RequestBody::Empty),
        Value::String(text) if is_base64_encoded => BASE64_STANDARD
            .decode(text)
            .map(RequestBody::Binary)
            .map_err(|_| unreadable("its body is not base64")),
        Value::String(text) => Ok(RequestBody::Text(text)),
        _ => Err(unreadable("its body is not a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn http_api(path: &str, query: &str) -> Value {
        json!({
            "rawPath": path,
            "rawQueryString": query,
            "headers": { "host": "not a host", "x-forwarded-proto": "no scheme", "a\n": "b" },
            "requestContext": { "http": { "method": "GET" } },
        })
    }

    #[test]
    fn an_address_is_read_whatever_it_holds() {
        let cases = [
            (("/chat/status", "a=b&c"), "/chat/status?a=b&c"),
            (("/chat/status", "q=a b"), "/chat/status?q=a%20b"),
            (
                ("/chat", "q=\"<>\"\u{7f}\n#"),
                "/chat?q=%22%3C%3E%22%7F%0A%23",
            ),
            (
                ("/ä b/{x}?`", "ü=%20"),
                "/%C3%A4%20b/%7Bx%7D%3F%60?%C3%BC=%20",
            ),
            (("//evil.example/chat", ""), "/evil.example/chat?"),
            (("", "\\^|[]"), "/?\\^|[]"),
        ];
        for ((path, query), expected) in cases {
            let request = read(http_api(path, query)).unwrap();
            assert_eq!(request.uri().to_string(), expected, "{path} {query}");
        }
        let long = read(http_api("/chat", &"x".repeat(70_000)));
        assert_eq!(long.unwrap_err().code(), "invalid_request");
        let mut many = http_api("/chat", "");
        for number in 0..40_000 {
            many["headers"][format!("x-{number}")] = json!("1");
        }
        assert_eq!(read(many).unwrap_err().code(), "invalid_request");
    }

    #[test]
    fn the_parameters_of_a_rest_api_are_escaped_again() {
        let event = json!({
            "httpMethod": "GET", "path": "/chat/status",
            "queryStringParameters": { "session_id": "last" },
            "multiValueQueryStringParameters": { "session_id": ["a&b=c", "last"], "é": ["+ %"] },
        });
        let request = read(event).unwrap();
        assert_eq!(
            request.uri().query(),
            Some("session_id=a%26b%3Dc&session_id=last&%C3%A9=%2B+%25")
        );
    }

    #[tokio::test]
    async fn an_answer_has_the_members_its_api_knows() {
        let http = http_api("/chat", "");
        let rest = json!({ "httpMethod": "GET", "path": "/chat", "requestContext": {} });
        for (event, cookies) in [(http, Some(json!([]))), (rest, None), (json!(7), None)] {
            let response = Response::new(Body::Text("{}".into()));
            let response = EventResponse::new(Api::of(&event), response).await;
            let written = serde_json::to_value(response).unwrap();
            assert_eq!(written["statusCode"], 200, "{event}");
            assert_eq!(written.get("cookies").cloned(), cookies, "{event}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let http = json!({ "http": { "method": "POST" } });
        for event in [
            json!(null),
            json!([1]),
            json!({}),
            json!({ "source": "aws.events", "detail": {} }),
            json!({ "rawPath": 7, "requestContext": http }),
            json!({ "rawPath": "/", "rawQueryString": [], "requestContext": http }),
            json!({ "rawPath": "/", "body": 7, "requestContext": http }),
            json!({ "rawPath": "/", "body": "%", "isBase64Encoded": true, "requestContext": http }),
            json!({ "rawPath": "/", "requestContext": { "http": { "method": "G T" } } }),
            json!({ "httpMethod": "GET", "path": "/", "requestContext": { "elb": {} } }),
            json!({ "httpMethod": 7, "path": "/" }),
            json!({ "httpMethod": "GET", "path": "/", "queryStringParameters": "a=b" }),
        ] {
            let problem = read(event.clone()).unwrap_err();
            assert_eq!(problem.code(), "invalid_request", "{event}");
        }
    }
}
