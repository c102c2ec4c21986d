//! Who may use the admin port.
//!
//! On loopback every local process may, but a web page in somebody's browser may not: it could reach a loopback port by
//! a name that resolves there, or post across origins. So the Host header must name this machine's loopback, and an
//! Origin header must name the same host. On any other address the configuration demands a token, and the token decides.
//!
//! Invariant: the token is compared in constant time and never printed.

use super::AdminError;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, ORIGIN};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// Who may use the admin port.
pub struct Access {
    token: Option<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Access").field("token", &self.token.as_ref().map(|_| "[redacted]")).finish()
    }
}

impl Access {
    /// Whoever has `token`; without one, whoever is on this machine.
    #[must_use]
    pub fn new(token: Option<String>) -> Self {
        Self { token }
    }

    /// Whether a request with these headers may be answered.
    ///
    /// # Errors
    /// [`AdminError::Unauthorized`] without the token, [`AdminError::Forbidden`] for a foreign Host or Origin.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), AdminError> {
        let host = only(headers, &HOST)?.unwrap_or_default();
        if let Some(origin) = only(headers, &ORIGIN)? {
            let origin_host = origin.split_once("://").map_or(origin, |(_scheme, host)| host);
            if origin_host != host {
                return Err(AdminError::Forbidden {
                    reason: format!("requests from pages of another origin ({origin}) are not answered"),
                });
            }
        }
        match &self.token {
            Some(token) => check_token(token, headers),
            None if is_loopback(host) => Ok(()),
            None => Err(AdminError::Forbidden {
                reason: format!("host \"{host}\" is not a loopback name; without a token only those are answered"),
            }),
        }
    }
}

fn check_token(token: &str, headers: &HeaderMap) -> Result<(), AdminError> {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map_or("", |(_, token)| token);
    if bool::from(given.as_bytes().ct_eq(token.as_bytes())) { Ok(()) } else { Err(AdminError::Unauthorized) }
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

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn loopback_names_pass_without_a_token_and_others_do_not() {
        let access = Access::new(None);
        for host in ["", "localhost:8002", "127.0.0.1:8002", "127.1.2.3", "[::1]:8002", "LOCALHOST"] {
            assert!(access.check(&headers(&[(HOST, host)])).is_ok(), "{host}");
        }
        for host in ["evil.example", "evil.example:8002", "10.0.0.1:8002", "localhost.evil.example"] {
            assert!(matches!(access.check(&headers(&[(HOST, host)])), Err(AdminError::Forbidden { .. })), "{host}");
        }
    }

    #[test]
    fn pages_of_another_origin_are_refused_also_with_a_token() {
        let foreign = headers(&[(HOST, "localhost:8002"), (ORIGIN, "http://evil.example")]);
        assert!(matches!(Access::new(None).check(&foreign), Err(AdminError::Forbidden { .. })));
        let own = headers(&[(HOST, "localhost:8002"), (ORIGIN, "http://localhost:8002")]);
        assert!(Access::new(None).check(&own).is_ok());
    }

    #[test]
    fn a_host_that_is_no_text_or_comes_twice_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, hyper::header::HeaderValue::from_bytes(b"evil\xff").unwrap());
        assert!(matches!(Access::new(None).check(&headers), Err(AdminError::Forbidden { .. })));
        headers.insert(HOST, "localhost".parse().unwrap());
        assert!(Access::new(None).check(&headers).is_ok());
        headers.append(HOST, "evil.example".parse().unwrap());
        assert!(matches!(Access::new(None).check(&headers), Err(AdminError::Forbidden { .. })));
    }

    #[test]
    fn a_token_is_demanded_where_there_is_one() {
        let access = Access::new(Some("secret".into()));
        let with = |value: &str| headers(&[(HOST, "gateway.internal"), (AUTHORIZATION, value)]);
        assert!(access.check(&with("Bearer secret")).is_ok());
        assert!(access.check(&with("bearer secret")).is_ok());
        for wrong in ["Bearer secre", "Bearer secretx", "secret", "Basic secret"] {
            assert!(matches!(access.check(&with(wrong)), Err(AdminError::Unauthorized)), "{wrong}");
        }
        assert!(matches!(access.check(&headers(&[])), Err(AdminError::Unauthorized)));
        assert!(!format!("{access:?}").contains("secret"));
    }
}
