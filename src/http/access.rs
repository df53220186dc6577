//! Who may ask. Three ways to serve: on loopback to whoever is on the host, to who has the
//! token, and to everyone, who then sees what everyone may see.
//!
//! Always: without a token nothing but loopback is listened on unless it is public; on
//! loopback a request that was meant for another host is turned away, for a browser may have
//! been talked into it (DNS rebinding); tokens are compared in constant time.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::reply::Reply;
use super::request::Request;
use crate::cli::{Args, Fail, Opt};
use crate::crypto::{base64_decode, same};
use crate::error::Result;
use crate::files::TokenFile;
use crate::net::listen;

pub const HTTP: Opt = Opt {
    name: "--http",
    value: "ADDR",
    default: "",
    help: "IP:PORT to answer HTTP on; port 0 picks a free one; beyond loopback only with --http-token-file or, where there is one, --http-public",
    repeat: false,
};
pub const TOKEN_FILE: Opt = Opt {
    name: "--http-token-file",
    value: "FILE",
    default: "",
    help: "HTTP is answered to who shows the token in this file, as a bearer token or as the password of any user",
    repeat: false,
};
pub const PUBLIC: &str = "--http-public";

/// Where HTTP is answered, and to whom.
#[derive(Debug)]
pub struct Access {
    pub listen: SocketAddr,
    token: Option<TokenFile>,
    is_public: bool,
}

/// What a request may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    Everything,
    /// What is for everyone.
    Public,
}

impl Access {
    /// What the command line says; `None` without `--http`.
    pub fn read(args: &Args) -> std::result::Result<Option<Access>, Fail> {
        let is_public = args.flag(PUBLIC);
        let token = args.get(TOKEN_FILE.name);
        let Some(listen) = args.parsed(HTTP.name, listen::address)? else {
            let stray = match (token, is_public) {
                (Some(_), _) => TOKEN_FILE.name,
                (None, true) => PUBLIC,
                (None, false) => return Ok(None),
            };
            return Err(Fail::Usage(format!("{stray}: goes with --http")));
        };
        if !listen.ip().is_loopback() && token.is_none() && !is_public {
            return Err(Fail::Usage(format!(
                "--http {listen}: beyond loopback everyone could read it: give --http-token-file"
            )));
        }
        let token = token.map(|path| TokenFile::open(PathBuf::from(path)));
        Ok(Some(Access {
            listen,
            token: token.transpose()?,
            is_public,
        }))
    }

    /// What this request may see, or what it is told instead.
    pub fn grant(&self, request: &Request) -> std::result::Result<Grant, Reply> {
        let shown = request.header("authorization");
        let token = self.token.as_ref().map(TokenFile::token);
        decide(&token, self.is_public, shown.as_deref(), &request.host)
    }

    /// Whether there is a token that shows more than everyone sees.
    pub fn has_login(&self) -> bool {
        self.is_public && self.token.is_some()
    }

    /// Asks a browser for the token, which no public page does, and then shows it `/`.
    pub fn login(&self, request: &Request) -> Reply {
        let shown = request.header("authorization");
        let token = self.token.as_ref().map(TokenFile::token);
        match decide(&token, false, shown.as_deref(), &request.host) {
            Ok(_) => Reply::text(303, "see /").with("Location", "/"),
            Err(reply) => reply,
        }
    }
}

/// The decision, as [`Access::grant`] gives it.
fn decide(
    token: &Option<Result<String>>,
    is_public: bool,
    shown: Option<&str>,
    host: &str,
) -> std::result::Result<Grant, Reply> {
    let shows = |token: &str| {
        shown
            .and_then(token_in)
            .is_some_and(|shown| same(shown.as_bytes(), token.as_bytes()))
    };
    match (token, is_public) {
        (Some(Ok(token)), _) if shows(token) => Ok(Grant::Everything),
        (Some(Err(error)), false) => Err(Reply::text(503, &error.to_string())),
        (Some(_), true) if shown.is_none() => Ok(Grant::Public),
        // A wrong token is told to be wrong, not taken for none.
        (Some(_), _) => {
            Err(
                Reply::text(401, "show the token: as a bearer token, or as a password").with(
                    "WWW-Authenticate",
                    "Basic realm=\"tcpmon\", charset=\"UTF-8\"",
                ),
            )
        }
        (None, true) => Ok(Grant::Public),
        (None, false) if is_own(host) => Ok(Grant::Everything),
        (None, false) => Err(Reply::text(
            421,
            "this is answered on loopback only, to requests for localhost",
        )),
    }
}

/// The token in an `Authorization` header (RFC 6750, section 2.1; RFC 7617).
fn token_in(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_string());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut pair = Vec::new();
    if !base64_decode(rest.as_bytes(), &mut pair) {
        return None;
    }
    let pair = String::from_utf8(pair).ok()?;
    pair.split_once(':')
        .map(|(_, password)| password.to_string())
}

/// Whether a `Host` names this host and no other.
fn is_own(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let ip: Option<IpAddr> = bare.unwrap_or(name).parse().ok();
    // Without a Host there is no browser.
    host.is_empty()
        || name.eq_ignore_ascii_case("localhost")
        || ip.is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_see_what() {
        let right = "Bearer 0123456789abcdef";
        // any:0123456789abcdef and any:wrong
        let basic = "basic YW55OjAxMjM0NTY3ODlhYmNkZWY=";
        let wrong = "Basic YW55Ondyb25n";
        let some = Some("0123456789abcdef");
        for (token, public, shown, host, expected) in [
            (None, false, None, "localhost:80", "everything"),
            (None, false, None, "evil.example:80", "421"),
            (None, true, None, "status.example", "public"),
            (None, true, Some(right), "status.example", "public"),
            (some, false, None, "localhost", "401"),
            (some, false, Some(right), "any.example", "everything"),
            (some, false, Some(basic), "any.example", "everything"),
            (some, false, Some(wrong), "any.example", "401"),
            (some, false, Some("Digest x"), "any.example", "401"),
            (some, false, Some("Bearer"), "any.example", "401"),
            (some, true, None, "any.example", "public"),
            (some, true, Some(wrong), "any.example", "401"),
            (some, true, Some(basic), "any.example", "everything"),
        ] {
            let token = token.map(|token: &str| Ok(token.to_string()));
            let got = match decide(&token, public, shown, host) {
                Ok(Grant::Everything) => "everything".to_string(),
                Ok(Grant::Public) => "public".to_string(),
                Err(reply) => reply.status.to_string(),
            };
            assert_eq!(got, expected, "{token:?} {public} {shown:?} {host}");
        }
    }

    #[test]
    fn only_names_of_this_host_are_its_own() {
        for host in [
            "",
            "localhost",
            "LocalHost:1",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]",
            "[::1]:8",
        ] {
            assert!(is_own(host), "{host}");
        }
        for host in [
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "10.0.0.7",
            "[::2]:8",
            "0.0.0.0",
            "localhost:80x",
            "x",
        ] {
            assert!(!is_own(host), "{host}");
        }
    }
}
