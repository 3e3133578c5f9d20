//! The root certificates that a server's certificate is checked against. Only these are loaded:
//! reading the system's hundred and more costs as much as the rest of a cold start.

use std::path::PathBuf;

use native_tls::Certificate;

use crate::settings::SettingsError;

/// The roots of Amazon RDS for each region and those of Amazon's public certificates, which RDS
/// Proxy uses; from AWS's bundle, see `certificates/README.md`. Each has a comment with its name.
const BUNDLE: &str = include_str!("../../certificates/rds.pem");

const END: &str = "-----END CERTIFICATE-----\n";

/// The start of the comment of each RDS certificate.
const RDS: &str = "# Amazon RDS ";

/// The start of the comment of each of Amazon's public roots.
const AMAZON: &str = "# Amazon Root CA ";

/// The last labels of an RDS host name; the region precedes them.
const RDS_DOMAIN: &str = ".rds.amazonaws.com";

/// The root certificates to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Nothing is verified, so none are needed.
    None,
    /// The ones in a file.
    File(PathBuf),
    /// The ones in these parts of the bundle, each given by the start of a comment, and optionally
    /// the system's.
    Known {
        /// The starts of the comments.
        bundle: Vec<String>,
        /// Whether the system's are needed as well.
        system: bool,
    },
}

impl Roots {
    /// Reads `sslrootcert`: a file, `system`, or `rds`.
    pub fn named(name: &str, hosts: &[String]) -> Self {
        match name {
            "system" => Self::system(),
            "rds" => Self::Known {
                bundle: rds_roots(hosts),
                system: false,
            },
            path => Self::File(path.into()),
        }
    }

    /// Chooses by the hosts' names: their region's for RDS, else the system's.
    pub fn for_hosts(hosts: &[String]) -> Self {
        let (mut bundle, mut system) = (Vec::new(), false);
        for host in hosts {
            match part_for(host).filter(|part| BUNDLE.contains(part)) {
                Some(part) if bundle.contains(&part) => {}
                Some(part) => bundle.push(part),
                // Not RDS, or a region newer than the bundle.
                None => system = true,
            }
        }
        Self::Known { bundle, system }
    }

    /// The system's.
    #[must_use]
    pub fn system() -> Self {
        Self::Known {
            bundle: Vec::new(),
            system: true,
        }
    }

    /// Whether the system's are needed.
    #[must_use]
    pub fn uses_system(&self) -> bool {
        matches!(self, Self::Known { system: true, .. })
    }

    /// Whether any of them issues certificates to anyone who asks, so that such a certificate
    /// proves nothing unless the name in it is checked.
    #[must_use]
    pub fn are_public(&self) -> bool {
        match self {
            Self::None | Self::File(_) => false,
            Self::Known { bundle, system } => {
                *system || bundle.iter().any(|part| part.starts_with(AMAZON))
            }
        }
    }

    /// The certificates, without the system's.
    ///
    /// # Errors
    /// [`SettingsError`], which names the file.
    pub fn certificates(&self) -> Result<Vec<Certificate>, SettingsError> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::File(path) => {
                let shown = path.display();
                let pem = std::fs::read(path).map_err(|error| {
                    SettingsError::new(format!("sslrootcert {shown} cannot be read: {error}"))
                })?;
                match Certificate::stack_from_pem(&pem) {
                    Ok(certificates) if !certificates.is_empty() => Ok(certificates),
                    _ => Err(SettingsError::new(format!(
                        "sslrootcert {shown} contains no certificate"
                    ))),
                }
            }
            Self::Known { bundle, .. } => {
                let wanted = |pem: &&str| bundle.iter().any(|part| pem.starts_with(part.as_str()));
                let pem: String = BUNDLE.split_inclusive(END).filter(wanted).collect();
                Certificate::stack_from_pem(pem.as_bytes()).map_err(|error| {
                    SettingsError::new(format!("the certificates of RDS cannot be read: {error}"))
                })
            }
        }
    }
}

