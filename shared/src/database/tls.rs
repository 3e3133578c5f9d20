//! TLS to the server, controlled by `sslmode` as in libpq.

use std::path::PathBuf;

use native_tls::{Identity, Protocol, TlsConnector};
use postgres_native_tls::{MakeTlsConnector, set_postgresql_alpn};

use super::parameters::Parameters;
use super::roots::Roots;
use crate::settings::SettingsError;

/// How the connection is protected (libpq documentation, table "SSL Mode Descriptions").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never uses TLS. The default for a host on this machine.
    Disable,
    /// Uses TLS only if the server refuses a plain connection.
    Allow,
    /// Uses TLS unless the server refuses it.
    Prefer,
    /// Requires TLS; the server's certificate is checked only if `sslrootcert` is given.
    Require,
    /// Requires TLS with a certificate of a known authority.
    VerifyCa,
    /// Requires TLS with a certificate of a known authority for this host. The default for any host
    /// that is not this machine.
    VerifyFull,
}

/// Whether an attempt to connect uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// It does not.
    Plain,
    /// It does, or it fails.
    Tls,
}

impl SslMode {
    const WORDS: [(&str, Self); 6] = [
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    fn parse(word: &str) -> Result<Self, SettingsError> {
        let known = Self::WORDS.iter().find(|(known, _)| *known == word);
        known.map(|(_, mode)| *mode).ok_or_else(|| {
            let words = Self::WORDS.map(|(word, _)| word).join(", ");
            SettingsError::new(format!("sslmode must be one of {words}"))
        })
    }

    /// The attempts to make, in order; the next one only if the server refuses the first one's
    /// transport.
    pub(super) fn attempts(self) -> &'static [Transport] {
        match self {
            Self::Disable => &[Transport::Plain],
            Self::Allow => &[Transport::Plain, Transport::Tls],
            Self::Prefer => &[Transport::Tls, Transport::Plain],
            Self::Require | Self::VerifyCa | Self::VerifyFull => &[Transport::Tls],
        }
    }
}

impl std::fmt::Display for SslMode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = Self::WORDS.iter().find(|(_, mode)| mode == self);
        formatter.write_str(word.map_or("", |(word, _)| word))
    }
}

/// The TLS settings among the parameters.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// How the connection is protected.
    pub mode: SslMode,
    /// Whether TLS starts without asking first (`sslnegotiation=direct`, PostgreSQL 17 and newer).
    pub direct: bool,
    roots: Roots,
    /// The files of our own certificate and its key.
    identity: Option<(PathBuf, PathBuf)>,
    oldest: Option<Protocol>,
    newest: Option<Protocol>,
}

impl TlsSettings {
    /// Reads the TLS settings for these hosts.
    ///
    /// # Errors
    /// [`SettingsError`], also for combinations that libpq refuses as too weak.
    pub fn read(
        parameters: &Parameters,
        hosts: &[String],
        is_this_machine: bool,
    ) -> Result<Self, SettingsError> {
        let refuse = |sentence: &str| Err(SettingsError::new(sentence.to_owned()));
        let given_roots = parameters.get("sslrootcert");
        let mode = match parameters.get("sslmode") {
            Some(word) => SslMode::parse(word)?,
            None if is_this_machine && given_roots != Some("system") => SslMode::Disable,
            None => SslMode::VerifyFull,
        };
        if given_roots == Some("system") && mode < SslMode::VerifyFull {
            return refuse(
                "sslrootcert=system needs sslmode=verify-full: anyone can get a certificate from these authorities",
            );
        }
        let direct = match parameters.get("sslnegotiation") {
            None | Some("postgres") => false,
            Some("direct") if mode >= SslMode::Require => true,
            Some("direct") => {
                return refuse("sslnegotiation=direct needs sslmode=require or stricter");
            }
            Some(_) => return refuse("sslnegotiation must be postgres or direct"),
        };
        let identity = match (parameters.get("sslcert"), parameters.get("sslkey")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            _ => return refuse("sslcert and sslkey are needed together"),
        };
        let roots = match given_roots {
            Some(name) => Roots::named(name, hosts),
            None if mode >= SslMode::VerifyCa => Roots::for_hosts(hosts),
            None => Roots::None,
        };
        if mode < SslMode::VerifyFull && roots.are_public() {
            return refuse(
                "checking the authority alone (verify-ca, or sslrootcert with a weaker mode) needs \
                 sslrootcert to be a file with the authority of your server, because anyone can get a \
                 certificate from a public one; or use verify-full",
            );
        }
        Ok(Self {
            mode,
            direct,
            roots,
            identity,
            oldest: protocol(parameters, "ssl_min_protocol_version")?,
            newest: protocol(parameters, "ssl_max_protocol_version")?,
        })
    }

    /// Whether verifying the server needs the system's root certificates.
    #[must_use]
    pub fn uses_system_roots(&self) -> bool {
        self.mode != SslMode::Disable && self.roots.uses_system()
    }

    /// Builds the connector. As in libpq, a given `sslrootcert` is checked in every mode, but the
    /// name only in `verify-full`.
    ///
    /// # Errors
    /// [`SettingsError`], which names the file that cannot be used.
    pub fn connector(&self) -> Result<MakeTlsConnector, SettingsError> {
        let mut builder = TlsConnector::builder();
        builder
            .disable_built_in_roots(!self.roots.uses_system())
            .danger_accept_invalid_certs(self.roots == Roots::None)
            .danger_accept_invalid_hostnames(self.mode < SslMode::VerifyFull)
            .max_protocol_version(self.newest);
        // If unset, the library's own default applies.
        if self.oldest.is_some() {
            builder.min_protocol_version(self.oldest);
        }
        for certificate in self.roots.certificates()? {
            builder.add_root_certificate(certificate);
        }
        if let Some((certificate, key)) = &self.identity {
            builder.identity(read_identity(certificate, key)?);
        }
        if self.direct {
            set_postgresql_alpn(&mut builder);
        }
        let connector = builder
            .build()
            .map_err(|error| SettingsError::new(format!("TLS cannot be set up: {error}")))?;
        Ok(MakeTlsConnector::new(connector))
    }
}

fn protocol(parameters: &Parameters, name: &str) -> Result<Option<Protocol>, SettingsError> {
    match parameters.get(name) {
        None => Ok(None),
        Some("TLSv1") => Ok(Some(Protocol::Tlsv10)),
        Some("TLSv1.1") => Ok(Some(Protocol::Tlsv11)),
        Some("TLSv1.2") => Ok(Some(Protocol::Tlsv12)),
        Some("TLSv1.3") => Ok(Some(Protocol::Tlsv13)),
        Some(_) => Err(SettingsError::new(format!(
            "{name} must be one of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"
        ))),
    }
}

fn read_identity(certificate: &PathBuf, key: &PathBuf) -> Result<Identity, SettingsError> {
    let read = |name: &str, path: &PathBuf| {
        std::fs::read(path).map_err(|error| {
            let shown = path.display();
            SettingsError::new(format!("{name} {shown} cannot be read: {error}"))
        })
    };
    let (certificate, key) = (read("sslcert", certificate)?, read("sslkey", key)?);
    if !key.starts_with(b"-----BEGIN PRIVATE KEY-----") {
        return Err(SettingsError::new(
            "sslkey must be an unencrypted PKCS#8 key in PEM; convert it with `openssl pkcs8 -topk8 \
             -nocrypt -in key.pem`",
        ));
    }
    Identity::from_pkcs8(&certificate, &key)
        .map_err(|error| SettingsError::new(format!("sslcert and sslkey cannot be used: {error}")))
}
