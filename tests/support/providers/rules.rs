//! What all providers ask of a request, each in its own words.

use serde_json::Value;

use super::script::{Answer, Call, Thoughts};
use super::{Received, Refused};

/// The longest name of a function, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A request, understood.
#[derive(Debug)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// The instructions.
    pub system: Option<String>,
    /// The conversation.
    pub messages: Vec<Said>,
    /// The functions that may be called.
    pub tools: Vec<Offered>,
    /// Whether the answer is to be streamed.
    pub is_streamed: bool,
    /// Whether a streamed answer is to have its tokens.
    pub with_usage: bool,
}

/// A message.
#[derive(Debug)]
pub enum Said {
    /// The user's.
    User(String),
    /// The model's.
    Assistant {
        /// What it thought.
        thoughts: Option<Thoughts>,
        /// What it said.
        text: String,
        /// What it called.
        calls: Vec<Call>,
    },
    /// The results of calls.
    Results(Vec<Given>),
}

/// The result of a call.
#[derive(Debug)]
pub struct Given {
    /// The call's id, where the provider has one.
    pub id: Option<String>,
    /// The function, where the provider wants it named.
    pub name: Option<String>,
    /// The result.
    pub text: String,
}

/// A function that may be called.
#[derive(Debug)]
pub struct Offered {
    /// Its name.
    pub name: String,
    /// The arguments it needs.
    pub required: Vec<String>,
}

/// Checks what does not depend on the protocol. `answers` are those that were given before: calls and
/// thoughts must come back as they were.
pub fn check(asked: &Asked, answers: &[Answer]) -> Result<(), String> {
    if asked.system.as_ref().is_some_and(|text| is_blank(text)) {
        return Err("the system prompt is empty".into());
    }
    let mut before: Option<&Said> = None;
    for (index, said) in asked.messages.iter().enumerate() {
        let wrong = |what: &str| Err(format!("messages.{index}: {what}"));
        match (said, before) {
            (Said::User(_), None | Some(Said::Assistant { .. })) => {}
            (Said::Assistant { .. }, Some(Said::User(_) | Said::Results(_))) => {}
            (Said::Results(_), Some(Said::Assistant { calls, .. })) if !calls.is_empty() => {}
            (Said::Results(_), _) => return wrong("results that follow no calls"),
            _ => return wrong("roles must alternate, and begin with the user"),
        }
        if let Some(Said::Assistant { calls, .. }) = before
            && !calls.is_empty()
        {
            let Said::Results(results) = said else {
                return wrong("calls must be followed by their results");
            };
            answered(calls, results).or_else(|what| wrong(&what))?;
        }
        match said {
            Said::User(text) if is_blank(text) => return wrong("a text is empty"),
            Said::Assistant { text, calls, .. } if calls.is_empty() && is_blank(text) => {
                return wrong("a text is empty");
            }
            Said::Assistant {
                thoughts, calls, ..
            } if !calls.is_empty() => {
                if !calls.iter().all(|call| asked.offers(&call.name)) {
                    return wrong("a function is called that is not offered");
                }
                let Some(answer) = answers.iter().find(|answer| answer.calls == *calls) else {
                    return wrong("the model has made no such calls");
                };
                if *thoughts != answer.thoughts {
                    return wrong("thoughts must come back with their calls, unchanged");
                }
            }
            _ => {}
        }
        before = Some(said);
    }
    match before {
        Some(Said::User(_) | Said::Results(_)) => Ok(()),
        _ => Err("messages: the last one must be the user's".into()),
    }
}

impl Asked {
    /// Models do call functions that nobody offered, so their calls may be those of a script.
    fn offers(&self, name: &str) -> bool {
        !self.tools.is_empty() && !name.is_empty()
    }
}

/// Checks that these are the results of these calls.
fn answered(calls: &[Call], results: &[Given]) -> Result<(), String> {
    if results.len() != calls.len() {
        return Err(format!(
            "{} results for {} calls",
            results.len(),
            calls.len()
        ));
    }
    for (call, result) in calls.iter().zip(results) {
        if result.id != call.id {
            return Err("a result must name its call".into());
        }
        if result.name.as_ref().is_some_and(|name| *name != call.name) {
            return Err("a result must name the function of its call".into());
        }
        if is_blank(&result.text) {
            return Err("a result is empty".into());
        }
    }
    Ok(())
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A function that is offered, from its parts.
pub fn offered(tool: &Value, schema: &Value) -> Result<Offered, Refused> {
    let name = text(tool, "name")?;
    let is_name = name.len() <= MAX_NAME_BYTES
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_-".contains(character));
    demand(is_name && !name.is_empty(), "a function's name")?;
    demand(!is_blank(text(tool, "description")?), "a description")?;
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
