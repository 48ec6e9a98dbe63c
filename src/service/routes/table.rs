//! Which routes there are below the mount point, and which methods they take.

use http::{HeaderValue, Method};

/// A route below the mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Login,
    Refresh,
    Logout,
    LogoutAll,
    LogoutOthers,
    Sessions,
    Session(String),
    Jwks,
    Revoke,
}

/// No route: the status, and what `Allow` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRoute {
    NotFound,
    MethodNotAllowed(HeaderValue),
}

impl Route {
    /// Finds the route with or without the mount point before it, so that the service works below `nest_service`,
    /// which strips it, and as a service of its own. `/revoke` is there if the service `revokes`.
    pub(super) fn find(mount: &str, path: &str, method: &Method, revokes: bool) -> Result<Self, NoRoute> {
        let below = path.strip_prefix(mount).filter(|rest| rest.starts_with('/'));
        match below.map(|below| Self::at(below, method, revokes)) {
            // The mount point may have the name of a route, and be stripped already.
            None | Some(Err(NoRoute::NotFound)) => Self::at(path, method, revokes),
            Some(found) => found,
        }
    }

    fn at(path: &str, method: &Method, revokes: bool) -> Result<Self, NoRoute> {
        let (route, allow) = match path {
            "/login" => (Self::Login, "POST"),
            "/refresh" => (Self::Refresh, "POST"),
            "/logout" => (Self::Logout, "POST"),
            "/logout/all" => (Self::LogoutAll, "POST"),
            "/logout/others" => (Self::LogoutOthers, "POST"),
            "/sessions" => (Self::Sessions, "GET"),
            "/jwks.json" => (Self::Jwks, "GET"),
            "/revoke" if revokes => (Self::Revoke, "POST"),
            _ => match path.strip_prefix("/sessions/") {
                Some(id) if !id.is_empty() && !id.contains('/') => (Self::Session(id.to_owned()), "DELETE"),
                _ => return Err(NoRoute::NotFound),
            },
        };
        // Only the method itself: `X-HTTP-Method-Override` and its like change nothing.
        if method.as_str() == allow {
            Ok(route)
        } else {
            Err(NoRoute::MethodNotAllowed(HeaderValue::from_static(allow)))
        }
    }

    /// For events.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Refresh => "refresh",
            Self::Logout => "logout",
            Self::LogoutAll => "logout/all",
            Self::LogoutOthers => "logout/others",
            Self::Sessions | Self::Session(_) => "sessions",
            Self::Jwks => "jwks.json",
            Self::Revoke => "revoke",
        }
    }

    /// Whether a request that nobody asked for could do harm: whether the cross-site check applies.
    pub(super) fn is_unsafe(&self) -> bool {
        !matches!(self, Self::Sessions | Self::Jwks)
    }
}

/// Whether a mount point is one that a request's path can begin with, and a cookie's `Path` can name.
pub(in crate::service) fn is_mount_point(path: &str) -> bool {
    let segment = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
    };
    path.len() <= 512 && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_with_and_without_the_mount_point() {
        for (path, method, expected) in [
            ("/auth/login", Method::POST, Ok(Route::Login)),
            ("/login", Method::POST, Ok(Route::Login)),
            ("/auth/logout/all", Method::POST, Ok(Route::LogoutAll)),
            ("/auth/sessions", Method::GET, Ok(Route::Sessions)),
            ("/auth/jwks.json", Method::GET, Ok(Route::Jwks)),
            ("/auth/revoke", Method::POST, Ok(Route::Revoke)),
            ("/auth/sessions/x", Method::DELETE, Ok(Route::Session("x".into()))),
            ("/auth/sessions/", Method::DELETE, Err(NoRoute::NotFound)),
            ("/auth/sessions/x/y", Method::DELETE, Err(NoRoute::NotFound)),
            ("/auth", Method::POST, Err(NoRoute::NotFound)),
            ("/authlogin", Method::POST, Err(NoRoute::NotFound)),
            ("/auth/auth/login", Method::POST, Err(NoRoute::NotFound)),
            ("/auth/login/", Method::POST, Err(NoRoute::NotFound)),
            ("/auth/LOGIN", Method::POST, Err(NoRoute::NotFound)),
            ("*", Method::OPTIONS, Err(NoRoute::NotFound)),
        ] {
            assert_eq!(Route::find("/auth", path, &method, true), expected, "{method} {path}");
        }
    }

    #[test]
    fn no_revocation_where_no_token_is_in_a_body() {
        for method in [Method::POST, Method::GET] {
            assert_eq!(Route::find("/auth", "/auth/revoke", &method, false), Err(NoRoute::NotFound));
        }
    }

    #[test]
    fn row_101_other_methods() {
        for path in ["/login", "/refresh", "/logout", "/logout/all", "/logout/others", "/revoke"] {
            for method in
                [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE, Method::PATCH]
            {
                let expected = Err(NoRoute::MethodNotAllowed(HeaderValue::from_static("POST")));
                assert_eq!(Route::find("/auth", path, &method, true), expected, "{method} {path}");
            }
        }
    }

    #[test]
    fn mount_points() {
        for (path, expected) in [
            ("/auth", true),
            ("/api/v1/auth", true),
            ("/", false),
            ("", false),
            ("auth", false),
            ("/auth/", false),
            ("/a//b", false),
            ("/a/../b", false),
            ("/a;Domain=x", false),
            ("/a b", false),
            ("/{x}", false),
        ] {
            assert_eq!(is_mount_point(path), expected, "{path}");
        }
    }
}
