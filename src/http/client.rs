//! One POST: connect, send, read the status, say goodbye.
//!
//! The deadline covers it all, name resolution too. A 2xx is success whatever follows it;
//! anything else is an error that tells the status and the first line of the body.

use std::io::{self, BufReader};
use std::time::Duration;

use super::answer::{self, Bad, Head};
use crate::clock;
use crate::error::{Context, Result, plain};
use crate::model::Mono;
use crate::net::dial::dial;
use crate::net::resolve::Resolver;
use crate::net::stream::{TimedStream, write_by};
use crate::probe::goodbye;
use crate::units::{Family, Host, HostPort, HttpUrl, Reach, duration_text};

/// How long the text of a failure is waited for, once its status is known.
const BODY_WAIT_MAX: Duration = Duration::from_secs(1);
const PORT_DEFAULT: u16 = 80;

/// Posts `body` to `url` within `timeout`; `headers` are names and values beside those that
/// every request has. Errors: `post to http://HOST: ` and what
/// went wrong; not the path, which may be a secret.
pub fn post(
    resolver: &Resolver,
    url: &HttpUrl,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<()> {
    ask(resolver, url, headers, body, timeout)?.1
}

/// The same; the status of the answer comes apart from what is made of it. Errors: there is
/// no answer.
pub fn ask(
    resolver: &Resolver,
    url: &HttpUrl,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<(u16, Result<()>)> {
    let doing = || format!("post to {}", url.origin());
    let request = [head(url, headers, body.len()).as_bytes(), body].concat();
    let (status, verdict) = exchange(resolver, url, &request, timeout).context(doing)?;
    Ok((status, verdict.context(doing)))
}

/// What is made of an answer, for people.
type Verdict = std::result::Result<(), String>;

/// The request's head. The port is named where it is not the scheme's own (RFC 9110,
/// section 7.2).
fn head(url: &HttpUrl, headers: &[(&str, &str)], body_len: usize) -> String {
    let HostPort { host, port } = &url.address;
    let whole = url.address.to_string();
    let host = match *port {
        PORT_DEFAULT if matches!(host, Host::Ip(std::net::IpAddr::V6(_))) => format!("[{host}]"),
        PORT_DEFAULT => host.to_string(),
        _ => whole,
    };
    let mut out = format!(
        "POST {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tcpmon/{}\r\nConnection: close\r\nContent-Length: {body_len}\r\n",
        url.target,
        env!("CARGO_PKG_VERSION"),
    );
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
    }
    out + "\r\n"
}

fn exchange(
    resolver: &Resolver,
    url: &HttpUrl,
    request: &[u8],
    timeout: Duration,
) -> std::result::Result<(u16, Verdict), String> {
    let deadline = clock::mono().after(timeout);
    let address = (&url.address, Family::Any);
    let dialled = dial(resolver, &Reach::default(), address, deadline, 0);
    let mut stream = dialled.outcome.map_err(|failure| failure.text)?;
    let telling = |error: &io::Error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            format!("timed out after {}", duration_text(timeout))
        }
        _ => plain(&error.to_string()),
    };
    let broken = |doing: &str, error: &io::Error| format!("{doing}: {}", telling(error));
    let sent = write_by(&mut stream, request, deadline);
    let source = stream
        .try_clone()
        .and_then(|s| TimedStream::new(s, deadline));
    let mut source = BufReader::new(source.map_err(|e| broken("read", &e))?);
    // Who does not want all of it may have said so before closing.
    let head = match (answer::head(&mut source), sent) {
        (Ok(head), _) => head,
        (_, Err(error)) => return Err(broken("send", &error)),
        (Err(Bad::Io(error)), _) => return Err(broken("read the answer", &error)),
        (Err(bad), _) => return Err(bad.to_string()),
    };
    let verdict = judge(&head, &mut source, deadline);
    goodbye(stream, timeout);
    Ok((head.status, verdict))
}

fn judge(head: &Head, source: &mut BufReader<TimedStream>, deadline: Mono) -> Verdict {
    if head.is_success() {
        return Ok(());
    }
    let answered = format!("answered {}", head.status_line());
    if let Some(location) = head.location.as_ref().filter(|_| head.status / 100 == 3) {
        let location = answer::shown(location);
        return Err(format!(
            "{answered}: moved to {location}, which is not followed"
        ));
    }
    source.get_mut().deadline = deadline.min(clock::mono().after(BODY_WAIT_MAX));
    match answer::first_line(head, source) {
        line if line.is_empty() => Err(answered),
        line => Err(format!("{answered}: {line}")),
    }
}

#[cfg(test)]
mod tests;
