//! The method and path a function answers to.

use lambda_http::http::Method;
use percent_encoding::percent_decode_str;

use crate::problem::Problem;

/// A route: a method, and a path in which a segment in braces is a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path, such as `/chat/history/{session_id}`.
    pub path: &'static str,
}

impl Route {
    /// A route for `GET` (and `HEAD`, which is a `GET` without the body).
    #[must_use]
    pub const fn get(path: &'static str) -> Self {
        Self {
            method: "GET",
            path,
        }
    }

    /// A route for `POST`.
    #[must_use]
    pub const fn post(path: &'static str) -> Self {
        Self {
            method: "POST",
            path,
        }
    }

    /// Matches a request and gives the values of the parameters, percent-decoded, in the path's
    /// order.
    ///
    /// The path may be longer at its front: API Gateway puts the stage, or the base path of a
    /// custom domain, before it.
    ///
    /// # Errors
    /// [`Problem::RouteNotFound`], [`Problem::MethodNotAllowed`].
    pub fn matches(&self, method: &Method, path: &str) -> Result<Vec<String>, Problem> {
        let template: Vec<&str> = self.path.split('/').skip(1).collect();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let prefix = segments
            .len()
            .checked_sub(template.len())
            .ok_or(Problem::RouteNotFound)?;

        let mut parameters = Vec::new();
        for (expected, segment) in template.iter().zip(&segments[prefix..]) {
            if expected.starts_with('{') && !segment.is_empty() {
                parameters.push(percent_decode_str(segment).decode_utf8_lossy().into_owned());
            } else if expected != segment {
                return Err(Problem::RouteNotFound);
            }
        }

        let is_head = *method == Method::HEAD && self.method == "GET";
        if *method != self.method && !is_head {
            return Err(Problem::MethodNotAllowed(self.method));
        }
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: Route = Route::get("/chat/history/{session_id}");

    #[test]
    fn a_path_matches_with_its_parameters_decoded() {
        let cases = [
            ("/chat/history/abc", "abc"),
            ("/prod/chat/history/abc", "abc"),
            ("/chat/history/a%2Db", "a-b"),
        ];
        for (path, parameter) in cases {
            assert_eq!(
                HISTORY.matches(&Method::GET, path).unwrap(),
                [parameter],
                "{path}"
            );
        }
    }

    #[test]
    fn another_path_is_not_found() {
        for path in [
            "/",
            "/chat/history",
            "/chat/history/",
            "/chat/history/a/",
            "/chat/status/a",
        ] {
            let problem = HISTORY.matches(&Method::GET, path).unwrap_err();
            assert_eq!(problem.code(), "route_not_found", "{path}");
        }
    }

    #[test]
    fn head_is_a_get_and_another_method_is_refused() {
        assert!(HISTORY.matches(&Method::HEAD, "/chat/history/a").is_ok());
        let problem = HISTORY
            .matches(&Method::POST, "/chat/history/a")
            .unwrap_err();
        assert_eq!(problem.allowed_method(), Some("GET, HEAD"));
        let problem = Route::post("/chat")
            .matches(&Method::HEAD, "/chat")
            .unwrap_err();
        assert_eq!(problem.allowed_method(), Some("POST"));
    }
}
