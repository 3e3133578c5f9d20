//! Reads the file that declares the functions of an installation.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::aws;
use shared::settings::SettingsError;

use super::address::is_forbidden;
use super::endpoint::{Endpoint, client};
use super::recordings::FUNCTION_NAME as SEARCH_FUNCTION;

/// The variable with the path of the file.
const TOOLS_FILE: &str = "TOOLS_FILE";

/// The timeout of a call if the file names none, in seconds.
const DEFAULT_TIMEOUT_SECONDS: u64 = 5;

/// The longest timeout, in seconds.
const MAX_TIMEOUT_SECONDS: u64 = 60;

/// The most functions.
const MAX_TOOLS: usize = 32;

/// The longest name, in characters: what providers accept.
const MAX_NAME_CHARACTERS: usize = 64;

/// A function in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    name: String,
    description: String,
    parameters: Option<Value>,
    url: String,
    timeout_seconds: Option<u64>,
    secret_header: Option<SecretHeader>,
    #[serde(default)]
    allow_link_local: bool,
}

/// A header whose value is in a variable or in a secret of AWS.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretHeader {
    name: String,
    variable: Option<String>,
    secret_arn: Option<String>,
}

/// Reads the functions that `TOOLS_FILE` declares, and their secrets; none if it is not set.
///
/// # Errors
/// [`SettingsError`] that says what to fix, and contains nothing of a secret.
pub async fn read(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Endpoint>, SettingsError> {
    let Some(path) = variable(TOOLS_FILE) else {
        return Ok(Vec::new());
    };
    let wrong = |why: String| SettingsError::new(format!("{TOOLS_FILE} ({path}): {why}"));
    let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
    let declared: Vec<Declared> =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    if declared.len() > MAX_TOOLS {
        return Err(wrong(format!("more than {MAX_TOOLS} functions")));
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for declared in declared {
        let name = declared.name.clone();
        if endpoints.iter().any(|endpoint| endpoint.name == name) {
            return Err(wrong(format!("{name} is declared twice")));
        }
        let endpoint = endpoint(declared, &variable).await;
        endpoints.push(endpoint.map_err(|why| wrong(format!("{name}: {why}")))?);
    }
    Ok(endpoints)
}

async fn endpoint(
    declared: Declared,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Endpoint, String> {
    let is_letter = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    let name = declared.name;
    if name.is_empty() || name.len() > MAX_NAME_CHARACTERS || !name.chars().all(is_letter) {
        return Err(format!(
            "a name has 1 to {MAX_NAME_CHARACTERS} letters, digits, - and _"
        ));
    }
    if name == SEARCH_FUNCTION {
        return Err("this name is taken by the search for recordings".to_owned());
    }
    let parameters = declared
        .parameters
        .unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    if parameters["type"] != "object" {
        return Err("`parameters` must be a JSON schema of type object".to_owned());
    }
    let seconds = declared.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    if !(1..=MAX_TIMEOUT_SECONDS).contains(&seconds) {
        return Err(format!(
            "`timeout_seconds` must be from 1 to {MAX_TIMEOUT_SECONDS}"
        ));
    }
    let secret_header = match declared.secret_header {
        Some(header) => Some(secret_header(header, variable).await?),
        None => None,
    };
    Ok(Endpoint {
        name,
        description: declared.description,
        parameters,
        url: url(&declared.url, declared.allow_link_local)?,
        timeout: Duration::from_secs(seconds),
        secret_header,
        client: client(declared.allow_link_local)
            .map_err(|_| "its HTTP client cannot be built".to_owned())?,
    })
}

fn url(text: &str, is_everything_allowed: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "`url` is no address".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("`url` must begin with https:// or http://".to_owned());
    }
    // An address instead of a name is not resolved, so it is checked here.
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    if !is_everything_allowed && address.is_ok_and(is_forbidden) {
        return Err(
            "`url` is a link-local or metadata address; set `allow_link_local` if that is meant"
                .to_owned(),
        );
    }
    Ok(url)
}

async fn secret_header(
    header: SecretHeader,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::try_from(&header.name)
        .map_err(|_| "the name of `secret_header` is no header".to_owned())?;
    let text = match (&header.variable, &header.secret_arn) {
        (Some(name), None) => {
            variable(name).ok_or_else(|| format!("the variable {name} is not set"))?
        }
        // Boxed: AWS's futures nest too deeply for the compiler in the functions that await this one.
        (None, Some(arn)) => Box::pin(aws::secret(arn)).await?,
        _ => return Err("`secret_header` needs `variable` or `secret_arn`".to_owned()),
    };
    let mut value = HeaderValue::try_from(text.trim())
        .map_err(|_| "the secret cannot be in a header".to_owned())?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    async fn read_text(text: &str) -> Result<Vec<Endpoint>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let variable = |name: &str| match name {
            TOOLS_FILE => Some(path.clone()),
            "SHOP_KEY" => Some("sesame".to_owned()),
            _ => None,
        };
        read(variable).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_function_is_read_with_its_secret_and_its_defaults() {
        let text = r#"[{
            "name": "opening_hours", "description": "Says when a shop is open",
            "url": "https://shop.example/hours",
            "secret_header": { "name": "X-Key", "variable": "SHOP_KEY" }
        }]"#;
        let [endpoint] = &read_text(text).await.unwrap()[..] else {
            panic!()
        };
        assert_eq!(endpoint.timeout, Duration::from_secs(5));
        assert_eq!(endpoint.parameters["type"], "object");
        let (name, value) = endpoint.secret_header.as_ref().unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-key", &b"sesame"[..]));
        assert!(!format!("{endpoint:?}").contains("sesame"));
    }

    #[tokio::test]
    async fn what_is_wrong_in_the_file_is_said() {
        let with = |members: &str| {
            format!(
                r#"[{{ "name": "f", "description": "d", "url": "http://a.example", {members} }}]"#
            )
        };
        let two = r#"[{ "name": "f", "description": "d", "url": "http://a.example" },
            { "name": "f", "description": "d", "url": "http://a.example" }]"#;
        for (text, said) in [
            ("{}".to_owned(), "expected a sequence"),
            (two.to_owned(), "f is declared twice"),
            (with(r#""surprise": 1"#), "unknown field"),
            (with(r#""timeout_seconds": 0"#), "from 1 to 60"),
            (
                with(r#""parameters": { "type": "string" }"#),
                "of type object",
            ),
            (
                with(r#""secret_header": { "name": "x" }"#),
                "`variable` or `secret_arn`",
            ),
            (
                with(r#""secret_header": { "name": "x", "variable": "NO_KEY" }"#),
                "NO_KEY is not set",
            ),
            (
                with("\"allow_link_local\": false").replace("a.example", "169.254.169.254"),
                "link-local",
            ),
            (
                with("\"allow_link_local\": false").replace("a.example", "[fe80::1]"),
                "link-local",
            ),
            (
                with("\"allow_link_local\": false").replace("http", "file"),
                "https://",
            ),
            (
                with("\"allow_link_local\": false").replace("\"f\"", "\"a b\""),
                "letters, digits",
            ),
            (
                with("\"allow_link_local\": false").replace("\"f\"", "\"search_audio_resources\""),
                "taken",
            ),
        ] {
            let error = read_text(&text).await.unwrap_err();
            assert!(error.contains(said), "{error}");
            assert!(error.starts_with(TOOLS_FILE), "{error}");
        }
        let allowed = with("\"allow_link_local\": true").replace("a.example", "169.254.169.254");
        assert!(read_text(&allowed).await.is_ok());
    }
}
