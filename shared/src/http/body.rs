//! The fields of a JSON request body, read one by one so that a refusal can name the field.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::ids;
use crate::problem::Problem;

/// The JSON object in a request body. Unknown fields are ignored; `null` counts as absent.
#[derive(Debug)]
pub struct JsonBody {
    members: Map<String, Value>,
    /// The names that occur more than once.
    repeated: BTreeSet<String>,
}

impl JsonBody {
    /// Parses a body.
    ///
    /// # Errors
    /// [`Problem::InvalidJson`] when it is not a JSON object in UTF-8.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Err(Problem::InvalidJson(
                "The body is empty; send a JSON object such as {\"query\": \"Hello\"}".into(),
            ));
        }
        match serde_json::from_slice(body) {
            Ok(fields) => Ok(fields),
            Err(error) if error.is_data() => Err(Problem::InvalidJson(
                "The body is JSON, but not an object".into(),
            )),
            // The parser's own text can quote the body, so only the position is passed on.
            Err(error) => Err(Problem::InvalidJson(format!(
                "The body is not valid JSON at line {} column {}",
                error.line(),
                error.column()
            ))),
        }
    }

    /// A required string of 1 to `max_characters` Unicode characters that is not blank.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`].
    pub fn required_text(
        &self,
        name: &'static str,
        max_characters: usize,
    ) -> Result<String, Problem> {
        let text = match self.get(name)? {
            Some(Value::String(text)) => text,
            Some(_) => return Err(invalid(name, "must be a string")),
            None => return Err(invalid(name, "is required")),
        };
        if text.trim().is_empty() {
            return Err(invalid(name, "must not be blank"));
        }
        if text.chars().count() > max_characters {
            return Err(Problem::InvalidRequest(format!(
                "`{name}` is longer than {max_characters} characters"
            )));
        }
        refuse_nul(name, text)?;
        Ok(text.clone())
    }

    /// An optional string, as [`Self::required_text`] takes it.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`].
    pub fn optional_text(
        &self,
        name: &'static str,
        max_characters: usize,
    ) -> Result<Option<String>, Problem> {
        match self.get(name)? {
            None => Ok(None),
            Some(_) => self.required_text(name, max_characters).map(Some),
        }
    }

    /// An optional `true` or `false`.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`].
    pub fn optional_flag(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.get(name)? {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(invalid(name, "must be true or false")),
        }
    }

    /// An optional UUID.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`].
    pub fn optional_id(&self, name: &'static str) -> Result<Option<Uuid>, Problem> {
        match self.get(name)? {
            None => Ok(None),
            Some(Value::String(text)) => parse_id(name, text).map(Some),
            Some(_) => Err(invalid(name, "must be a UUID string")),
        }
    }

    /// An optional object of at most `max_bytes` as JSON.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`].
    pub fn optional_object(
        &self,
        name: &'static str,
        max_bytes: usize,
    ) -> Result<Option<Value>, Problem> {
        match self.get(name)? {
            None => Ok(None),
            Some(value @ Value::Object(_)) => stored_json(name, value, max_bytes).map(Some),
            Some(_) => Err(invalid(name, "must be an object")),
        }
    }

    /// An optional array of objects of at most `max_bytes` as JSON.
    ///
    /// # Errors
    /// [`Problem::InvalidRequest`].
    pub fn optional_objects(
        &self,
        name: &'static str,
        max_bytes: usize,
    ) -> Result<Option<Value>, Problem> {
        match self.get(name)? {
            None => Ok(None),
            Some(value @ Value::Array(items)) if items.iter().all(Value::is_object) => {
                stored_json(name, value, max_bytes).map(Some)
            }
            Some(_) => Err(invalid(name, "must be an array of objects")),
        }
    }

    /// Whether there is a field with this name, whatever its value.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    fn get(&self, name: &str) -> Result<Option<&Value>, Problem> {
        if self.repeated.contains(name) {
            return Err(invalid(name, "is given more than once"));
        }
        Ok(self.members.get(name).filter(|value| !value.is_null()))
    }
}

impl<'de> Deserialize<'de> for JsonBody {
    /// Like serde's own maps, but remembers the names that occur more than once.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = JsonBody;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonBody, A::Error> {
                let (mut members, mut repeated) = (Map::new(), BTreeSet::new());
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.contains_key(&name) {
                        repeated.insert(name.clone());
                    }
                    members.insert(name, value);
                }
                Ok(JsonBody { members, repeated })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Reads a UUID in its usual form of 36 characters, in upper or lower case.
///
/// # Errors
/// [`Problem::InvalidRequest`] naming `name`.
pub fn parse_id(name: &str, text: &str) -> Result<Uuid, Problem> {
    ids::parse_id(text).ok_or_else(|| {
        invalid(
            name,
            "must be a UUID such as 01980000-0000-7000-8000-000000000000",
        )
    })
}

