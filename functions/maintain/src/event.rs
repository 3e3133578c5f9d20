//! What an event asks for.

use serde_json::Value;

use crate::error::MaintainError;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Erases recorded sessions, and those past retention.
    Run {
        /// Looks at every session, and not only until one was opened too recently to have expired.
        everything: bool,
    },
    /// Erases everything of an owner.
    Erase {
        /// The owner, as it is stored: `kind:id`.
        owner: String,
        /// Only counts.
        dry_run: bool,
    },
}

impl Action {
    /// Reads an event. One without an action is that of a schedule.
    ///
    /// # Errors
    /// [`MaintainError::UnknownAction`], [`MaintainError::InvalidEvent`].
    pub fn read(event: &Value) -> Result<Self, MaintainError> {
        let member = |name: &str| event.get(name).unwrap_or(&Value::Null);
        if !event.is_object() && !event.is_null() {
            return Err(MaintainError::UnknownAction);
        }
        match member("action") {
            Value::Null => Ok(Self::Run { everything: false }),
            Value::String(action) if action == "run" => Ok(Self::Run {
                everything: switch(member("everything"), "everything must be true or false")?,
            }),
            Value::String(action) if action == "erase" => {
                let owner = member("owner").as_str().unwrap_or_default();
                if owner.trim().is_empty() || owner.contains('\0') {
                    return Err(MaintainError::InvalidEvent(
                        "owner must name whose sessions to erase, such as jwt:alice",
                    ));
                }
                Ok(Self::Erase {
                    owner: owner.to_owned(),
                    dry_run: switch(member("dry_run"), "dry_run must be true or false")?,
                })
            }
            _ => Err(MaintainError::UnknownAction),
        }
    }
}

/// A value that is nearly a switch must not be taken for one: `"dry_run": "true"` would erase.
fn switch(value: &Value, otherwise: &'static str) -> Result<bool, MaintainError> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(on) => Ok(*on),
        _ => Err(MaintainError::InvalidEvent(otherwise)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_of_a_schedule_is_a_run() {
        let of_a_schedule = json!({
            "version": "0", "id": "x", "detail-type": "Scheduled Event", "source": "aws.events",
            "resources": ["arn"], "detail": {},
        });
        for event in [
            Value::Null,
            json!({}),
            json!({ "action": "run" }),
            of_a_schedule,
        ] {
            let action = Action::read(&event).unwrap();
            assert_eq!(action, Action::Run { everything: false }, "{event}");
        }
    }

    #[test]
    fn nothing_is_erased_by_an_event_that_is_not_clear() {
        for event in [
            json!("erase"),
            json!([]),
            json!({ "action": "eraze", "owner": "jwt:alice" }),
            json!({ "action": "erase" }),
            json!({ "action": "erase", "owner": " " }),
            json!({ "action": "erase", "owner": ["jwt:alice"] }),
            json!({ "action": "erase", "owner": "jwt:\u{0}" }),
            json!({ "action": "erase", "owner": "jwt:alice", "dry_run": "true" }),
            json!({ "action": "erase", "owner": "jwt:alice", "dry_run": 1 }),
            json!({ "action": "run", "everything": "yes" }),
        ] {
            assert!(Action::read(&event).is_err(), "{event}");
        }
    }
}
