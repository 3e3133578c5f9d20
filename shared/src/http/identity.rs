//! The identity that an event's authorizer vouches for.

use serde_json::Value;

use crate::caller::{Kind, Owner};
use crate::http::event::RequestContext;
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
/// Lambda authorizer puts strings and numbers.
fn of_rest_api(authorizer: &Value) -> Option<Owner> {
    if authorizer["claims"].is_object() {
        return Owner::new(Kind::Jwt, authorizer["claims"]["sub"].as_str()?);
    }
    of_lambda(authorizer)
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
