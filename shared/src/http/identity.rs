//! The identity that an event's authorizer vouches for.

use serde_json::Value;

use crate::caller::{Kind, Owner};
use crate::http::event::RequestContext;
use crate::jwt::{self, PASSED_CLAIMS};
use crate::problem::Problem;

/// The session name in the ARN of every user of a Cognito identity pool.
const COGNITO_SESSION_NAME: &str = "CognitoIdentityCredentials";

/// The members in which a REST API identifies a user of a Cognito identity pool.
const COGNITO_POOL: &str = "cognitoIdentityPoolId";
const COGNITO_ID: &str = "cognitoIdentityId";

/// Reads the identity that an event's authorizer vouches for; `None` if no authorizer is
/// configured.
///
/// # Errors
/// [`Problem::Unauthorized`] when an authorizer is configured but identifies no caller.
pub fn owner(request: &lambda_http::Request) -> Result<Option<Owner>, Problem> {
    let owner = match request.extensions().get() {
        Some(RequestContext::HttpApi(context)) if !context["authorizer"].is_null() => {
            of_http_api(&context["authorizer"])
        }
        Some(RequestContext::RestApi(context)) if is_there(&context["authorizer"]) => {
            of_rest_api(&context["authorizer"])
        }
        // A REST API reports the signer of an IAM request elsewhere.
        Some(RequestContext::RestApi(context)) if is_signed(&context["identity"]) => {
            of_identity(&context["identity"])
        }
        _ => return Ok(None),
    };
    owner.map(Some).ok_or(Problem::Unauthorized)
}

/// Whether a member has any content. A REST API's event has an empty one if there is no authorizer.
fn is_there(member: &Value) -> bool {
    !member.is_null() && member.as_object().is_none_or(|members| !members.is_empty())
}

/// The authorizer's member in an event of an HTTP API or a function URL.
fn of_http_api(authorizer: &Value) -> Option<Owner> {
    if is_there(&authorizer["jwt"]) {
        return Owner::new(Kind::Jwt, authorizer["jwt"]["claims"]["sub"].as_str()?);
    }
    if is_there(&authorizer["iam"]) {
        return of_iam(&authorizer["iam"]);
    }
    of_lambda(&authorizer["lambda"])
}

/// The authorizer's member in an event of a REST API: a Cognito user pool puts claims there, a
/// Lambda authorizer puts strings and numbers. One of them is our own.
fn of_rest_api(authorizer: &Value) -> Option<Owner> {
    if authorizer["claims"].is_object() {
        return Owner::new(Kind::Jwt, authorizer["claims"]["sub"].as_str()?);
    }
    if !authorizer[PASSED_CLAIMS].is_null() {
        return of_token(authorizer);
    }
    of_lambda(authorizer)
}

/// Reads what the function `authorizer` passes on of a token. Whoever called is the same owner as at an
/// HTTP API, whose own authorizer reads the same `sub`.
///
/// The principal is compared for the case of another authorizer that passes on all claims of a token as they
/// are: one named like ours must not make its caller somebody else.
fn of_token(context: &Value) -> Option<Owner> {
    let claims: Value = serde_json::from_str(context[PASSED_CLAIMS].as_str()?).ok()?;
    let subject = claims["sub"].as_str()?;
    // API Gateway goes by what the authorizer said minutes ago, whatever has become of the token since.
    if !jwt::is_current(&claims)? || context["principalId"] != subject {
        return None;
    }
    Owner::new(Kind::Jwt, subject)
}

fn of_lambda(context: &Value) -> Option<Owner> {
    let subject = context.get("sub").or_else(|| context.get("principalId"));
    Owner::new(Kind::Lambda, subject?.as_str()?)
}

fn of_iam(iam: &Value) -> Option<Owner> {
    if !iam["cognitoIdentity"].is_null() {
        return of_identity_pool(&iam["cognitoIdentity"]["identityId"]);
    }
    of_principal(first_of(iam, ["userId", "callerId"])?)
}

/// Whether a REST API's caller signed the request.
fn is_signed(identity: &Value) -> bool {
    let says = ["userArn", "user", "caller", COGNITO_POOL, COGNITO_ID];
    says.iter().any(|name| !identity[*name].is_null())
}

