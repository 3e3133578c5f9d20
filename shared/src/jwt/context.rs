//! What is said about an accepted token by a Lambda authorizer of a REST API, which passes on texts and
//! numbers only.

use serde_json::{Map, Value, json};

/// The member with the claims, as JSON. No other authorizer has a member of this name.
pub const PASSED_CLAIMS: &str = "daissy_token_claims";

/// The claims without which nobody could be identified.
const NEEDED: [&str; 2] = ["sub", "exp"];

/// The longest text of the claims, in bytes. Far more than tokens usually hold, and little beside the rest
/// of an event.
const MAX_BYTES: usize = 4096;

/// The context of an authorizer for a token with these claims: all of them, or, where they are too long
/// together, the needed ones and then the shortest. `None` if those that are needed are missing or too long.
#[must_use]
pub fn authorizer_context(claims: &Map<String, Value>) -> Option<Value> {
    let mut passed = Map::new();
    for name in NEEDED {
        passed.insert(name.to_owned(), claims.get(name)?.clone());
    }
    let mut bytes = json!(passed).to_string().len();
    if bytes > MAX_BYTES {
        return None;
    }
    let others = claims
        .iter()
        .filter(|(name, _)| !NEEDED.contains(&name.as_str()));
    let mut others: Vec<_> = others
        .map(|(name, value)| (json!({ name: value }).to_string().len(), name, value))
        .collect();
    others.sort_by_key(|(bytes, name, _)| (*bytes, *name));
    for (more, name, value) in others {
        bytes += more;
        if bytes > MAX_BYTES {
            break;
        }
        passed.insert(name.clone(), value.clone());
    }
    Some(json!({ PASSED_CLAIMS: json!(passed).to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The claims that are passed on of these.
    fn passed(claims: &Value) -> Option<Value> {
        let context = authorizer_context(claims.as_object().unwrap())?;
        let text = context[PASSED_CLAIMS].as_str().unwrap();
        assert!(text.len() <= MAX_BYTES, "{}", text.len());
        Some(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn all_claims_of_an_ordinary_token_are_passed_on_as_they_are() {
        let claims = json!({
            "sub": "älice", "exp": 1e10, "iss": "https://issuer.example/", "aud": ["a", "b"],
            "cognito:groups": ["operators"], "address": { "country": "AT" }, "admin": false,
        });
        assert_eq!(passed(&claims), Some(claims));
    }

    #[test]
    fn of_many_claims_the_long_ones_are_left_out() {
        let claims = json!({
            "sub": "z".repeat(3000), "exp": 7, "short": "a", "groups": "g".repeat(2000),
        });
        let passed = passed(&claims).unwrap();
        assert_eq!(passed["sub"], claims["sub"]);
        assert_eq!(passed["short"], "a");
        assert_eq!(passed.as_object().unwrap().len(), 3);
    }

    #[test]
    fn without_a_subject_and_an_end_nothing_is_passed_on() {
        for claims in [
            json!({ "sub": "alice" }),
            json!({ "exp": 7 }),
            json!({ "sub": "z".repeat(MAX_BYTES), "exp": 7 }),
        ] {
            assert_eq!(passed(&claims), None);
        }
    }
}
