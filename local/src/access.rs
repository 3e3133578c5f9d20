//! Decides which pages and host names may call the local server.
//!
//! Without an issuer of tokens the server has no authentication, and it may hold a model key. So pages of
//! other sites must not reach it through its user's browser: neither with cross-origin requests
//! (`Origin`), nor under a name of their own that resolves to this machine (`Host`; DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use axum::http::uri::{Authority, Uri};
use axum::middleware::Next;
use axum::response::Response;
use shared::caller::Permissions;
use shared::http::cors::{ALLOWED_ORIGINS, EXPOSED};
use shared::problem::Problem;
use shared::settings;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::error::LocalError;
use crate::service::refuse;
use crate::tokens::Tokens;

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
    tokens: Tokens,
}

impl Access {
    /// Reads `CORS_ALLOWED_ORIGINS`, a comma-separated list of origins, the name in `HOST`, what callers
    /// may do, and whose tokens they need.
    ///
    /// # Errors
    /// [`LocalError`], which names the variable that cannot be used.
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
            tokens: Tokens::read(&variable)?,
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

    /// The tokens that callers need.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// The CORS headers, which let allowed pages read the answers, errors included. All headers are
    /// allowed by their names, because `*` does not include `authorization`.
    pub(crate) fn cors(&self) -> CorsLayer {
        let access = self.clone();
        let may_call = AllowOrigin::predicate(move |origin: &HeaderValue, parts| {
            access.allows_origin(origin, &parts.headers)
        });
        CorsLayer::new()
            .allow_origin(may_call)
            .allow_methods([
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
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

    /// What the sender of a request may do. It is this machine's user if the request came from and names
    /// this machine, and no proxy passed it on.
    ///
    /// What comes from a loopback address also came to one, or from a program of this machine that chose
    /// its own address. The reverse is not true of every network (`route_localnet`).
    fn permissions(
        &self,
        peer: Option<IpAddr>,
        host: Option<&str>,
        headers: &HeaderMap,
    ) -> Permissions {
        let is_local = peer.is_some_and(|peer| peer.to_canonical().is_loopback());
        let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(name));
        let host = host.map(str::to_ascii_lowercase);
        if is_local && !is_forwarded && host.is_some_and(|host| is_this_machine(&host)) {
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
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(peer)| peer.ip());
    // Other machines, where they reach the server at all, may call it anyway.
    let may_be_local = peer.is_none_or(|peer| peer.to_canonical().is_loopback());
    let host = match request.uri().host() {
        Some(host) => Some(host.to_owned()),
        None => host_of(request.headers()),
    };
    if may_be_local && host.as_ref().is_some_and(|host| !access.allows_host(host)) {
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
    let permissions = access.permissions(peer, host.as_deref(), request.headers());
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
        || address(host).is_some_and(|address| address.to_canonical().is_loopback())
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
    fn only_the_user_of_this_machine_sees_all_unless_the_setting_says_otherwise() {
        let at = |setting: &'static str| {
            let variable =
                |name: &str| (name == Permissions::ANONYMOUS_SEES_ALL).then(|| setting.to_owned());
            Access::read(variable).unwrap()
        };
        let (unset, no, yes) = (at(""), at("false"), at("true"));
        let forwarded = |name: &'static str| (name, "for=192.0.2.1");
        for (peer, host, header, is_user) in [
            ("127.0.0.1", Some("localhost"), None, true),
            ("127.0.0.1", Some("LocalHost"), None, true),
            ("127.0.0.1", Some("app.localhost"), None, true),
            ("127.0.0.1", Some("127.0.0.1"), None, true),
            ("127.9.9.9", Some("127.9.9.9"), None, true),
            ("::1", Some("[::1]"), None, true),
            ("::ffff:127.0.0.1", Some("[::ffff:127.0.0.1]"), None, true),
            (
                "127.0.0.1",
                Some("localhost"),
                Some(("accept", "*/*")),
                true,
            ),
            // Through a proxy that keeps the host, or the address of another machine.
            ("127.0.0.1", Some("daissy.example"), None, false),
            ("127.0.0.1", Some("192.0.2.7"), None, false),
            ("127.0.0.1", Some("localhost.evil.example"), None, false),
            ("127.0.0.1", Some(""), None, false),
            ("127.0.0.1", None, None, false),
            (
                "127.0.0.1",
                Some("localhost"),
                Some(forwarded("forwarded")),
                false,
            ),
            (
                "127.0.0.1",
                Some("localhost"),
                Some(forwarded("x-forwarded-for")),
                false,
            ),
            (
                "127.0.0.1",
                Some("localhost"),
                Some(("x-forwarded-for", "")),
                false,
            ),
            ("192.0.2.1", Some("localhost"), None, false),
            ("192.0.2.1", Some("192.0.2.7"), None, false),
            ("2001:db8::1", Some("localhost"), None, false),
            ("::ffff:192.0.2.1", Some("localhost"), None, false),
            // Of a server that does not know the peer.
            ("", Some("localhost"), None, false),
        ] {
            let asked = format!("{peer} {host:?} {header:?}");
            let headers = header.map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            let headers = headers.into_iter().collect();
            let sees_all = |access: &Access| {
                let permissions = access.permissions(peer.parse().ok(), host, &headers);
                permissions.anonymous_sees_all
            };
            assert_eq!(sees_all(&unset), is_user, "{asked}");
            assert!(!sees_all(&no), "{asked}");
            assert!(sees_all(&yes), "{asked}");
        }
    }

    #[test]
    fn what_callers_may_erase_does_not_depend_on_where_they_are() {
        for (setting, may_erase) in [("", false), ("false", false), ("true", true)] {
            let variable =
                |name: &str| (name == Permissions::CALLERS_MAY_ERASE).then(|| setting.to_owned());
            let access = Access::read(variable).unwrap();
            for peer in ["127.0.0.1", "192.0.2.1"] {
                let (peer, headers) = (peer.parse().ok(), HeaderMap::new());
                let permissions = access.permissions(peer, Some("localhost"), &headers);
                assert_eq!(
                    permissions.callers_may_erase, may_erase,
                    "{setting} {peer:?}"
                );
            }
        }
    }

    #[test]
    fn a_setting_that_is_neither_true_nor_false_and_half_an_issuer_are_refused() {
        for (name, value) in [
            (Permissions::ANONYMOUS_SEES_ALL, "yes"),
            (Permissions::CALLERS_MAY_ERASE, "1"),
            ("JWT_ISSUER", "https://issuer.example"),
            ("JWT_AUDIENCE", "daissy"),
        ] {
            let variable = |asked: &str| (asked == name).then(|| value.to_owned());
            let error = Access::read(variable).unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
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
