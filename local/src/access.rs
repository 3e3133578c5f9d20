//! Decides which pages and host names may call the local server.
//!
//! The server has no authentication and may hold a model key, so pages of other sites must not reach it
//! through its user's browser: neither with cross-origin requests (`Origin`), nor under a name of their
//! own that resolves to this machine (`Host`; DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{HOST, HeaderMap, HeaderName, HeaderValue, LINK, ORIGIN, RETRY_AFTER};
use axum::http::uri::{Authority, Uri};
use axum::middleware::Next;
use axum::response::Response;
use shared::caller::Permissions;
use shared::http::endpoint::{REPLAYED, REQUEST_ID};
use shared::problem::Problem;
use shared::settings;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::error::LocalError;
use crate::service::refuse;

/// The variable that lists the origins whose pages may call.
const ALLOWED_ORIGINS: &str = "CORS_ALLOWED_ORIGINS";

/// The variable with the address to listen on, which may be a name.
const LISTEN_HOST: &str = "HOST";

/// The headers in which a proxy names the sender of a request.
const FORWARDED: [HeaderName; 2] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
];

/// Pages and host names that are allowed in addition to those of this machine.
#[derive(Debug, Clone, Default)]
pub struct Access(Arc<Allowed>);

#[derive(Debug, Default)]
struct Allowed {
    /// What callers may do who come from another machine.
    permissions: Permissions,
    /// What callers of this machine may do, which is more unless the settings say otherwise.
    local_permissions: Permissions,
    /// As browsers write them: scheme, host and port, without a slash at the end.
    origins: Vec<String>,
    /// Without ports.
    hosts: Vec<String>,
}

impl Access {
    /// Reads `CORS_ALLOWED_ORIGINS`, a comma-separated list of origins, and the name in `HOST`.
    ///
    /// # Errors
    /// [`LocalError`] if it is not a list of origins.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, LocalError> {
        let permissions =
            Permissions::read(&variable).map_err(|error| LocalError::new(error.to_string()))?;
        let says = settings::text(&variable, Permissions::ANONYMOUS_SEES_ALL).is_some();
        let mut allowed = Allowed {
            permissions,
            local_permissions: Permissions {
                anonymous_sees_all: permissions.anonymous_sees_all || !says,
                ..permissions
            },
            hosts: settings::text(&variable, LISTEN_HOST)
                .map(|host| host.to_ascii_lowercase())
                .into_iter()
                .collect(),
            ..Allowed::default()
        };
        let listed = settings::text(&variable, ALLOWED_ORIGINS).unwrap_or_default();
        let listed = listed.split(',').map(str::trim);
        for origin in listed.filter(|origin| !origin.is_empty()) {
            let origin = without_default_port(&origin.trim_end_matches('/').to_ascii_lowercase());
            let host = host_of_origin(&origin).ok_or_else(|| {
                LocalError::new(format!(
                    "{ALLOWED_ORIGINS} must be a comma-separated list of origins such as \
                     https://app.example"
                ))
            })?;
            allowed.hosts.push(host);
            allowed.origins.push(origin);
        }
        Ok(Self(Arc::new(allowed)))
    }

    /// The CORS headers, which let allowed pages read the answers, errors included.
    pub(crate) fn cors(&self) -> CorsLayer {
        let access = self.clone();
        let may_call = AllowOrigin::predicate(move |origin: &HeaderValue, parts| {
            access.allows_origin(origin, &parts.headers)
        });
        CorsLayer::new()
            .allow_origin(may_call)
            .allow_methods(Any)
            .allow_headers(Any)
            .expose_headers([
                REQUEST_ID,
                REPLAYED,
                RETRY_AFTER,
                HeaderName::from_static("allow"),
                LINK,
            ])
    }

    /// Whether a page of this origin may call: one of this machine, of this server, or a listed one.
    fn allows_origin(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let origin = origin.to_ascii_lowercase();
        self.0.origins.contains(&origin)
            || host_of_origin(&origin).is_some_and(|host| is_this_machine(&host))
            || is_own(&origin, headers)
    }

    /// What the sender of a request may do. It is this machine's user if the request came to and names
    /// this machine, and no proxy passed it on.
    fn permissions(&self, is_local: bool, host: Option<&str>, headers: &HeaderMap) -> Permissions {
        let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(name));
        if is_local && !is_forwarded && host.is_none_or(is_this_machine) {
            self.0.local_permissions
        } else {
            self.0.permissions
        }
    }

    /// Whether this server answers to the host that a request names. An address is always accepted: only
    /// a name can be pointed at another machine.
    fn allows_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        address(&host).is_some() || is_this_machine(&host) || self.0.hosts.contains(&host)
    }
}

