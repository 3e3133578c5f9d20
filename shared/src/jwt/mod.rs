//! Checks bearer tokens as API Gateway's JWT authorizer does, where there is none: in the local server, and
//! in front of a REST API, which knows no such authorizer.
//!
//! A token (JWT, RFC 7519) is accepted if a key of the issuer signed it and its claims say that it is
//! of this issuer, for this audience, valid now, and about someone. Nothing logs a token.

mod context;
mod issuer;
mod key;
mod keys;

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::caller::{Kind, Owner};
use crate::settings::{self, SettingsError};
pub use context::{PASSED_CLAIMS, authorizer_context};
use issuer::Issuer;
pub use issuer::IssuerError;
use key::Key;
use keys::Keys;

/// The variable with the issuer, exactly as tokens have it in `iss`.
const ISSUER: &str = "JWT_ISSUER";

/// The variable with those whom tokens must be for, separated by commas.
const AUDIENCE: &str = "JWT_AUDIENCE";

/// How far the issuer's clock may differ from ours, in seconds.
const LEEWAY_SECONDS: u32 = 30;

/// Checks tokens of one issuer.
#[derive(Debug)]
pub struct Verifier {
    keys: Keys,
    /// One of them must be in `aud`.
    audiences: Vec<String>,
}

/// What an accepted token says.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The token's subject.
    pub owner: Owner,
    /// All claims of the token.
    pub claims: Map<String, Value>,
}

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The token is not valid. The sentence says nothing that its bearer does not know.
    #[error("{0}")]
    Invalid(&'static str),
    /// The token could not be checked, because the issuer's keys are not known.
    #[error(transparent)]
    Unchecked(#[from] IssuerError),
}

impl Verifier {
    /// Reads `JWT_ISSUER` and `JWT_AUDIENCE`; `None` if neither is set. The issuer is not contacted
    /// before the first token.
    ///
    /// # Errors
    /// [`SettingsError`] if only one is set, or the issuer is no address.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, SettingsError> {
        let issuer = settings::text(&variable, ISSUER);
        let audience = settings::text(&variable, AUDIENCE);
        let (set, unset) = match (issuer, audience) {
            (None, None) => return Ok(None),
            (Some(issuer), Some(audience)) => return Self::new(issuer, &audience).map(Some),
            (Some(_), None) => (ISSUER, AUDIENCE),
            (None, Some(_)) => (AUDIENCE, ISSUER),
        };
        Err(SettingsError::new(format!(
            "{set} is set, but {unset} is not; tokens are checked against both"
        )))
    }

    fn new(issuer: String, audience: &str) -> Result<Self, SettingsError> {
        let audiences = audience.split(',').map(str::trim);
        let audiences: Vec<String> = audiences
            .filter(|audience| !audience.is_empty())
            .map(str::to_owned)
            .collect();
        if audiences.is_empty() {
            return Err(SettingsError::new(format!("{AUDIENCE} names no audience")));
        }
        // Fails if the process has one, which is the same.
        let _ = jsonwebtoken_openssl::install_default();
        let issuer = Issuer::new(issuer).map_err(|error| error.of(ISSUER))?;
        Ok(Self {
            keys: Keys::new(issuer),
            audiences,
        })
    }

    /// The issuer and the audiences, for people.
    #[must_use]
    pub fn description(&self) -> String {
        format!("{} for {}", self.keys.issuer(), self.audiences.join(", "))
    }

    /// Fetches the issuer's keys, so that the first token need not wait for them. A failure is logged, and
    /// the first token tries again.
    pub async fn prepare(&self) {
        self.keys.prepare().await;
    }

    /// Checks the value of an `authorization` header: a token, with or without `Bearer` before it.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn verify(&self, authorization: &str) -> Result<Verified, TokenError> {
        let token = without_scheme(authorization);
        if is_opaque(token) {
            return Err(TokenError::Invalid(
                "the token cannot be read: it is opaque, and only its issuer knows what it means; \
                 have the issuer give out JWTs, which it often does only for an audience",
            ));
        }
        let header = decode_header(token).map_err(|error| invalid(&error))?;
        if header.crit.is_some() {
            return Err(TokenError::Invalid("the token has an extension (crit)"));
        }
        let Some(id) = &header.kid else {
            return Err(TokenError::Invalid("the token names no key (kid)"));
        };
        let Some(key) = self.keys.find(id, header.alg).await? else {
            return Err(TokenError::Invalid(
                "the issuer has no key with the token's kid for its alg",
            ));
        };
        let claims = signed_claims(token, header.alg, &key)?;
        let subject = check(&claims, self.keys.issuer(), &self.audiences)?;
        let owner = Owner::new(Kind::Jwt, subject);
        let owner = owner.ok_or(TokenError::Invalid("the token names no subject (sub)"))?;
        Ok(Verified { owner, claims })
    }
}

