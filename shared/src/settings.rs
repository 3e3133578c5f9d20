//! Reading settings from variables.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A variable without the white space around it; `None` where it is not set or empty.
pub fn text(variable: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variable(name)
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

/// A number within `range`; `None` where the variable is not set.
///
/// # Errors
/// A sentence that names the variable and the range.
pub fn number<T>(
    variable: impl Fn(&str) -> Option<String>,
    name: &str,
    range: RangeInclusive<T>,
) -> Result<Option<T>, String>
where
    T: FromStr + PartialOrd + Display,
{
    let Some(text) = text(variable, name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        _ => Err(format!(
            "{name} must be a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}
