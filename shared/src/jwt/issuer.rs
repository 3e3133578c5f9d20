//! The issuer of tokens, asked over HTTP for its keys, as OpenID Connect Discovery says.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::key::Key;
use crate::causes::with_causes;
use crate::settings::SettingsError;

/// Timeout for both documents together. Requests wait for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest document that is read, in bytes. Key sets have a few KB.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// Where an issuer's first document is, below its address.
const CONFIGURATION: &str = ".well-known/openid-configuration";

/// An issuer.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// As the tokens have it in `iss`, to the last slash.
    pub(crate) name: String,
    /// Whether it runs on this machine, and so may do without TLS.
    is_local: bool,
}

/// Why the keys of the issuer could not be fetched: a sentence for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct IssuerError(String);

/// The members of the first document that matter.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl IssuerError {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl Issuer {
    /// An issuer by its address.
    ///
    /// # Errors
    /// [`SettingsError`], without the name of the setting, if keys cannot be fetched from there
    /// safely.
    pub(crate) fn new(name: String) -> Result<Self, SettingsError> {
        let address = Url::parse(&name).ok();
        let address = address.filter(|address| {
            let is_bare = address.query().is_none() && address.fragment().is_none();
            is_bare && address.username().is_empty() && address.password().is_none()
        });
        let is_local = match address {
            Some(address) if address.scheme() == "https" => false,
            Some(address) if is_on_this_machine(&address) => true,
            _ => {
                return Err(SettingsError::new(
                    "must be an https address such as https://issuer.example/, exactly as the \
                     tokens have it in iss (http only for an issuer on this machine)",
                ));
            }
        };
        Ok(Self { name, is_local })
    }

    /// Fetches the keys.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub(crate) async fn fetch_keys(&self) -> Result<Vec<Key>, IssuerError> {
        match timeout(FETCH_TIMEOUT, self.ask()).await {
            Ok(keys) => keys,
            Err(_) => Err(IssuerError(format!(
                "the issuer did not answer within {} s",
                FETCH_TIMEOUT.as_secs()
            ))),
        }
    }

    async fn ask(&self) -> Result<Vec<Key>, IssuerError> {
        let client = self.client().map_err(unreachable)?;
        let address = format!("{}/{CONFIGURATION}", self.name.trim_end_matches('/'));
        let configuration: Configuration = document(&client, &address).await?;
        if configuration.issuer != self.name {
            return Err(IssuerError(format!(
                "the issuer calls itself {:?}; JWT_ISSUER must be the same, to the last slash",
                configuration.issuer
            )));
        }
        let address = Url::parse(&configuration.jwks_uri).ok();
        let is_safe = address.is_some_and(|address| {
            address.scheme() == "https" || (self.is_local && is_on_this_machine(&address))
        });
        if !is_safe {
            return Err(IssuerError::new(
                "the issuer's jwks_uri is no https address",
            ));
        }
        let set: KeySet = document(&client, &configuration.jwks_uri).await?;
        let keys: Vec<Key> = set.keys.iter().filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err(IssuerError::new(
                "the issuer has no key that it could sign tokens with",
            ));
        }
        Ok(keys)
    }

    /// Built for each fetch: these are rare, and no connection would survive the pause between two.
    fn client(&self) -> reqwest::Result<Client> {
        let client = Client::builder()
            .redirect(Policy::none())
            .https_only(!self.is_local);
        if self.is_local {
            // A proxy could not reach it, or would reach another.
            return client.no_proxy().build();
        }
        client.build()
    }
}

/// Fetches a JSON document.
async fn document<T: DeserializeOwned>(client: &Client, address: &str) -> Result<T, IssuerError> {
    let mut answer = client.get(address).send().await.map_err(unreachable)?;
    if answer.status() != 200 {
        let status = answer.status();
        return Err(IssuerError(format!(
            "the issuer answered {status} at {address}"
        )));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
            return Err(IssuerError(format!(
                "the document at {address} is too long"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body)
        .map_err(|error| IssuerError(format!("the document at {address} is not usable: {error}")))
}

fn unreachable(error: reqwest::Error) -> IssuerError {
    IssuerError(format!(
        "the issuer cannot be reached: {}",
        with_causes(&error)
    ))
}

/// Whether an address is http and always means this machine.
fn is_on_this_machine(address: &Url) -> bool {
    let host = address.host_str().unwrap_or_default();
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    address.scheme() == "http"
        && (host == "localhost" || ip.is_some_and(|ip| ip.to_canonical().is_loopback()))
}
