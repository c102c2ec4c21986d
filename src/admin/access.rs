//! Who may use the admin port, and for what.
//!
//! On loopback every local process may, but a web page in somebody's browser may not: it could reach a loopback port by
//! a name that resolves there, or post across origins. So the Host header must name this machine's loopback, and an
//! Origin header must name the same host. On any other address the configuration demands a token, and the token decides:
//! the operator's opens everything, the viewer's whatever is asked for with GET.
//!
//! Invariant: tokens are held as their digests, so that comparing takes the same time however long a guess is, what is
//! right in it, and whose token it is; none can be printed.

use super::AdminError;
use hyper::header::{AUTHORIZATION, HOST, ORIGIN};
use hyper::{HeaderMap, Method};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use subtle::{Choice, ConstantTimeEq};

/// SHA-256 of a token.
type Digest = [u8; 32];

/// Who may use the admin port.
pub struct Access {
    operator: Option<Digest>,
    viewer: Option<Digest>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |token: &Option<Digest>| token.map(|_| "[redacted]");
        let mut shape = formatter.debug_struct("Access");
        shape.field("operator", &shown(&self.operator)).field("viewer", &shown(&self.viewer)).finish()
    }
}

impl Access {
    /// Whoever has the token `operator` for everything, and whoever has `viewer` to look; without a token, whoever is on
    /// this machine for everything.
    #[must_use]
    pub fn new(operator: Option<&str>, viewer: Option<&str>) -> Self {
        Self { operator: operator.map(digest), viewer: viewer.map(digest) }
    }

    /// Whoever may change things, as a journal names them.
    #[must_use]
    pub fn kind_of_operator(&self) -> &'static str {
        if self.operator.is_some() || self.viewer.is_some() { "operator" } else { "somebody without a token" }
    }

    /// Whether a request with these headers may be answered.
    ///
    /// # Errors
    /// [`AdminError::Unauthorized`] without a token that is known, [`AdminError::ViewerOnly`] for who may look and wants
    /// more, [`AdminError::Forbidden`] for a foreign Host or Origin.
    pub fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), AdminError> {
        let host = only(headers, &HOST)?.unwrap_or_default();
        if let Some(origin) = only(headers, &ORIGIN)? {
            let origin_host = origin.split_once("://").map_or(origin, |(_scheme, host)| host);
            if origin_host != host {
                return Err(AdminError::Forbidden {
                    reason: format!("requests from pages of another origin ({origin}) are not answered"),
                });
            }
        }
        if self.operator.is_some() || self.viewer.is_some() {
            self.check_token(method, headers)
        } else if is_loopback(host) {
            Ok(())
        } else {
            let reason = format!("host \"{host}\" is not a loopback name; without a token only those are answered");
            Err(AdminError::Forbidden { reason })
        }
    }

    fn check_token(&self, method: &Method, headers: &HeaderMap) -> Result<(), AdminError> {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map_or("", |(_, token)| token);
        let given = digest(given);
        // Both are compared whatever comes of the first.
        let fits = |token: &Option<Digest>| token.map_or(Choice::from(0), |token| token.ct_eq(&given));
        let (is_operator, is_viewer) = (fits(&self.operator), fits(&self.viewer));
        let may_look = bool::from(is_operator | is_viewer);
        let only_looks = matches!(*method, Method::GET | Method::HEAD);
        match (bool::from(is_operator), may_look) {
            (true, _) => Ok(()),
            (false, true) if only_looks => Ok(()),
            (false, true) => Err(AdminError::ViewerOnly { method: method.as_str().chars().take(20).collect() }),
            (false, false) => Err(AdminError::Unauthorized),
        }
    }
}

fn digest(token: &str) -> Digest {
    Sha256::digest(token.as_bytes()).into()
}

