//! Who may be spoken to by what name: a web page must not reach a loopback master by a name of its own.
//!
//! Without credentials a master trusts this machine. A page that resolves its own name to 127.0.0.1 (DNS rebinding)
//! would be this machine to the browser; it gives itself away by the name in `Host`.

use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::Rejection;

/// Refuses requests that were sent to any name but this machine's own.
pub(super) async fn loopback_only(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority = host.or_else(|| request.uri().authority().map(Authority::as_str));
    match authority.is_none_or(is_loopback) {
        true => next.run(request).await,
        false => {
            let detail = "this master serves this machine only; ask for localhost or 127.0.0.1";
            Rejection::new(403, "not_allowed", detail).into_response()
        }
    }
}

fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    address || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_names_are_its_own() {
        for host in ["localhost", "LOCALHOST:9092", "127.0.0.1:9092", "127.1.2.3", "[::1]:9092"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["evil.example:9092", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example", "", "a b"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
