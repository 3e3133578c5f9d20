//! The parameters in a secret of AWS Secrets Manager.

use serde_json::Value;

use super::connection_string;
use super::parameters::Parameters;
use crate::settings::SettingsError;

/// The members of the secrets that RDS writes, and the parameter each maps to.
const SECRET_MEMBERS: &[(&str, &str)] = &[
    ("dbname", "dbname"),
    ("host", "host"),
    ("password", "password"),
    ("port", "port"),
    ("username", "user"),
];

/// The parameters in a secret: the JSON that RDS writes, or a connection string.
///
/// # Errors
/// [`SettingsError`].
pub fn parse(text: &str) -> Result<Parameters, SettingsError> {
    if !text.trim_start().starts_with('{') {
        return connection_string::parse(text);
    }
    let Ok(Value::Object(members)) = serde_json::from_str(text) else {
        return Err(SettingsError::new(
            "looks like JSON but is not valid; use the form that RDS writes, or a connection string",
        ));
    };
    let mut parameters = Parameters::default();
    for (member, parameter) in SECRET_MEMBERS {
        match members.get(*member) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => parameters.insert(parameter, text),
            Some(Value::Number(number)) => parameters.insert(parameter, &number.to_string()),
            Some(_) => {
                return Err(SettingsError::new(format!(
                    "{member} is neither a string nor a number"
                )));
            }
        }
    }
    if parameters.get("password").is_none() {
        return Err(SettingsError::new("contains no password"));
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_in_the_form_of_rds_or_as_a_string() {
        let of_rds = r#"{"username": "u", "password": "p", "engine": "postgres", "host": "h",
            "port": 5432, "dbname": "d", "dbInstanceIdentifier": "i"}"#;
        for text in [of_rds, "postgresql://u:p@h:5432/d\n"] {
            let read = parse(text).map(|parameters| {
                let read = parameters
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"));
                read.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(read.unwrap(), "dbname=d host=h password=p port=5432 user=u");
        }
        for text in [
            "{",
            "[1]",
            r#"{"username": "u"}"#,
            r#"{"password": ["p4ss"]}"#,
        ] {
            let error = parse(text).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| !error.contains("p4ss")), "{text}");
        }
    }
}