fn is_loopback(host: &str) -> bool {
    // HTTP/1.0 clients send none, and they are no browsers.
    if host.is_empty() {
        return true;
    }
    let name = host
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map_or_else(|| host.rsplit_once(':').map_or(host, |(name, _port)| name), |(address, _port)| address);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The one value of a header, if it is there. Two of them, or one that is no text, are an attempt at confusion.
fn only<'a>(headers: &'a HeaderMap, name: &hyper::header::HeaderName) -> Result<Option<&'a str>, AdminError> {
    let mut values = headers.get_all(name).iter();
    let refused = || AdminError::Forbidden { reason: format!("the header {name} must be there once, as plain text") };
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_opaque| refused()),
        (Some(_), Some(_)) => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    fn check(access: &Access, headers: &HeaderMap) -> Result<(), AdminError> {
        access.check(&Method::GET, headers)
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn loopback_names_pass_without_a_token_and_others_do_not() {
        let access = Access::new(None, None);
        for host in ["", "localhost:8002", "127.0.0.1:8002", "127.1.2.3", "[::1]:8002", "LOCALHOST"] {
            assert!(check(&access, &headers(&[(HOST, host)])).is_ok(), "{host}");
        }
        for host in ["evil.example", "evil.example:8002", "10.0.0.1:8002", "localhost.evil.example"] {
            assert!(matches!(check(&access, &headers(&[(HOST, host)])), Err(AdminError::Forbidden { .. })), "{host}");
        }
    }

    #[test]
    fn pages_of_another_origin_are_refused_also_with_a_token() {
        let foreign = headers(&[(HOST, "localhost:8002"), (ORIGIN, "http://evil.example")]);
        assert!(matches!(check(&Access::new(None, None), &foreign), Err(AdminError::Forbidden { .. })));
        let own = headers(&[(HOST, "localhost:8002"), (ORIGIN, "http://localhost:8002")]);
        assert!(check(&Access::new(None, None), &own).is_ok());
    }

    #[test]
    fn a_host_that_is_no_text_or_comes_twice_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, hyper::header::HeaderValue::from_bytes(b"evil\xff").unwrap());
        assert!(matches!(check(&Access::new(None, None), &headers), Err(AdminError::Forbidden { .. })));
        headers.insert(HOST, "localhost".parse().unwrap());
        assert!(check(&Access::new(None, None), &headers).is_ok());
        headers.append(HOST, "evil.example".parse().unwrap());
        assert!(matches!(check(&Access::new(None, None), &headers), Err(AdminError::Forbidden { .. })));
    }

    #[test]
    fn a_token_is_demanded_where_there_is_one() {
        let access = Access::new(Some("secret"), None);
        let with = |value: &str| headers(&[(HOST, "gateway.internal"), (AUTHORIZATION, value)]);
        assert!(check(&access, &with("Bearer secret")).is_ok());
        assert!(check(&access, &with("bearer secret")).is_ok());
        for wrong in ["Bearer secre", "Bearer secretx", "secret", "Basic secret", "Bearer ", "Bearer"] {
            assert!(matches!(check(&access, &with(wrong)), Err(AdminError::Unauthorized)), "{wrong}");
        }
        assert!(matches!(check(&access, &headers(&[])), Err(AdminError::Unauthorized)));
    }

    #[test]
    fn an_operator_may_do_everything_and_a_viewer_only_look() {
        let access = Access::new(Some("operate"), Some("look"));
        let asked = |method: Method, token: &str| {
            access.check(&method, &headers(&[(AUTHORIZATION, &format!("Bearer {token}"))]))
        };
        for method in [Method::GET, Method::HEAD] {
            assert!(asked(method.clone(), "operate").is_ok() && asked(method.clone(), "look").is_ok());
            assert!(matches!(asked(method, "guess"), Err(AdminError::Unauthorized)));
        }
        for method in [Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
            assert!(asked(method.clone(), "operate").is_ok());
            assert!(matches!(asked(method.clone(), "look"), Err(AdminError::ViewerOnly { .. })));
            assert!(matches!(asked(method, "guess"), Err(AdminError::Unauthorized)));
        }
        let shown = format!("{access:?}");
        assert!(!shown.contains("operate\"") && !shown.contains("look") && shown.contains("redacted"), "{shown}");
    }
}