fn invalid(name: &str, why: &str) -> Problem {
    Problem::InvalidRequest(format!("`{name}` {why}"))
}

fn stored_json(name: &'static str, value: &Value, max_bytes: usize) -> Result<Value, Problem> {
    if value.to_string().len() + hidden_digits(value) > max_bytes {
        return Err(Problem::InvalidRequest(format!(
            "`{name}` is longer than {max_bytes} bytes as JSON"
        )));
    }
    refuse_nul_inside(name, value)?;
    Ok(value.clone())
}

/// The extra digits that `jsonb` stores for a number which JSON writes with an exponent: 1e300 has
/// 301.
fn hidden_digits(value: &Value) -> usize {
    match value {
        Value::Number(number) => number
            .as_f64()
            .filter(|_| !number.is_i64() && !number.is_u64())
            .map_or(0, |number| {
                let exponent = if number == 0.0 {
                    0.0
                } else {
                    number.abs().log10().abs()
                };
                // At most 308 for a finite number, so the cast loses nothing.
                exponent as usize
            }),
        Value::Array(items) => items.iter().map(hidden_digits).sum(),
        Value::Object(members) => members.values().map(hidden_digits).sum(),
        Value::Null | Value::Bool(_) | Value::String(_) => 0,
    }
}

/// PostgreSQL can store U+0000 neither in text nor in jsonb.
fn refuse_nul(name: &str, text: &str) -> Result<(), Problem> {
    if text.contains('\0') {
        return Err(invalid(
            name,
            "contains the character U+0000, which cannot be stored",
        ));
    }
    Ok(())
}

fn refuse_nul_inside(name: &str, value: &Value) -> Result<(), Problem> {
    match value {
        Value::String(text) => refuse_nul(name, text),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| refuse_nul_inside(name, item)),
        Value::Object(members) => members.iter().try_for_each(|(key, item)| {
            refuse_nul(name, key)?;
            refuse_nul_inside(name, item)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: &Value) -> JsonBody {
        JsonBody::parse(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_is_no_json_object_is_refused_without_quoting_it() {
        let cases: [(&[u8], &str); 7] = [
            (b"", "empty"),
            (b"{\"query\": \"secret", "cut short"),
            (b"[1]", "an array"),
            (b"\"secret\"", "a string"),
            (b"{\"query\": \"\\ud800\"}", "a lone surrogate"),
            (b"{\"query\": \"\xff\"}", "not UTF-8"),
            (b"{\"query\": 1e999}", "a number out of range"),
        ];
        for (body, reason) in cases {
            let problem = JsonBody::parse(body).unwrap_err();
            assert_eq!(problem.code(), "invalid_json", "{reason}");
            assert!(!problem.to_string().contains("secret"), "{reason}");
        }
    }

    #[test]
    fn the_length_of_a_text_is_counted_in_characters() {
        for text in ["a".repeat(4), "😀".repeat(4), "e\u{301}e\u{301}".to_owned()] {
            let body = fields(&json!({ "query": text }));
            assert_eq!(body.required_text("query", 4).unwrap(), text);
            assert_eq!(
                body.required_text("query", 3).unwrap_err().code(),
                "invalid_request"
            );
        }
    }

    #[test]
    fn null_counts_as_left_out() {
        let body = fields(&json!({ "session_id": null, "metadata": null, "audio_files": null }));
        assert_eq!(body.optional_id("session_id").unwrap(), None);
        assert_eq!(body.optional_object("metadata", 10).unwrap(), None);
        assert_eq!(body.optional_objects("audio_files", 10).unwrap(), None);
    }

    #[test]
    fn an_id_is_a_uuid_of_36_characters_in_any_case() {
        let id = "0198C0DE-0000-7000-8000-00000000ABCD";
        assert_eq!(parse_id("id", id).unwrap().to_string(), id.to_lowercase());
        for text in [
            "",
            "7",
            "0198c0de000070008000000000000000",
            &format!("{{{id}}}"),
        ] {
            assert_eq!(
                parse_id("id", text).unwrap_err().code(),
                "invalid_request",
                "{text}"
            );
        }
    }

    #[test]
    fn a_number_counts_with_all_the_digits_it_is_stored_with() {
        let body = fields(&json!({ "metadata": { "n": [1e300, 1e-300, 1e300] } }));
        assert!(body.optional_object("metadata", 1000).is_ok());
        assert!(body.optional_object("metadata", 900).is_err());
    }

    #[test]
    fn nul_is_found_however_deep_it_is() {
        let cases = [
            json!({ "metadata": { "a": "\0" } }),
            json!({ "metadata": { "\0": 1 } }),
            json!({ "metadata": { "a": [{ "b": ["x\0y"] }] } }),
        ];
        for body in cases {
            let problem = fields(&body).optional_object("metadata", 100).unwrap_err();
            assert!(problem.to_string().contains("`metadata`"), "{problem}");
            assert!(problem.to_string().contains("U+0000"), "{problem}");
        }
    }
}
