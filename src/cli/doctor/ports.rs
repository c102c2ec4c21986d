//! Whether the ports can be had, or a gateway has them already.
//!
//! Invariant: nothing stays open.

use super::Look;
use super::finding::Finding;
use reqwest::redirect::Policy;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

/// Who listens on this machine answers within this.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody: it can be listened on.
    Nobody,
    /// A gateway.
    Tidegate,
    /// Something else.
    Another,
    /// It cannot be listened on, for this reason.
    Refused(ErrorKind, String),
}

/// Looks at both ports.
pub(super) async fn check(look: &mut Look<'_>) {
    for (setting, address) in [("server.http", look.config.server.http), ("server.admin", look.config.server.admin)] {
        let holder = holder(address).await;
        look.note(judge(setting, address, &holder));
    }
}

/// Who has a port.
pub(super) async fn holder(address: SocketAddr) -> Holder {
    match TcpListener::bind(address) {
        Ok(_listener) => Holder::Nobody,
        Err(cause) if cause.kind() == ErrorKind::AddrInUse => {
            if is_gateway(reachable(address)).await {
                Holder::Tidegate
            } else {
                Holder::Another
            }
        }
        Err(cause) => Holder::Refused(cause.kind(), cause.to_string()),
    }
}

fn judge(setting: &str, address: SocketAddr, holder: &Holder) -> Finding {
    let check = format!("port {setting}");
    match holder {
        Holder::Nobody if address.port() == 0 => {
            Finding::ok(check, format!("{address}: a free one is taken at the start"))
        }
        Holder::Nobody => Finding::ok(check, format!("{address} is free")),
        Holder::Tidegate => Finding::ok(check, format!("{address} is held by a gateway that runs")),
        Holder::Another => {
            let remedy = format!("end what listens there (ss -ltnp), or set {setting} to another port");
            Finding::problem(check, format!("{address} is held by something else"), remedy)
                .expected("a port that is free")
        }
        Holder::Refused(ErrorKind::PermissionDenied, cause) => {
            let remedy = format!("set {setting} to a port above 1023, or allow the lower ones (CAP_NET_BIND_SERVICE)");
            Finding::problem(check, format!("{address} may not be listened on: {cause}"), remedy)
        }
        Holder::Refused(_, cause) => {
            let remedy = format!("set {setting} to an address of this machine, 0.0.0.0 for all of them");
            Finding::problem(check, format!("{address} cannot be listened on: {cause}"), remedy)
        }
    }
}

/// Whether a gateway answers, on either of its ports.
async fn is_gateway(address: SocketAddr) -> bool {
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().redirect(Policy::none()).build();
    let Ok(client) = client else { return false };
    for (path, sign) in [("livez", r#"{"ok":true}"#), ("v2", r#""name":"tidegate""#)] {
        let answer = client.get(format!("http://{address}/{path}")).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => return false,
            Err(_other) => continue,
        };
        if answer.status() == 200 && answer.text().await.is_ok_and(|text| text.contains(sign)) {
            return true;
        }
    }
    false
}

/// Where something that listens on an address is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[tokio::test]
    async fn a_port_that_something_else_has_is_a_problem_with_its_setting() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let holder = holder(address).await;
        assert_eq!(holder, Holder::Another);
        let finding = judge("server.admin", address, &holder);
        assert!(finding.status == Status::Problem && finding.remedy.unwrap().contains("server.admin"));
        drop(other);
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let address = "192.0.2.1:8000".parse().unwrap();
        let holder = holder(address).await;
        assert!(matches!(holder, Holder::Refused(..)), "{holder:?}");
        assert!(judge("server.http", address, &holder).remedy.unwrap().contains("an address of this machine"));
    }

    #[test]
    fn what_listens_everywhere_is_asked_here() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(
            (of("0.0.0.0:1"), of("[::]:1"), of("10.0.0.7:1")),
            ("127.0.0.1:1".into(), "[::1]:1".into(), "10.0.0.7:1".into())
        );
    }
}
