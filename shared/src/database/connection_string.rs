//! Connection strings in libpq's two forms (its documentation, "Connection Strings"). Errors say
//! where the problem is and never quote a value.

use std::iter::Peekable;
use std::str::Chars;

use percent_encoding::percent_decode_str;

use super::parameters::Parameters;
use crate::settings::SettingsError;

const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// The error for a text in neither form.
const NEITHER_FORM: &str =
    "not a connection string such as postgresql://user:password@host:5432/database";

/// Reads a connection string in either form.
///
/// # Errors
/// [`SettingsError`].
pub fn parse(text: &str) -> Result<Parameters, SettingsError> {
    let text = text.trim();
    match SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) => parse_url(rest),
        None if text.contains("://") => error(NEITHER_FORM),
        None => parse_pairs(text),
    }
}

/// `[user[:password]@][host[:port],…][/database][?name=value&…]`.
fn parse_url(rest: &str) -> Result<Parameters, SettingsError> {
    let mut parameters = Parameters::default();
    // The first of the two decides, so a slash in a password must be percent-encoded.
    let credentials = rest
        .find(['@', '/'])
        .filter(|at| rest[*at..].starts_with('@'));
    let rest = match credentials {
        None => rest,
        Some(at) => {
            let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
            parameters.set("user", &decode(user, "user")?)?;
            parameters.set("password", &decode(password, "password")?)?;
            &rest[at + 1..]
        }
    };

    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    let mut names = Vec::new();
    let mut ports = Vec::new();
    for host in hosts.split(',') {
        let (name, port) = split_port(host)?;
        names.push(decode(name, "host")?);
        ports.push(port);
    }
    // The rest of a password with a slash in it would be taken for the database or a parameter, and
    // would be printed. Parameter values may contain an @ too, but then their parameters are known
    // ones.
    let is_known = |pair: &str| Parameters::is_known(pair.split('=').next().unwrap_or_default());
    let half_a_user = credentials.is_none() && hosts.contains(':');
    if database.contains('@')
        || (query.contains('@') && (half_a_user || !query.split('&').all(is_known)))
    {
        return error(
            "there is an @ after the host; write a / in the password as %2F, and an @ as %40",
        );
    }
    if names.iter().any(|name| name.contains('@')) {
        return error("the host contains an @; write an @ in the password as %40");
    }
    if names.iter().any(|name| !name.is_empty()) {
        parameters.set("host", &names.join(","))?;
    }
    if ports.iter().any(|port| !port.is_empty()) {
        parameters.set("port", &ports.join(","))?;
    }
    parameters.set("dbname", &decode(database, "database")?)?;

    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return error("a parameter has no =");
        };
        let (name, value) = (decode(name, "parameter")?, decode(value, "value")?);
        match (name.as_str(), value.as_str()) {
            // JDBC's spelling, which libpq also accepts.
            ("ssl", "true") => parameters.set("sslmode", "require")?,
            _ => parameters.set(&name, &value)?,
        }
    }
    Ok(parameters)
}

/// Splits a host from its port, which may be empty. An IPv6 address is in brackets.
fn split_port(host: &str) -> Result<(&str, &str), SettingsError> {
    if let Some(rest) = host.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((address, "")) => Ok((address, "")),
            Some((address, port)) if port.starts_with(':') => Ok((address, &port[1..])),
            _ => error("the host has a [ without a matching ]"),
        };
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    // Checked before any later part is quoted: this may be half of a password with a slash in it.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return error("the port must be a number; write a / in the password as %2F");
    }
    Ok((name, port))
}

fn decode(text: &str, what: &str) -> Result<String, SettingsError> {
    let bad_escape = text.split('%').skip(1).any(|rest| {
        let digits = rest.as_bytes().get(..2);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00")
    });
    if bad_escape {
        return error(&format!("the {what} has a % in it; write it as %25"));
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => error(&format!("the {what} is not UTF-8")),
    }
}

/// `name = 'value'`, with or without the quotes and the spaces; a backslash escapes.
fn parse_pairs(text: &str) -> Result<Parameters, SettingsError> {
    let mut parameters = Parameters::default();
    let mut characters = text.chars().peekable();
    loop {
        skip_white_space(&mut characters);
        if characters.peek().is_none() {
            return Ok(parameters);
        }
        let mut name = String::new();
        while let Some(character) = characters.next_if(|next| *next != '=' && !next.is_whitespace())
        {
            name.push(character);
        }
        skip_white_space(&mut characters);
        if characters.next() != Some('=') {
            return error(NEITHER_FORM);
        }
        skip_white_space(&mut characters);
        if !Parameters::is_known(&name) {
            return error("has an unknown parameter; a value with white space needs quotes");
        }
        parameters.set(&name, &value(&mut characters)?)?;
    }
}

fn value(characters: &mut Peekable<Chars<'_>>) -> Result<String, SettingsError> {
    let quoted = characters.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match characters.next() {
            None if quoted => return error("a quoted value has no end"),
            None => return Ok(value),
            Some('\'') if quoted => return Ok(value),
            Some('\\') => value.extend(characters.next()),
            Some(character) if character.is_whitespace() && !quoted => return Ok(value),
            Some(character) => value.push(character),
        }
    }
}

fn skip_white_space(characters: &mut Peekable<Chars<'_>>) {
    while characters.next_if(|next| next.is_whitespace()).is_some() {}
}

fn error<T>(sentence: &str) -> Result<T, SettingsError> {
    Err(SettingsError::new(sentence.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_as_libpq_reads_them() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            (
                " postgresql://u:p%40s%20s@h:6543/chat?application_name=me&pgbouncer=true\n",
                &[
                    ("application_name", "me"),
                    ("dbname", "chat"),
                    ("host", "h"),
                    ("password", "p@s s"),
                    ("port", "6543"),
                    ("user", "u"),
                ],
            ),
            (
                "postgres://h/chat?application_name=a@b",
                &[
                    ("application_name", "a@b"),
                    ("dbname", "chat"),
                    ("host", "h"),
                ],
            ),
            (
                "postgres://u@[::1]:1,[::2],c:3/?connect_timeout=",
                &[("host", "::1,::2,c"), ("port", "1,,3"), ("user", "u")],
            ),
            (
                "postgres://%2Fvar%2Frun/db",
                &[("dbname", "db"), ("host", "/var/run")],
            ),
            (
                "postgres://u:a+b@h",
                &[("host", "h"), ("password", "a+b"), ("user", "u")],
            ),
            (
                "postgres://u:p@h/d?host=other",
                &[
                    ("dbname", "d"),
                    ("host", "other"),
                    ("password", "p"),
                    ("user", "u"),
                ],
            ),
            (
                r"host = h  password='it\'s a \\' user=a\ b dbname=''",
                &[("host", "h"), ("password", r"it's a \"), ("user", "a b")],
            ),
            ("", &[]),
        ];
        for (text, expected) in cases {
            let parameters = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let read: Vec<_> = parameters.iter().collect();
            assert_eq!(&read, expected, "{text}");
        }
    }
}
