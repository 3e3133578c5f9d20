//! Who asks, and until when the answer is of use.

use std::fmt::{self, Display};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::sha::Sha256;
use tokio::time::Instant;
use uuid::{Builder, Uuid};

/// How long a request may take where no Lambda deadline says so. API Gateway gives up after 30 s.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(29);

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

/// The time until a deadline of Lambda's, given in milliseconds since 1970. `None` where that has
/// passed, as with the deadlines of cargo-lambda, which are no points in time.
#[must_use]
pub fn time_until(deadline_ms: u64) -> Option<Duration> {
    (UNIX_EPOCH + Duration::from_millis(deadline_ms))
        .duration_since(SystemTime::now())
        .ok()
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
