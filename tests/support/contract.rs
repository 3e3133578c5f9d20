//! `docs/openapi.yaml`, against which every answer that a test receives is validated.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use axum::http::HeaderMap;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::yaml;

/// The document.
pub static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| yaml::read(include_str!("../../docs/openapi.yaml")));

/// Headers that mean something to callers, so where they occur the document says so.
const OUR_HEADERS: [&str; 5] = [
    "allow",
    "idempotent-replayed",
    "link",
    "retry-after",
    "www-authenticate",
];

/// Asserts that the document allows this answer to a request.
///
/// `path` is that of the request or of its route, with or without a query string. Returns the body; null
/// if it is empty, an array of its lines if it is JSON Lines, a string if it is no JSON.
#[track_caller]
pub fn check(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Value {
    // The browser asks this of the server, not a caller of the API.
    if method == "OPTIONS" {
        return Value::Null;
    }
    let asked = format!("{method} {path}: {status}");
    assert!(!headers["x-request-id"].is_empty(), "{asked}");
    if status == 204 {
        assert!(
            body.is_empty() && response(method, path, status, &Value::Null).is_some(),
            "{asked}"
        );
        return Value::Null;
    }
    let content_type = headers["content-type"].to_str().unwrap();
    let (media_type, _) = content_type.split_once(';').unwrap_or((content_type, ""));
    if method == "HEAD" {
        assert!(body.is_empty(), "{asked}");
        assert!(
            response("GET", path, status, &Value::Null).is_some(),
            "{asked}"
        );
        return Value::Null;
    }
    let parse = |text: &[u8]| serde_json::from_slice(text).expect("JSON");
    let body: Value = match media_type {
        "application/x-ndjson" => {
            let lines = body.split_inclusive(|byte| *byte == b'\n');
            lines.map(parse).collect()
        }
        text if text.starts_with("text/") => json!(std::str::from_utf8(body).unwrap()),
        _ => parse(body),
    };
    let pointer = response(method, path, status, &body).unwrap_or_else(|| {
        panic!("{asked} is not in the document: {body}");
    });
    let documented = &DOCUMENT.pointer(&pointer).unwrap()["headers"];
    check_headers(&asked, documented, headers);

    if let ("text/event-stream", Value::String(text)) = (media_type, &body) {
        text.split_inclusive("\n\n")
            .filter_map(event)
            .for_each(|event| check_event(&event));
        return body;
    }
    let validator = validator(&format!("{pointer}/content/{}/schema", escaped(media_type)))
        .unwrap_or_else(|| panic!("{asked}: {content_type} is not in the document"));
    let parts = match &body {
        Value::Array(lines) => lines.as_slice(),
        body => std::slice::from_ref(body),
    };
    let errors: Vec<String> = parts
        .iter()
        .flat_map(|part| validator.iter_errors(part))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{asked}: {errors:#?}");
    body
}

/// An event as it was sent, as an object of its fields; `None` if it is a comment.
pub fn event(text: &str) -> Option<Value> {
    let lines = text.lines().filter(|line| !line.is_empty());
    let fields = lines.filter(|line| !line.starts_with(':'));
    let fields: serde_json::Map<_, _> = fields
        .map(|line| line.split_once(": ").expect("a field"))
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// Asserts that the document allows this event: an object of `event`, `id` if it has one, and `data` as text.
#[track_caller]
pub fn check_event(event: &Value) {
    let schema = validator("/components/schemas/StreamEvent").unwrap();
    assert!(schema.is_valid(event), "no event of the document: {event}");
    let kind = match event["event"].as_str().unwrap() {
        "started" => "StartedEvent",
        "delta" | "restart" => "TextEvent",
        "function_call" => "FunctionCallEvent",
        "done" => "DoneEvent",
        _ => "ErrorEvent",
    };
    let schema = format!("/components/schemas/{kind}/properties/data/contentSchema");
    let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
    assert!(
        validator(&schema).unwrap().is_valid(&data),
        "{kind}: {data}"
    );
}

/// The path of the response in the document, as a JSON pointer.
fn response(method: &str, path: &str, status: u16, body: &Value) -> Option<String> {
    let name = method.to_lowercase();
    let shared = |name: &str| Some(format!("/components/responses/{name}"));
    // These two belong to no operation.
    match (status, body["code"].as_str()) {
        (405, _) => return shared("MethodNotAllowed"),
        (404, Some("route_not_found")) => return shared("RouteNotFound"),
        _ => {}
    }
    let path = path.split('?').next().unwrap();
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let Some(template) = paths.keys().find(|template| matches(template, path)) else {
        // A page of another site is refused before its path is looked at.
        return shared("Forbidden").filter(|_| status == 403);
    };
    let pointer = format!("/paths/{}/{name}/responses/{status}", escaped(template));
    let found = DOCUMENT.pointer(&pointer)?;
    Some(match found["$ref"].as_str() {
        Some(reference) => reference.trim_start_matches('#').to_owned(),
        None => pointer,
    })
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(expected, found)| expected.starts_with('{') || expected == found)
}

/// Checks an answer's headers against those that the document has for it.
#[track_caller]
fn check_headers(asked: &str, documented: &Value, headers: &HeaderMap) {
    let none = serde_json::Map::new();
    let documented = documented.as_object().unwrap_or(&none);
    for (name, header) in documented {
        let header = match header["$ref"].as_str() {
            Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap(),
            None => header,
        };
        let value = headers.get(name).map(|value| value.to_str().unwrap());
        let Some(value) = value else {
            assert_ne!(header["required"], true, "{asked} without {name}");
            continue;
        };
        let schema = &header["schema"];
        let value = match schema["type"].as_str() {
            Some("integer") => json!(value.parse::<i64>().unwrap()),
            _ => json!(value),
        };
        assert!(
            jsonschema::is_valid(schema, &value),
            "{asked}: {name} is {value}"
        );
    }
    for name in OUR_HEADERS {
        assert!(
            !headers.contains_key(name) || documented.contains_key(name),
            "{asked}: {name} is not in the document"
        );
    }
}

/// A name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The validator for a schema of the document; `None` if it has none at this pointer.
fn validator(pointer: &str) -> Option<Arc<Validator>> {
    static BUILT: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    DOCUMENT.pointer(pointer)?;
    let mut built = BUILT.lock().unwrap();
    let validator = built.entry(pointer.to_owned()).or_insert_with(|| {
        // The document itself is the schema's root, so that references into it resolve.
        let mut schema = DOCUMENT.clone();
        let fragment = pointer.replace('{', "%7B").replace('}', "%7D");
        schema["$ref"] = json!(format!("#{fragment}"));
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema)
            .expect("docs/openapi.yaml has valid schemas");
        Arc::new(validator)
    });
    Some(Arc::clone(validator))
}