fn without_scheme(authorization: &str) -> &str {
    match authorization.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        _ => authorization.trim(),
    }
}

/// Whether a token is no JWT, nor meant to be one, which has dots.
fn is_opaque(token: &str) -> bool {
    !token.is_empty() && !token.contains(['.', ' '])
}

/// The claims of a token that is valid now and signed with this key.
fn signed_claims(
    token: &str,
    algorithm: Algorithm,
    key: &Key,
) -> Result<Map<String, Value>, TokenError> {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY_SECONDS.into();
    validation.validate_nbf = true;
    // By `check`, which knows `client_id`.
    validation.validate_aud = false;
    let decoded = decode(token, &key.public, &validation).map_err(|error| invalid(&error))?;
    Ok(decoded.claims)
}

/// Checks the claims that jsonwebtoken does not check, or not as API Gateway does. Returns the
/// subject.
fn check<'a>(
    claims: &'a Map<String, Value>,
    issuer: &str,
    audiences: &[String],
) -> Result<&'a str, TokenError> {
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err(TokenError::Invalid("the token is of another issuer (iss)"));
    }
    let is_ours = |audience: &Value| {
        let audience = audience.as_str();
        audience.is_some_and(|audience| audiences.iter().any(|ours| ours == audience))
    };
    let is_for_us = match claims.get("aud") {
        Some(Value::Array(listed)) => listed.iter().any(is_ours),
        Some(audience) => is_ours(audience),
        // Cognito's access tokens have no audience.
        None => claims.get("client_id").is_some_and(is_ours),
    };
    if !is_for_us {
        return Err(TokenError::Invalid(
            "the token is for another audience (aud, client_id)",
        ));
    }
    let latest = now() + f64::from(LEEWAY_SECONDS);
    let is_issued = |issued: &Value| issued.as_f64().is_some_and(|issued| issued <= latest);
    if !claims.get("iat").is_none_or(is_issued) {
        return Err(TokenError::Invalid(
            "the token was issued in the future (iat)",
        ));
    }
    let subject = claims.get("sub").and_then(Value::as_str);
    subject.ok_or(TokenError::Invalid("the token names no subject (sub)"))
}

/// Whether a token with these claims has not expired; `None` if they do not say.
pub(crate) fn is_current(claims: &Value) -> Option<bool> {
    let expires = claims["exp"].as_f64()?;
    Some(now() < expires + f64::from(LEEWAY_SECONDS))
}

/// Seconds since 1970.
fn now() -> f64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.unwrap_or_default().as_secs_f64()
}

