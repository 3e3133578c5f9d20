//! Who asks, and until when the answer is of use.

use std::fmt::{self, Display};

use openssl::sha::Sha256;
use serde_json::Value;
use tokio::time::Instant;
use uuid::{Builder, Uuid};

use crate::event::RequestContext;
use crate::problem::Problem;

/// The session name that every user of a Cognito identity pool has in an ARN.
const COGNITO_SESSION_NAME: &str = "CognitoIdentityCredentials";

/// The members by which a REST API names a user of a Cognito identity pool.
const COGNITO_POOL: &str = "cognitoIdentityPoolId";
const COGNITO_ID: &str = "cognitoIdentityId";

/// Who asks, and until when the answer is of use.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whom the authorizer vouches for; `None` where no authorizer is configured.
    pub owner: Option<Owner>,
    /// When the answer must be ready.
    pub deadline: Instant,
}

/// Somebody an authorizer vouches for. `Display` is the form that is stored: `kind:subject`, so that
/// two kinds of identity never mean the same owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    kind: Kind,
    subject: String,
}

/// What an owner's name is unique in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The subject of a token, as JWT authorizers and Cognito user pools hand it on.
    Jwt,
    /// What a Lambda authorizer says.
    Lambda,
    /// The id that a Cognito identity pool gives each of its users.
    CognitoIdentity,
    /// The unique id of an IAM principal: a user, or a role and the name of its session.
    Iam,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Lambda => "lambda",
            Self::CognitoIdentity => "cognito-identity",
            Self::Iam => "iam",
        }
    }
}

impl Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.kind.name(), self.subject)
    }
}

impl Owner {
    /// Somebody who is vouched for. `None` for a subject that names nobody.
    #[must_use]
    pub fn new(kind: Kind, subject: &str) -> Option<Self> {
        (!subject.trim().is_empty() && !subject.contains('\0')).then(|| Self {
            kind,
            subject: subject.to_owned(),
        })
    }

    /// Reads whom the authorizer of an event vouches for; `None` where no authorizer is configured.
    ///
    /// # Errors
    /// [`Problem::Unauthorized`] when an authorizer is configured and names nobody.
    pub fn of(request: &lambda_http::Request) -> Result<Option<Self>, Problem> {
        let owner = match request.extensions().get() {
            Some(RequestContext::HttpApi(context)) if is_there(&context["authorizer"]) => {
                of_http_api(&context["authorizer"])
            }
            Some(RequestContext::RestApi(context)) if is_there(&context["authorizer"]) => {
                of_rest_api(&context["authorizer"])
            }
            // A REST API says elsewhere who signed a request by IAM.
            Some(RequestContext::RestApi(context)) if is_signed(&context["identity"]) => {
                of_identity(&context["identity"])
            }
            _ => return Ok(None),
        };
        owner.map(Some).ok_or(Problem::Unauthorized)
    }
}

impl Caller {
    /// The owner in the form that is stored.
    #[must_use]
    pub fn owner_key(&self) -> Option<String> {
        self.owner.as_ref().map(ToString::to_string)
    }

    /// The session that a message means whose caller names none: the same for every repetition of the
    /// call, and another for every other caller.
    #[must_use]
    pub fn session_of(&self, message_id: Uuid) -> Uuid {
        let (kind, subject) = match &self.owner {
            None => ("", ""),
            Some(owner) => (owner.kind.name(), owner.subject.as_str()),
        };
        let mut digest = Sha256::new();
        for part in [kind.as_bytes(), subject.as_bytes(), message_id.as_bytes()] {
            // With their lengths, so that no two triples read the same.
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.finish()[..16]);
        Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// Whether a member says anything. A REST API's event has an empty one where there is no authorizer.
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

/// The authorizer's member in an event of a REST API: a Cognito user pool puts claims there, a Lambda
/// authorizer texts and numbers.
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

/// Whether a REST API's caller has signed the request.
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

/// An IAM principal by its unique id, `AIDA…` or `AROA…:session-name`. Never by its ARN: that names a
/// user who was deleted and made again, and all users of an identity pool have the same one.
fn of_principal(id: &str) -> Option<Owner> {
    let session_name = id.rsplit_once(':').map(|(_, name)| name);
    if session_name == Some(COGNITO_SESSION_NAME) {
        return None;
    }
    Owner::new(Kind::Iam, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(owner: Option<(Kind, &str)>) -> Caller {
        Caller {
            owner: owner.and_then(|(kind, subject)| Owner::new(kind, subject)),
            deadline: Instant::now(),
        }
    }

    #[test]
    fn a_message_without_a_session_has_one_for_each_caller() {
        let message_id = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001);
        let owners = [
            None,
            Some((Kind::Jwt, "alice")),
            Some((Kind::Jwt, "bob")),
            Some((Kind::Lambda, "alice")),
        ];
        let sessions = owners.map(|owner| caller(owner).session_of(message_id));
        for (index, session) in sessions.iter().enumerate() {
            assert_eq!(session.get_version_num(), 8);
            assert_eq!(session.get_variant(), uuid::Variant::RFC4122);
            assert!(!sessions[..index].contains(session), "{:?}", owners[index]);
            assert_eq!(*session, caller(owners[index]).session_of(message_id));
        }
        // Made by Python's hashlib. A derived id must never change from version to version.
        assert_eq!(
            sessions[1].to_string(),
            "fb3ff5b1-8c8a-8608-923d-d126e96a1a5f"
        );
    }

    #[test]
    fn a_subject_that_names_nobody_is_no_owner() {
        for subject in ["", "  ", "a\0b"] {
            assert_eq!(Owner::new(Kind::Jwt, subject), None, "{subject:?}");
        }
    }
}
