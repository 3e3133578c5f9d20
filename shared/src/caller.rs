//! The caller of a request and the request's deadline.

use std::fmt::{self, Display};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::sha::Sha256;
use tokio::time::Instant;
use uuid::{Builder, Uuid};

use crate::settings::{self, SettingsError};

/// Timeout for a request without a Lambda deadline. API Gateway gives up after 30 s.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(29);

/// The caller of a request and the request's deadline.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The identity that the authorizer vouches for; `None` if no authorizer is configured.
    pub owner: Option<Owner>,
    /// What callers may do here.
    pub permissions: Permissions,
    /// When the answer must be ready.
    pub deadline: Instant,
}

/// What callers of an installation may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Whether a caller whom nobody vouches for sees all sessions that have no owner, and not only
    /// those whose ids it knows.
    pub anonymous_sees_all: bool,
    /// Whether callers may erase their sessions.
    pub callers_may_erase: bool,
    /// Whether callers may name sessions and messages by ids of the Python server that are no UUIDs.
    pub legacy_ids: bool,
}

impl Permissions {
    /// The variable for [`Self::anonymous_sees_all`].
    pub const ANONYMOUS_SEES_ALL: &str = "ANONYMOUS_SEES_ALL";

    /// The variable for [`Self::callers_may_erase`].
    pub const CALLERS_MAY_ERASE: &str = "CALLERS_MAY_ERASE";

    /// The variable for [`Self::legacy_ids`].
    pub const LEGACY_IDS: &str = "LEGACY_IDS";

    /// Reads the variables; what is unset is not permitted.
    ///
    /// # Errors
    /// [`SettingsError`] when one is neither `true` nor `false`.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let permitted = |name| Ok(settings::switch(&variable, name)?.unwrap_or(false));
        Ok(Self {
            anonymous_sees_all: permitted(Self::ANONYMOUS_SEES_ALL)?,
            callers_may_erase: permitted(Self::CALLERS_MAY_ERASE)?,
            legacy_ids: permitted(Self::LEGACY_IDS)?,
        })
    }
}

/// An identity that an authorizer vouches for. `Display` is the stored form, `kind:subject`, so
/// that two kinds of identity never mean the same owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    kind: Kind,
    subject: String,
}

/// The kind of an identity. A subject is unique only within its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The subject of a token, as JWT authorizers and Cognito user pools pass it on.
    Jwt,
    /// The subject that a Lambda authorizer returns.
    Lambda,
    /// The id that a Cognito identity pool assigns to each of its users.
    CognitoIdentity,
    /// The unique id of an IAM principal: a user, or a role and its session name.
    Iam,
}

impl Kind {
    /// The kind with this name in an owner's stored form.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

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

impl Kind {
    const ALL: [Self; 4] = [Self::Jwt, Self::Lambda, Self::CognitoIdentity, Self::Iam];
}

impl Owner {
    /// The identity in its stored form; `None` if this is not one.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let (kind, subject) = key.split_once(':')?;
        Self::new(Kind::parse(kind)?, subject)
    }

    /// An identity that is vouched for; `None` if the subject is blank or contains NUL.
    #[must_use]
    pub fn new(kind: Kind, subject: &str) -> Option<Self> {
        (!subject.trim().is_empty() && !subject.contains('\0')).then(|| Self {
            kind,
            subject: subject.to_owned(),
        })
    }
}

impl Caller {
    /// The owner in its stored form.
    #[must_use]
    pub fn owner_key(&self) -> Option<String> {
        self.owner.as_ref().map(ToString::to_string)
    }

    /// Whether more can be asked for than sessions whose ids the caller knows.
    #[must_use]
    pub fn may_list(&self) -> bool {
        self.owner.is_some() || self.permissions.anonymous_sees_all
    }

    /// The session for a message sent without a session id: the same each time the call is
    /// repeated, and a different one for every other caller.
    #[must_use]
    pub fn session_of(&self, message_id: Uuid) -> Uuid {
        let (kind, subject) = match &self.owner {
            None => ("", ""),
            Some(owner) => (owner.kind.name(), owner.subject.as_str()),
        };
        let mut digest = Sha256::new();
        for part in [kind.as_bytes(), subject.as_bytes(), message_id.as_bytes()] {
            // Each part is preceded by its length, so that no two triples hash the same input.
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.finish()[..16]);
        Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// The time left until a Lambda deadline, which is in milliseconds since 1970. `None` if it has
/// passed, as with cargo-lambda's deadlines, which are not points in time.
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
            permissions: Permissions::default(),
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
        // Computed with Python's hashlib. A derived id must never change between versions.
        assert_eq!(
            sessions[1].to_string(),
            "fb3ff5b1-8c8a-8608-923d-d126e96a1a5f"
        );
    }

    #[test]
    fn an_owner_is_read_from_its_stored_form() {
        for kind in Kind::ALL {
            let owner = Owner::new(kind, "a:b").unwrap();
            assert_eq!(Owner::parse(&owner.to_string()), Some(owner));
        }
        for key in ["", "alice", "jwt:", "other:alice", "JWT:alice"] {
            assert_eq!(Owner::parse(key), None, "{key}");
        }
    }

    #[test]
    fn a_subject_that_names_nobody_is_no_owner() {
        for subject in ["", "  ", "a\0b"] {
            assert_eq!(Owner::new(Kind::Jwt, subject), None, "{subject:?}");
        }
    }
}
