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
        let rest = text.strip_prefix("http://").ok_or(expected)?;
        if text.len() > URL_LEN_MAX {
            return Err(format!("{expected}, of at most {URL_LEN_MAX} bytes"));
        }
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

impl HttpUrl {
    /// Scheme, host and port: what is no secret of a webhook.
    pub fn origin(&self) -> String {
        let whole = self.to_string();
        let end = whole.len() - self.target.len();
        whole[..end].to_string()
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.to_string();
        let address = address.strip_suffix(":80").unwrap_or(&address);
        write!(f, "http://{address}{}", self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_written_back() {
        for (text, address, target, written) in [
            ("http://h:8080/a/b", "h:8080", "/a/b", "http://h:8080/a/b"),
            ("http://h", "h:80", "/", "http://h/"),
            ("http://h/", "h:80", "/", "http://h/"),
            ("http://h:80/x", "h:80", "/x", "http://h/x"),
            ("http://h?a=b/c", "h:80", "/?a=b/c", "http://h/?a=b/c"),
            (
                "http://h:8/a?b:c@d",
                "h:8",
                "/a?b:c@d",
                "http://h:8/a?b:c@d",
            ),
            (
                "http://10.0.0.7:8/",
                "10.0.0.7:8",
                "/",
                "http://10.0.0.7:8/",
            ),
            ("http://[::1]/x", "[::1]:80", "/x", "http://[::1]/x"),
            (
                "http://[::1]:180/x",
                "[::1]:180",
                "/x",
                "http://[::1]:180/x",
            ),
        ] {
            let url: HttpUrl = text.parse().unwrap();
            assert_eq!(
                (url.address.to_string().as_str(), &*url.target),
                (address, target)
            );
            assert_eq!(url.to_string(), written);
            assert_eq!(written.parse(), Ok(url));
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        let long = format!("http://h/{}", "x".repeat(URL_LEN_MAX - 9));
        assert!(long.parse::<HttpUrl>().is_ok());
        let long = long + "x";
        let expected = "expected a URL such as \"http://host:8080/path\"";
        for (text, want) in [
            ("", expected),
            ("h:80/path", expected),
            ("ftp://h/", expected),
            ("http:/h", expected),
            ("http://", "expected HOST:PORT"),
            ("http:///x", "expected HOST:PORT"),
            ("http://:80/", "expected HOST:PORT"),
            ("http://h:0/", "expected HOST:PORT"),
            ("http://h:/", "expected HOST:PORT"),
            ("http://::1/", "expected"),
            ("http://u:p@h/", "without user, fragment or spaces"),
            ("http://h/#top", "without user, fragment or spaces"),
            ("http://h#top", "without user, fragment or spaces"),
            ("http://h/a b", "without user, fragment or spaces"),
            ("http://h/é", "without user, fragment or spaces"),
            ("http://h/\r\nHost: x", "without user, fragment or spaces"),
            ("https://h/", "use \"run\" with curl"),
            (&long, "of at most 2048 bytes"),
        ] {
            let got = text.parse::<HttpUrl>().unwrap_err();
            assert!(got.contains(want), "{text}: {got}");
        }
    }
}