/// The parts for `sslrootcert=rds`: those of the hosts' regions; all if a name, such as an alias,
/// does not tell its region.
fn rds_roots(hosts: &[String]) -> Vec<String> {
    let parts: Option<Vec<String>> = hosts.iter().map(|host| part_for(host)).collect();
    parts.unwrap_or_else(|| vec![RDS.into()])
}

/// The part of the bundle for an RDS host; `None` for any other.
fn part_for(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let region = region_of(&host)?;
    // `name.proxy-id.region…`: a proxy has a certificate of AWS's public authority.
    let id = host
        .strip_suffix(&format!(".{region}{RDS_DOMAIN}"))
        .and_then(|before| before.rsplit_once('.'));
    if id.is_some_and(|(_, id)| id.starts_with("proxy-")) {
        return Some(AMAZON.into());
    }
    Some(format!("{RDS}{region} Root CA "))
}

/// The region in the name of an RDS host.
pub fn region_of(host: &str) -> Option<&str> {
    let rest = host.strip_suffix(RDS_DOMAIN)?;
    rest.rsplit_once('.').map(|(_, region)| region)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(roots: &Roots) -> (usize, bool) {
        (roots.certificates().unwrap().len(), roots.uses_system())
    }

    fn for_hosts(hosts: &[&str]) -> Roots {
        Roots::for_hosts(
            &hosts
                .iter()
                .map(|host| (*host).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn only_the_roots_that_the_host_needs_are_loaded() {
        let cases: &[(&[&str], (usize, bool))] = &[
            (&["db.abc.eu-west-1.rds.amazonaws.com"], (3, false)),
            (
                &["DB.cluster-ro-abc.us-east-1.rds.amazonaws.com."],
                (3, false),
            ),
            (&["p.proxy-abc.eu-west-1.rds.amazonaws.com"], (4, false)),
            (
                &["r.endpoint.proxy-abc.eu-west-1.rds.amazonaws.com"],
                (4, false),
            ),
            (&["proxy-db.abc.eu-west-1.rds.amazonaws.com"], (3, false)),
            (&["db.abc.xx-moon-1.rds.amazonaws.com"], (0, true)),
            (&["db.example.com"], (0, true)),
            (&["eu-west-1.rds.amazonaws.com.example.com"], (0, true)),
            (
                &[
                    "a.b.eu-west-1.rds.amazonaws.com",
                    "c.d.eu-west-1.rds.amazonaws.com",
                ],
                (3, false),
            ),
            (
                &["a.b.eu-west-1.rds.amazonaws.com", "db.example.com"],
                (3, true),
            ),
        ];
        for (hosts, expected) in cases {
            assert_eq!(loaded(&for_hosts(hosts)), *expected, "{hosts:?}");
        }
        assert_eq!(loaded(&Roots::named("system", &[])), (0, true));
        let alias = ["db.example.com".to_owned()];
        assert!(loaded(&Roots::named("rds", &alias)).0 > 80);
        assert_eq!(loaded(&Roots::None), (0, false));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        for path in [
            "/nowhere.pem",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ] {
            let error = Roots::named(path, &[])
                .certificates()
                .err()
                .map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains(path)), "{path}");
        }
    }

    /// Fails when a certificate expires within a year: the bundle must then be rebuilt as described
    /// in `certificates/README.md`.
    #[test]
    fn the_bundle_lasts_another_year() {
        let a_year = x509_parser::time::ASN1Time::now().timestamp() + 365 * 24 * 60 * 60;
        let mut count = 0;
        for pem in x509_parser::pem::Pem::iter_from_buffer(BUNDLE.as_bytes()) {
            let pem = pem.unwrap();
            let certificate = pem.parse_x509().unwrap();
            assert!(
                certificate.validity().not_after.timestamp() > a_year,
                "{} expires soon",
                certificate.subject()
            );
            count += 1;
        }
        assert_eq!(count, BUNDLE.matches(END).count());
        assert_eq!(count, BUNDLE.matches("# ").count(), "each has a comment");
    }
}
