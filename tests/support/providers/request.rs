//! A request as it came, and how it is read.

use axum::http::HeaderMap;
use serde_json::Value;

use super::conversation::Offered;

/// The key that the providers ask for.
pub const KEY: &str = "test-key";

/// The id of the credentials that Bedrock asks for.
pub const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";

/// The longest name of a function, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Why a request is not taken: the status, and what is wrong.
pub type Refused = (u16, String);

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Value,
}

/// A function that is offered, from its parts.
pub fn offered(tool: &Value, schema: &Value) -> Result<Offered, Refused> {
    let name = text(tool, "name")?;
    let is_name = name.len() <= MAX_NAME_BYTES
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_-".contains(character));
    demand(is_name && !name.is_empty(), "a function's name")?;
    let description = text(tool, "description")?;
    demand(!description.trim().is_empty(), "a description")?;
    demand(schema["type"] == "object", "the schema of an object")?;
    let properties = schema["properties"].as_object();
    let required = schema["required"].as_array();
    let required: Option<Vec<String>> = required.map_or(Some(Vec::new()), |names| {
        let names = names.iter().map(|name| {
            let name = name.as_str()?;
            properties?.contains_key(name).then(|| name.to_owned())
        });
        names.collect()
    });
    Ok(Offered {
        name: name.to_owned(),
        required: required.ok_or_else(|| bad("required members that are properties"))?,
    })
}

/// The functions in a list that may be missing.
pub fn tools(
    list: &Value,
    read: impl Fn(&Value) -> Result<Offered, Refused>,
) -> Result<Vec<Offered>, Refused> {
    match list {
        Value::Null => Ok(Vec::new()),
        Value::Array(tools) if !tools.is_empty() => tools.iter().map(read).collect(),
        _ => Err(bad("a list of tools that is not empty")),
    }
}

/// A list in a request.
pub fn list<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], Refused> {
    let list = value[name].as_array().map(Vec::as_slice);
    list.ok_or_else(|| bad(&format!("a list of {name}")))
}

/// A text in a request.
pub fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Refused> {
    value[name]
        .as_str()
        .ok_or_else(|| bad(&format!("a text in {name}")))
}

/// An object in a request.
pub fn object(value: &Value, name: &str) -> Result<Value, Refused> {
    demand(value[name].is_object(), &format!("an object in {name}"))?;
    Ok(value[name].clone())
}

/// Refuses a request that lacks something.
pub fn demand(is_met: bool, what: &str) -> Result<(), Refused> {
    if is_met { Ok(()) } else { Err(bad(what)) }
}

/// The refusal of a request that lacks something.
pub fn bad(what: &str) -> Refused {
    (400, format!("the request needs {what}"))
}

/// Checks the key in a header.
pub fn key(request: &Received, header: &str, expected: &str, status: u16) -> Result<(), Refused> {
    let given = request.headers.get(header).map(|value| value.to_str());
    match given {
        Some(Ok(key)) if key == expected => Ok(()),
        _ => Err((status, format!("{header} has no valid key"))),
    }
}
