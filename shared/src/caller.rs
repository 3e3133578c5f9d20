//! Who asks, and until when the answer is of use.

use std::fmt::{self, Display};

use lambda_http::RequestExt;
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayRequestAuthorizer, ApiGatewayRequestAuthorizerIamDescription,
    ApiGatewayRequestIdentity,
};
use lambda_http::request::RequestContext;
use openssl::sha::Sha256;
use serde_json::Value;
use tokio::time::Instant;
use uuid::{Builder, Uuid};

use crate::problem::Problem;

/// The session name that every user of a Cognito identity pool has in an ARN.
const COGNITO_SESSION_NAME: &str = "CognitoIdentityCredentials";

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
        let owner = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => match &context.authorizer {
                None => return Ok(None),
                Some(authorizer) => of_http_api(authorizer),
            },
            // A REST API's event always carries both members. Without an authorizer they are empty.
            Some(RequestContext::ApiGatewayV1(context)) => {
                if !context.authorizer.fields.is_empty() {
                    of_rest_api(&context.authorizer)
                } else if is_signed(&context.identity) {
                    of_identity(&context.identity)
                } else {
                    return Ok(None);
                }
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

/// The authorizer's member in an event of an HTTP API or a function URL.
fn of_http_api(authorizer: &ApiGatewayRequestAuthorizer) -> Option<Owner> {
    if let Some(jwt) = &authorizer.jwt {
        return Owner::new(Kind::Jwt, jwt.claims.get("sub")?);
    }
    match &authorizer.iam {
        Some(iam) => of_iam(iam),
        None => of_lambda(authorizer),
    }
}

/// The authorizer's member in an event of a REST API: a Cognito user pool puts claims there, a Lambda
/// authorizer texts and numbers.
fn of_rest_api(authorizer: &ApiGatewayRequestAuthorizer) -> Option<Owner> {
    if let Some(Value::Object(claims)) = authorizer.fields.get("claims") {
        return Owner::new(Kind::Jwt, claims.get("sub")?.as_str()?);
    }
    of_lambda(authorizer)
}

fn of_lambda(authorizer: &ApiGatewayRequestAuthorizer) -> Option<Owner> {
    let fields = &authorizer.fields;
    let subject = fields.get("sub").or_else(|| fields.get("principalId"));
    Owner::new(Kind::Lambda, subject?.as_str()?)
}

fn of_iam(iam: &ApiGatewayRequestAuthorizerIamDescription) -> Option<Owner> {
    if let Some(cognito) = &iam.cognito_identity {
        return Owner::new(Kind::CognitoIdentity, cognito.identity_id.as_deref()?);
    }
    of_principal(iam.user_id.as_deref().or(iam.caller_id.as_deref())?)
}

/// Whether a REST API's caller has signed the request.
fn is_signed(identity: &ApiGatewayRequestIdentity) -> bool {
    identity.user_arn.is_some()
        || identity.user.is_some()
        || identity.caller.is_some()
        || identity.cognito_identity_pool_id.is_some()
        || identity.cognito_identity_id.is_some()
}

fn of_identity(identity: &ApiGatewayRequestIdentity) -> Option<Owner> {
    if identity.cognito_identity_pool_id.is_some() || identity.cognito_identity_id.is_some() {
        return Owner::new(
            Kind::CognitoIdentity,
            identity.cognito_identity_id.as_deref()?,
        );
    }
    of_principal(identity.user.as_deref().or(identity.caller.as_deref())?)
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
