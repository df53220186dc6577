//! Where a webhook posts to: an `http` URL, taken apart (RFC 3986, section 3).

use std::fmt;
use std::str::FromStr;

use super::HostPort;

/// Longest URL, in bytes.
pub const URL_LEN_MAX: usize = 2048;

/// An `http` URL without user, password or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// The port is 80 where the URL gives none.
    pub address: HostPort,
    /// The path and the query, as written: begins with `/`.
    pub target: Box<str>,
}

impl FromStr for HttpUrl {
    /// What was expected, for people.
    type Err = String;

    fn from_str(text: &str) -> Result<HttpUrl, String> {
        let expected = "expected a URL such as \"http://host:8080/path\"";
        if text.starts_with("https:") {
            return Err("https needs a program that speaks it: use \"run\" with curl, such as [\"curl\", \"-fsS\", \"--json\", \"@-\", \"https://…\"]".to_string());
        }
        let rest = text
            .strip_prefix("http://")
            .filter(|_| text.len() <= URL_LEN_MAX);
        let rest = rest.ok_or(expected)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let printable = target.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !printable || authority.contains('@') {
            return Err(format!("{expected}, without user, fragment or spaces"));
        }
        let bare = !authority.ends_with(']') && authority.contains(':');
        let address = match bare {
            true => authority.parse()?,
            false => format!("{authority}:80").parse()?,
        };
        let target = match target.starts_with('/') {
            true => target.to_string(),
            false => format!("/{target}"),
        };
        Ok(HttpUrl {
            address,
            target: target.into(),
        })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.address, self.target)
    }
}
