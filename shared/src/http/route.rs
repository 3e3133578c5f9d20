//! Routes: the methods and paths that a function serves.

use lambda_http::http::Method;
use percent_encoding::percent_decode_str;

use crate::problem::Problem;

/// A route: a method, and a path in which a segment in braces is a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The method, in capitals.
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

    /// A route for `PUT`.
    #[must_use]
    pub const fn put(path: &'static str) -> Self {
        Self {
            method: "PUT",
            path,
        }
    }

    /// A route for `PATCH`.
    #[must_use]
    pub const fn patch(path: &'static str) -> Self {
        Self {
            method: "PATCH",
            path,
        }
    }

    /// A route for `DELETE`.
    #[must_use]
    pub const fn delete(path: &'static str) -> Self {
        Self {
            method: "DELETE",
            path,
        }
    }

    /// Finds a request's route among those of a function, and returns it with the values of its
    /// parameters, percent-decoded, in the order of the path.
    ///
    /// The path may have a prefix: API Gateway prepends the stage, or the base path of a custom
    /// domain.
    ///
    /// # Errors
    /// [`Problem::RouteNotFound`], [`Problem::MethodNotAllowed`].
    pub fn find(
        routes: &'static [Self],
        method: &Method,
        path: &str,
    ) -> Result<(&'static Self, Vec<String>), Problem> {
        let mut methods = Vec::new();
        for route in routes {
            let Some(parameters) = route.parameters(path) else {
                continue;
            };
            if route.takes(method) {
                return Ok((route, parameters));
            }
            methods.push(route.method);
        }
        Err(match methods.is_empty() {
            true => Problem::RouteNotFound,
            false => Problem::MethodNotAllowed(methods),
        })
    }

    fn takes(&self, method: &Method) -> bool {
        let is_head = *method == Method::HEAD && self.method == "GET";
        *method == self.method || is_head
    }

    fn parameters(&self, path: &str) -> Option<Vec<String>> {
        let template: Vec<&str> = self.path.split('/').skip(1).collect();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let prefix = segments.len().checked_sub(template.len())?;

        let mut parameters = Vec::new();
        for (expected, segment) in template.iter().zip(&segments[prefix..]) {
            if expected.starts_with('{') && !segment.is_empty() {
                parameters.push(percent_decode_str(segment).decode_utf8_lossy().into_owned());
            } else if expected != segment {
                return None;
            }
        }
        Some(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &[Route] = &[
        Route::get("/chat/history/{session_id}"),
        Route::post("/chat/history/{session_id}/copy"),
        Route::post("/chat/history/{session_id}"),
    ];

    fn find(method: &Method, path: &str) -> Result<(&'static Route, Vec<String>), Problem> {
        Route::find(ROUTES, method, path)
    }

    #[test]
    fn a_path_matches_with_its_parameters_decoded() {
        let cases = [
            ("/chat/history/abc", "abc"),
            ("/prod/chat/history/abc", "abc"),
            ("/chat/history/a%2Db", "a-b"),
        ];
        for (path, parameter) in cases {
            let (route, parameters) = find(&Method::GET, path).unwrap();
            assert_eq!(
                (route, parameters),
                (&ROUTES[0], vec![parameter.into()]),
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
            let problem = find(&Method::GET, path).unwrap_err();
            assert_eq!(problem.code(), "route_not_found", "{path}");
        }
    }

    #[test]
    fn a_function_has_several_routes_told_apart_by_path_and_method() {
        let (route, _) = find(&Method::POST, "/prod/chat/history/a/copy").unwrap();
        assert_eq!(route, &ROUTES[1]);
        let (route, _) = find(&Method::POST, "/chat/history/a").unwrap();
        assert_eq!(route, &ROUTES[2]);
    }

    #[test]
    fn head_is_a_get_and_another_method_is_refused() {
        assert!(find(&Method::HEAD, "/chat/history/a").is_ok());
        for (method, path, allowed) in [
            (Method::PUT, "/chat/history/a", "GET, HEAD, POST"),
            (Method::HEAD, "/chat/history/a/copy", "POST"),
        ] {
            let problem = find(&method, path).unwrap_err();
            assert_eq!(problem.allowed_methods().as_deref(), Some(allowed));
        }
    }
}