fn invalid(error: &jsonwebtoken::errors::Error) -> TokenError {
    TokenError::Invalid(match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired (exp)",
        ErrorKind::ImmatureSignature => "the token is not valid yet (nbf)",
        ErrorKind::InvalidSignature => "the token's signature is not by the key that it names",
        ErrorKind::MissingRequiredClaim(_) => "the token does not expire (exp)",
        _ => "the token cannot be read",
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use openssl::bn::{BigNum, BigNumContext};
    use openssl::ec::{EcGroup, EcKey};
    use openssl::ecdsa::EcdsaSig;
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::{PKey, Private};
    use openssl::rsa::{Padding, Rsa};
    use openssl::sign::Signer;
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://issuer.example/";

    fn base64(bytes: impl AsRef<[u8]>) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// A new RSA key, and its entry in a key set.
    fn rsa() -> (PKey<Private>, Value) {
        let key = Rsa::generate(2048).unwrap();
        let (n, e) = (key.n().to_vec(), key.e().to_vec());
        let entry = json!({ "kid": "k", "kty": "RSA", "n": base64(n), "e": base64(e) });
        (PKey::from_rsa(key).unwrap(), entry)
    }

    /// A new key on a curve, whose coordinates have this many bytes, and its entry in a key set.
    fn curve(nid: Nid, name: &str, bytes: i32) -> (PKey<Private>, Value) {
        let group = EcGroup::from_curve_name(nid).unwrap();
        let key = EcKey::generate(&group).unwrap();
        let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
        let mut context = BigNumContext::new().unwrap();
        key.public_key()
            .affine_coordinates(&group, &mut x, &mut y, &mut context)
            .unwrap();
        let [x, y] = [x, y].map(|number| base64(number.to_vec_padded(bytes).unwrap()));
        let entry = json!({ "kid": "k", "kty": "EC", "crv": name, "x": x, "y": y });
        (PKey::from_ec_key(key).unwrap(), entry)
    }

    /// A token, signed as the algorithm in its header says, by OpenSSL alone.
    fn token(algorithm: &str, key: &PKey<Private>, claims: &Value) -> String {
        let header = json!({ "alg": algorithm, "kid": "k" }).to_string();
        let text = format!("{}.{}", base64(header), base64(claims.to_string()));
        let digest = match &algorithm[2..] {
            "256" => MessageDigest::sha256(),
            "384" => MessageDigest::sha384(),
            _ => MessageDigest::sha512(),
        };
        let mut signer = Signer::new(digest, key).unwrap();
        if algorithm.starts_with("PS") {
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        }
        let mut signature = signer.sign_oneshot_to_vec(text.as_bytes()).unwrap();
        if algorithm.starts_with("ES") {
            let pair = EcdsaSig::from_der(&signature).unwrap();
            let bytes = if algorithm == "ES256" { 32 } else { 48 };
            let numbers = [pair.r(), pair.s()];
            signature = numbers
                .map(|number| number.to_vec_padded(bytes).unwrap())
                .concat();
        }
        format!("{text}.{}", base64(signature))
    }

    /// The claims of a good token, with changes; null removes one.
    fn claims(changes: Value) -> Value {
        let mut claims = json!({ "iss": ISSUER, "aud": "daissy", "sub": "alice", "exp": at(60) });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        claims
    }

    /// The time so many seconds from now.
    fn at(seconds: i32) -> i64 {
        now() as i64 + i64::from(seconds)
    }

    /// The subject of a token, or why it is refused.
    fn read(token: &str, entry: &Value) -> Result<String, String> {
        let _ = jsonwebtoken_openssl::install_default();
        let algorithm = decode_header(token)
            .map_err(|error| invalid(&error).to_string())?
            .alg;
        let key = Key::read(entry).filter(|key| key.fits("k", algorithm));
        let key = key.ok_or("no key")?;
        let audiences = ["daissy".to_owned(), "other".to_owned()];
        let subject = signed_claims(token, algorithm, &key)
            .and_then(|claims| check(&claims, ISSUER, &audiences).map(str::to_owned));
        subject.map_err(|error| error.to_string())
    }

    #[test]
    fn every_accepted_algorithm_is_verified_and_a_changed_token_is_not() {
        let (rsa, rsa_entry) = rsa();
        let (p256, p256_entry) = curve(Nid::X9_62_PRIME256V1, "P-256", 32);
        let (p384, p384_entry) = curve(Nid::SECP384R1, "P-384", 48);
        let mut cases = vec![("ES256", &p256, &p256_entry), ("ES384", &p384, &p384_entry)];
        for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
            cases.push((algorithm, &rsa, &rsa_entry));
        }
        for (algorithm, key, entry) in cases {
            let good = token(algorithm, key, &claims(json!({})));
            assert_eq!(read(&good, entry).as_deref(), Ok("alice"), "{algorithm}");

            let other = token(algorithm, key, &claims(json!({ "sub": "bob" })));
            let parts = |token: &str| -> Vec<String> { token.split('.').map(Into::into).collect() };
            let (good, other) = (parts(&good), parts(&other));
            let spliced = [&*good[0], &*other[1], &*good[2]].join(".");
            let refused = read(&spliced, entry).unwrap_err();
            assert!(refused.contains("signature"), "{algorithm}: {refused}");
            let unsigned = format!("{}.{}.", good[0], good[1]);
            assert!(read(&unsigned, entry).is_err(), "{algorithm}");
        }
    }

    #[test]
    fn no_token_chooses_an_algorithm_that_its_key_is_not_for() {
        let (rsa, entry) = rsa();
        let encoded = |header: Value| {
            let claims = claims(json!({})).to_string();
            format!("{}.{}", base64(header.to_string()), base64(claims))
        };
        for algorithm in ["none", "None", "NONE", ""] {
            let unsigned = encoded(json!({ "alg": algorithm, "kid": "k" })) + ".";
            assert!(read(&unsigned, &entry).is_err(), "{algorithm}");
        }
        // The public key, which everyone knows, as the secret of an HMAC.
        let text = encoded(json!({ "alg": "HS256", "kid": "k" }));
        for secret in [
            rsa.public_key_to_pem().unwrap(),
            rsa.public_key_to_der().unwrap(),
            entry["n"].as_str().unwrap().into(),
        ] {
            let secret = PKey::hmac(&secret).unwrap();
            let mut signer = Signer::new(MessageDigest::sha256(), &secret).unwrap();
            let signature = signer.sign_oneshot_to_vec(text.as_bytes()).unwrap();
            let forged = format!("{text}.{}", base64(signature));
            assert_eq!(read(&forged, &entry), Err("no key".into()));
        }
    }

    #[test]
    fn claims_decide_as_they_do_at_api_gateway() {
        let (key, entry) = rsa();
        for (changes, expected) in [
            (json!({}), ""),
            (json!({ "aud": ["elsewhere", "other"] }), ""),
            (json!({ "aud": null, "client_id": "daissy" }), ""),
            (json!({ "iat": at(-60), "nbf": at(-60) }), ""),
            (json!({ "exp": 1e10 }), ""),
            (json!({ "exp": at(-10), "iat": at(10), "nbf": at(10) }), ""),
            (json!({ "iss": null }), "issuer"),
            (json!({ "iss": "https://issuer.example" }), "issuer"),
            (json!({ "iss": [ISSUER] }), "issuer"),
            (json!({ "aud": "elsewhere" }), "audience"),
            (
                json!({ "aud": "elsewhere", "client_id": "daissy" }),
                "audience",
            ),
            (json!({ "aud": [], "client_id": "daissy" }), "audience"),
            (json!({ "aud": { "daissy": 1 } }), "audience"),
            (json!({ "aud": null, "client_id": "elsewhere" }), "audience"),
            (json!({ "aud": null }), "audience"),
            (json!({ "exp": null }), "expire"),
            (json!({ "exp": at(-60) }), "expired"),
            (json!({ "exp": "tomorrow" }), "expire"),
            (json!({ "nbf": at(60) }), "not valid yet"),
            (json!({ "nbf": "now" }), "read"),
            (json!({ "iat": at(60) }), "future"),
            (json!({ "iat": "now" }), "future"),
            (json!({ "sub": null }), "subject"),
            (json!({ "sub": 7 }), "subject"),
        ] {
            let token = token("RS256", &key, &claims(changes.clone()));
            match read(&token, &entry) {
                Ok(subject) => assert_eq!((&*subject, expected), ("alice", ""), "{changes}"),
                Err(refused) => assert!(
                    !expected.is_empty() && refused.contains(expected),
                    "{changes}: {refused}"
                ),
            }
        }
    }

    #[test]
    fn a_key_is_used_for_nothing_that_its_entry_does_not_allow() {
        let (rsa, rsa_entry) = rsa();
        let (p384, p384_entry) = curve(Nid::SECP384R1, "P-384", 48);
        let short = Rsa::generate(1024).unwrap();
        let (n, e) = (base64(short.n().to_vec()), base64(short.e().to_vec()));
        let short = PKey::from_rsa(short).unwrap();
        for (key, entry, changes, algorithm, accepted) in [
            (
                &rsa,
                &rsa_entry,
                json!({ "use": "sig", "alg": "RS256" }),
                "RS256",
                true,
            ),
            (
                &rsa,
                &rsa_entry,
                json!({ "key_ops": ["verify"] }),
                "PS512",
                true,
            ),
            (&rsa, &rsa_entry, json!({ "alg": "RS256" }), "RS512", false),
            (&rsa, &rsa_entry, json!({ "alg": "RS256" }), "PS256", false),
            (
                &rsa,
                &rsa_entry,
                json!({ "alg": "RSA-OAEP" }),
                "RS256",
                false,
            ),
            (&rsa, &rsa_entry, json!({ "alg": "new" }), "RS256", false),
            (&rsa, &rsa_entry, json!({ "use": "enc" }), "RS256", false),
            (
                &rsa,
                &rsa_entry,
                json!({ "key_ops": ["encrypt"] }),
                "RS256",
                false,
            ),
            (&rsa, &rsa_entry, json!({ "kid": "other" }), "RS256", false),
            (&rsa, &rsa_entry, json!({ "kid": null }), "RS256", false),
            (&rsa, &rsa_entry, json!({ "kty": "new" }), "RS256", false),
            (
                &rsa,
                &rsa_entry,
                json!({ "kty": "oct", "k": "c2VjcmV0" }),
                "RS256",
                false,
            ),
            (
                &short,
                &rsa_entry,
                json!({ "n": n, "e": e }),
                "RS256",
                false,
            ),
            (&p384, &p384_entry, json!({}), "ES384", true),
            (
                &p384,
                &p384_entry,
                json!({ "crv": "P-256" }),
                "ES384",
                false,
            ),
            (
                &p384,
                &p384_entry,
                json!({ "crv": "P-521" }),
                "ES384",
                false,
            ),
        ] {
            let mut entry = entry.clone();
            for (name, value) in changes.as_object().unwrap() {
                entry[name] = value.clone();
            }
            let token = token(algorithm, key, &claims(json!({})));
            let read = read(&token, &entry);
            assert_eq!(read.is_ok(), accepted, "{changes} {algorithm}: {read:?}");
        }
    }

    #[tokio::test]
    async fn a_token_without_a_key_or_with_an_extension_is_refused_before_the_issuer_is_asked() {
        // Nothing listens there.
        let variable = |name: &str| match name {
            super::ISSUER => Some("http://127.0.0.1:1".to_owned()),
            _ => Some("daissy".to_owned()),
        };
        let verifier = Verifier::read(variable).unwrap().unwrap();
        for (authorization, expected) in [
            ("", "read"),
            ("Bearer", "read"),
            ("Bearer a.b.c", "read"),
            ("Bearer 2YotnFZFEjr1zCsicMWpAA", "opaque"),
            ("Basic YWxpY2U6cGFzc3dvcmQ=", "read"),
            (
                &*format!("Bearer {}.e30.", base64(r#"{"alg":"RS256"}"#)),
                "kid",
            ),
            (
                &*format!(
                    "{}.e30.",
                    base64(r#"{"alg":"RS256","kid":"k","crit":["b64"]}"#)
                ),
                "crit",
            ),
        ] {
            let refused = verifier.verify(authorization).await.unwrap_err();
            let is_invalid = matches!(refused, TokenError::Invalid(_));
            assert!(is_invalid, "{authorization}: {refused}");
            assert!(
                refused.to_string().contains(expected),
                "{authorization}: {refused}"
            );
        }
        let unknown = format!("bearer  {}.e30.", base64(r#"{"alg":"RS256","kid":"k"}"#));
        let unchecked = verifier.verify(&unknown).await.unwrap_err();
        assert!(matches!(unchecked, TokenError::Unchecked(_)), "{unchecked}");
    }

    #[test]
    fn both_settings_are_needed_and_keys_come_by_tls_unless_the_issuer_is_here() {
        let read = |issuer: &'static str, audience: &'static str| {
            let read = Verifier::read(|name| match name {
                super::ISSUER => Some(issuer.to_owned()),
                AUDIENCE => Some(audience.to_owned()),
                _ => None,
            });
            read.map(|verifier| verifier.map(|verifier| verifier.description()))
                .map_err(|error| error.to_string())
        };
        assert_eq!(read("", " "), Ok(None));
        for issuer in [
            "https://issuer.example/",
            "https://issuer.example:8443/realms/daissy",
            "http://localhost:8080/realms/daissy",
            "http://127.0.0.1:9000",
            "http://[::1]:9000",
        ] {
            let description = format!("{issuer} for a, b");
            assert_eq!(read(issuer, "a,, b "), Ok(Some(description)));
        }
        for (issuer, audience, expected) in [
            (ISSUER, "", "JWT_AUDIENCE is not"),
            ("", "a", "JWT_ISSUER is not"),
            (ISSUER, " , ", "JWT_AUDIENCE"),
            ("issuer.example", "a", "https address"),
            ("ftp://issuer.example", "a", "https address"),
            ("http://issuer.example", "a", "https address"),
            ("http://127.0.0.1.example", "a", "https address"),
            ("http://localhost.example", "a", "https address"),
            ("https://user:hunter2@issuer.example", "a", "https address"),
            ("https://issuer.example/?a=b", "a", "https address"),
            ("https://issuer.example/#a", "a", "https address"),
        ] {
            let refused = read(issuer, audience).unwrap_err();
            assert!(refused.contains(expected), "{issuer} {audience}: {refused}");
            assert!(refused.contains("JWT_"), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}