fn of_identity(identity: &Value) -> Option<Owner> {
    if !identity[COGNITO_POOL].is_null() || !identity[COGNITO_ID].is_null() {
        return of_identity_pool(&identity[COGNITO_ID]);
    }
    of_principal(first_of(identity, ["user", "caller"])?)
}

fn of_identity_pool(id: &Value) -> Option<Owner> {
    Owner::new(Kind::CognitoIdentity, id.as_str()?)
}

/// The first of two members that is not null.
fn first_of<'a>(members: &'a Value, names: [&str; 2]) -> Option<&'a str> {
    let mut members = names.iter().map(|name| &members[*name]);
    members.find(|member| !member.is_null())?.as_str()
}

/// An IAM principal by its unique id, `AIDA…` or `AROA…:session-name`. Never by its ARN: a user who
/// is deleted and recreated keeps the same ARN, and all users of an identity pool share one.
fn of_principal(id: &str) -> Option<Owner> {
    let session_name = id.rsplit_once(':').map(|(_, name)| name);
    if session_name == Some(COGNITO_SESSION_NAME) {
        return None;
    }
    Owner::new(Kind::Iam, id)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use serde_json::{Map, json};

    use super::*;
    use crate::jwt::authorizer_context;

    /// The time so many seconds from now.
    fn at(seconds: i64) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_secs()).unwrap() + seconds
    }

    /// The owner whom a REST API's authorizer with this context vouches for, in the stored form.
    fn owner_by(authorizer: Value) -> Result<Option<String>, &'static str> {
        let mut request = lambda_http::Request::default();
        let context = RequestContext::RestApi(json!({ "authorizer": authorizer }));
        request.extensions_mut().insert(context);
        match owner(&request) {
            Ok(owner) => Ok(owner.map(|owner| owner.to_string())),
            Err(problem) => Err(problem.code()),
        }
    }

    /// What API Gateway puts into an event of what our authorizer says about these claims.
    fn passed_on(principal: &str, claims: &Value) -> Value {
        let claims: &Map<String, Value> = claims.as_object().unwrap();
        let mut context = authorizer_context(claims).unwrap();
        context["principalId"] = json!(principal);
        context["integrationLatency"] = json!(42);
        context
    }

    #[test]
    fn our_authorizer_vouches_for_the_subject_of_the_token() {
        let claims = json!({ "sub": "alice", "exp": at(60), "groups": ["a", "b"] });
        let owner = owner_by(passed_on("alice", &claims));
        assert_eq!(owner, Ok(Some("jwt:alice".into())));
        // As the token was accepted: the issuer's clock may differ.
        let owner = owner_by(passed_on(
            "alice",
            &json!({ "sub": "alice", "exp": at(-10) }),
        ));
        assert_eq!(owner, Ok(Some("jwt:alice".into())));
        // Another one does not, whatever it calls its members.
        for other in [
            json!({ "principalId": "alice", "sub": "alice" }),
            json!({ "principalId": "alice", "claims": claims.to_string() }),
        ] {
            assert_eq!(owner_by(other), Ok(Some("lambda:alice".into())));
        }
    }

    #[test]
    fn what_our_authorizer_cannot_have_said_identifies_no_one() {
        let good = json!({ "sub": "alice", "exp": at(60) });
        let cached = passed_on("alice", &json!({ "sub": "alice", "exp": at(-60) }));
        let as_text = |claims: &str| json!({ "principalId": "alice", PASSED_CLAIMS: claims });
        for context in [
            cached,
            passed_on("bob", &good),
            json!({ PASSED_CLAIMS: good.to_string() }),
            json!({ "principalId": "alice", "sub": "alice", PASSED_CLAIMS: 7 }),
            json!({ "principalId": "alice", PASSED_CLAIMS: good }),
            as_text(""),
            as_text("{}"),
            as_text(r#"{"sub": "alice"}"#),
            as_text(r#"{"sub": "alice", "exp": "tomorrow"}"#),
            as_text(r#"{"sub": 7, "exp": 99999999999}"#),
        ] {
            assert_eq!(owner_by(context.clone()), Err("unauthorized"), "{context}");
        }
    }
}
