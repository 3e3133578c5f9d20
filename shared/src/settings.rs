//! Reads settings from variables.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// An invalid setting: a sentence that names the variable and never contains a secret value.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl SettingsError {
    /// An error with this sentence.
    #[must_use]
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// The same error, prefixed with the name of the setting.
    #[must_use]
    pub fn of(self, name: &str) -> Self {
        Self(format!("{name}: {}", self.0))
    }
}

/// The value of a variable without surrounding white space; `None` if it is unset or empty.
pub fn text(variable: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variable(name)
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

/// A switch: `true` or `false`; `None` if the variable is unset or empty.
///
/// # Errors
/// [`SettingsError`], which names the variable.
pub fn switch(
    variable: impl Fn(&str) -> Option<String>,
    name: &str,
) -> Result<Option<bool>, SettingsError> {
    match text(variable, name).as_deref() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(SettingsError::new(format!("{name} must be true or false"))),
    }
}

/// A number within `range`; `None` if the variable is unset or empty.
///
/// # Errors
/// [`SettingsError`], which names the variable and the range.
pub fn number<T>(
    variable: impl Fn(&str) -> Option<String>,
    name: &str,
    range: RangeInclusive<T>,
) -> Result<Option<T>, SettingsError>
where
    T: FromStr + PartialOrd + Display,
{
    let Some(text) = text(variable, name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        _ => Err(SettingsError::new(format!(
            "{name} must be a whole number from {} to {}",
            range.start(),
            range.end()
        ))),
    }
}

/// A number from 0 to 1; `None` if the variable is unset or empty.
///
/// # Errors
/// [`SettingsError`], which names the variable.
pub fn share(
    variable: impl Fn(&str) -> Option<String>,
    name: &str,
) -> Result<Option<f64>, SettingsError> {
    let Some(text) = text(variable, name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(Some(share)),
        _ => Err(SettingsError::new(format!(
            "{name} must be a number from 0 to 1, such as 0.5"
        ))),
    }
}