/// Answers 403 to requests from pages of other sites, and tells endpoints what others may do.
pub(crate) async fn guard(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    // Other machines, where they reach the server at all, may call it anyway.
    let is_local = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .is_none_or(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
    let host = match request.uri().host() {
        Some(host) => Some(host.to_owned()),
        None => host_of(request.headers()),
    };
    if is_local && host.as_ref().is_some_and(|host| !access.allows_host(host)) {
        return refuse(&Problem::Forbidden(format!(
            "This server answers to localhost and to IP addresses; to allow another name, list its \
             origin in {ALLOWED_ORIGINS}"
        )));
    }
    let origin = request.headers().get(ORIGIN);
    if origin.is_some_and(|origin| !access.allows_origin(origin, request.headers())) {
        return refuse(&Problem::Forbidden(format!(
            "Pages of this origin may not call this server; to allow them, list the origin in \
             {ALLOWED_ORIGINS}"
        )));
    }
    let permissions = access.permissions(is_local, host.as_deref(), request.headers());
    request.extensions_mut().insert(permissions);
    next.run(request).await
}

/// The host from the header, without its port. A host that cannot be parsed becomes empty, which matches
/// no name.
fn host_of(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(HOST)?;
    let authority = Authority::try_from(host.as_bytes()).ok();
    Some(authority.map_or_else(String::new, |authority| authority.host().to_owned()))
}

/// The host of an origin; `None` if there is none, as in the `null` of a sandboxed page.
fn host_of_origin(origin: &str) -> Option<String> {
    let uri: Uri = origin.parse().ok()?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_bare = uri.path() == "/" && !origin.ends_with('/') && uri.query().is_none();
    let host = uri.host().filter(|host| !host.is_empty())?;
    (is_web && is_bare && !origin.contains(['@', '*'])).then(|| host.to_owned())
}

/// An origin as browsers send it.
fn without_default_port(origin: &str) -> String {
    let default = [("https://", ":443"), ("http://", ":80")];
    let port = default
        .iter()
        .find(|(scheme, _)| origin.starts_with(scheme));
    let bare = port.and_then(|(_, port)| origin.strip_suffix(port));
    bare.unwrap_or(origin).to_owned()
}

/// Whether an origin is the address that the request itself was sent to.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host_of_origin(origin).is_some_and(|host| address(&host).is_some())
        && host.is_some_and(|host| {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority == Some(host.to_ascii_lowercase().as_str())
        })
}

/// Whether a host is a name or an address that always means this machine (RFC 6761, section 6.3).
fn is_this_machine(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || address(host).is_some_and(|address| address.is_loopback())
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(listed: &str) -> Access {
        let variable = |name: &str| match name {
            ALLOWED_ORIGINS => Some(listed.to_owned()),
            LISTEN_HOST => Some("Daissy.test".to_owned()),
            _ => None,
        };
        Access::read(variable).unwrap()
    }

    #[test]
    fn pages_of_this_machine_of_this_server_and_listed_ones_may_call() {
        let access = access("https://app.example:443, http://Other.example:8080/");
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("192.0.2.7:8000"));
        for (origin, may_call) in [
            ("https://app.example", true),
            ("http://other.example:8080", true),
            ("http://localhost:5173", true),
            ("http://app.localhost", true),
            ("http://127.0.0.1:3000", true),
            ("http://[::1]:3000", true),
            ("http://192.0.2.7:8000", true),
            ("http://192.0.2.7:8001", false),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil.example", false),
            ("https://localhost.evil.example", false),
            ("http://notlocalhost", false),
            ("http://127.0.0.1.evil.example", false),
            ("http://127.0.0.1@evil.example", false),
            ("chrome-extension://abc", false),
            ("null", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(origin);
            assert_eq!(access.allows_origin(&value, &headers), may_call, "{origin}");
        }
        // A name that resolves to this machine does not prove that the page comes from it.
        headers.insert(HOST, HeaderValue::from_static("evil.example:8000"));
        let rebound = HeaderValue::from_static("http://evil.example:8000");
        assert!(!access.allows_origin(&rebound, &headers));
    }

    #[test]
    fn the_server_answers_to_addresses_localhost_and_names_of_the_settings() {
        let access = access("https://app.example:8443");
        for (host, answers) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("a.localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("192.0.2.7", true),
            ("daissy.test", true),
            ("app.example", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            assert_eq!(access.allows_host(host), answers, "{host}");
        }
    }

    #[test]
    fn an_invalid_list_of_origins_is_refused() {
        for listed in [
            "*",
            "app.example",
            "https://app.example/path",
            "https://",
            "https://*.example",
            "https://user:word@a.example",
            "ftp://a",
        ] {
            let variable = |name: &str| (name == ALLOWED_ORIGINS).then(|| listed.to_owned());
            let error = Access::read(variable).unwrap_err().to_string();
            assert!(error.contains(ALLOWED_ORIGINS), "{listed}: {error}");
        }
        let nothing = Access::read(|_| None).unwrap();
        assert!(nothing.0.origins.is_empty() && nothing.0.hosts.is_empty());
    }
}
