//! TLS to the server, as `sslmode` says in the words of libpq.

use std::path::PathBuf;

use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use tokio_postgres::config::SslMode as PostgresSslMode;

/// How the connection is protected (libpq documentation, table "SSL Mode Descriptions").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never by TLS.
    Disable,
    /// By TLS if the server offers it; nothing is verified.
    Prefer,
    /// By TLS; nothing is verified.
    Require,
    /// By TLS with a certificate of a known authority.
    VerifyCa,
    /// By TLS with a certificate of a known authority for this host. The default for any host that
    /// is not this machine.
    VerifyFull,
}

impl SslMode {
    /// Reads one of libpq's words. `allow` tries without TLS first in libpq; here it is `prefer`.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "disable" => Some(Self::Disable),
            "allow" | "prefer" => Some(Self::Prefer),
            "require" => Some(Self::Require),
            "verify-ca" => Some(Self::VerifyCa),
            "verify-full" => Some(Self::VerifyFull),
            _ => None,
        }
    }

    /// What tokio-postgres is told; verification is the connector's.
    pub(super) fn postgres(self) -> PostgresSslMode {
        match self {
            Self::Disable => PostgresSslMode::Disable,
            Self::Prefer => PostgresSslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => PostgresSslMode::Require,
        }
    }
}

/// Builds the connector of a mode. `root_certificates` replaces the system's authorities; as in
/// libpq, giving it makes `require` verify as `verify-ca` does.
///
/// # Errors
/// A sentence that names the file, when it cannot be read or holds no certificate.
pub(super) fn connector(
    mode: SslMode,
    root_certificates: Option<&PathBuf>,
) -> Result<MakeTlsConnector, String> {
    let mut builder = TlsConnector::builder();
    if let Some(path) = root_certificates {
        let shown = path.display();
        let pem = std::fs::read(path)
            .map_err(|error| format!("sslrootcert {shown} cannot be read: {error}"))?;
        let certificates = Certificate::stack_from_pem(&pem)
            .map_err(|error| format!("sslrootcert {shown} holds no certificate: {error}"))?;
        if certificates.is_empty() {
            return Err(format!("sslrootcert {shown} holds no certificate"));
        }
        builder.disable_built_in_roots(true);
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
    }
    match mode {
        SslMode::Disable | SslMode::VerifyFull => {}
        SslMode::VerifyCa => {
            builder.danger_accept_invalid_hostnames(true);
        }
        SslMode::Require if root_certificates.is_some() => {
            builder.danger_accept_invalid_hostnames(true);
        }
        SslMode::Prefer | SslMode::Require => {
            builder
                .danger_accept_invalid_certs(true)
                .danger_accept_invalid_hostnames(true);
        }
    }
    let connector = builder
        .build()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(MakeTlsConnector::new(connector))
}
