//! Asks a site what this room answers: over its socket, or over HTTP what HTTP may be asked.
//!
//! A few lines of HTTP/1.1 of our own: one request per connection, and an answer that ends with it. A full HTTP client would
//! be the largest dependency of the commands, for requests without a body.

mod http;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use self::http::{Answer, exchange};
use crate::answers::{CertificatesNow, DigestQuery, Group, LogDigest, MembersNow, SiteStatus};

/// How long an answer may take; digests of large logs take the longest.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// Where a site's admin API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Socket(PathBuf),
    /// Host and port of `[listen] http`.
    Http(String),
}

impl Address {
    /// A path, or `http://host:port`; a data directory means the socket in it.
    #[must_use]
    pub fn parse(text: &str) -> Address {
        if let Some(host) = text.strip_prefix("http://") {
            return Address::Http(host.trim_end_matches('/').to_owned());
        }
        let path = PathBuf::from(text);
        Address::Socket(if path.is_dir() { path.join(crate::SOCKET_NAME) } else { path })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Socket(path) => write!(out, "{}", path.display()),
            Address::Http(host) => write!(out, "http://{host}"),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("no site answers at {address}: {cause}; is it running, and is this its address?")]
    Unreachable {
        /// Where we asked.
        address: Address,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It took too long.
    #[error("the site at {0} did not answer within {seconds} s", seconds = ANSWER_TIME_MAX.as_secs())]
    TimedOut(Address),
    /// What came back is not an answer of ours.
    #[error("what answers at {address} is not a site's admin API: {reason}")]
    Strange {
        /// Where we asked.
        address: Address,
        /// What is odd.
        reason: String,
    },
    /// The site said no.
    #[error("the site at {address} refused: {reason}")]
    Refused {
        /// Where we asked.
        address: Address,
        /// Its words.
        reason: String,
    },
}

/// Where the site stands.
///
/// # Errors
/// [`AskError`].
pub async fn status(address: &Address) -> Result<SiteStatus, AskError> {
    ask(address, "GET", "/v1/status").await
}

/// Digests of merged logs.
///
/// # Errors
/// [`AskError`].
pub async fn digests(address: &Address, query: &DigestQuery) -> Result<Vec<LogDigest>, AskError> {
    let mut path = "/v1/digests".to_owned();
    let mut mark = '?';
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            path.push(mark);
            path.push_str(key);
            path.push('=');
            path.push_str(&escaped(&value));
            mark = '&';
        }
    };
    add("topic", query.topic.clone());
    add("partition", query.partition.map(|partition| partition.to_string()));
    add("end", query.end.map(|end| end.to_string()));
    ask(address, "GET", &path).await
}

/// Consumer groups and their progress.
///
/// # Errors
/// [`AskError`].
pub async fn groups(address: &Address) -> Result<Vec<Group>, AskError> {
    ask(address, "GET", "/v1/groups").await
}

/// Believes a wall clock that jumped ahead, and says by how many milliseconds; only a socket takes this.
///
/// # Errors
/// [`AskError`].
pub async fn accept_clock(address: &Address) -> Result<u64, AskError> {
    /// What was accepted.
    #[derive(Deserialize)]
    struct Accepted {
        accepted_ms: u64,
    }
    let accepted: Accepted = ask(address, "POST", "/v1/accept-clock").await?;
    Ok(accepted.accepted_ms)
}

/// Has the site read its certificates anew; only a socket takes this.
///
/// # Errors
/// [`AskError`].
pub async fn renew_certificates(address: &Address) -> Result<CertificatesNow, AskError> {
    ask(address, "POST", "/v1/certificates").await
}

/// Begins a clean stop; only a socket takes this.
///
/// # Errors
/// [`AskError`].
pub async fn stop(address: &Address) -> Result<(), AskError> {
    ask::<serde_json::Value>(address, "POST", "/v1/stop").await.map(drop)
}

/// Has the members end a silent site's journal; only a socket takes this.
///
/// # Errors
/// [`AskError`].
pub async fn fence(address: &Address, site: &str) -> Result<(), AskError> {
    let path = format!("/v1/fence/{}", escaped(site));
    ask::<serde_json::Value>(address, "POST", &path).await.map(drop)
}

/// Goes on without silent sites where no majority is left, as an operator decides; only a socket takes this.
///
/// # Errors
/// [`AskError`].
pub async fn give_up(address: &Address, sites: &[String], who: &str) -> Result<(), AskError> {
    let path = format!("/v1/give-up?sites={}&who={}", escaped(&sites.join(",")), escaped(who));
    ask::<serde_json::Value>(address, "POST", &path).await.map(drop)
}

/// Makes a known site a member; only a socket takes this.
///
/// # Errors
/// [`AskError`].
pub async fn add(address: &Address, site: &str) -> Result<MembersNow, AskError> {
    ask(address, "POST", &format!("/v1/add/{}", escaped(site))).await
}

/// Lets a site be a member no more; only a socket takes this.
///
/// # Errors
/// [`AskError`].
pub async fn remove(address: &Address, site: &str) -> Result<MembersNow, AskError> {
    ask(address, "POST", &format!("/v1/remove/{}", escaped(site))).await
}

async fn ask<T: DeserializeOwned>(address: &Address, method: &str, path: &str) -> Result<T, AskError> {
    let answer = timeout(ANSWER_TIME_MAX, reach(address, method, path)).await;
    let answer = answer.map_err(|_| AskError::TimedOut(address.clone()))??;
    let strange = |reason: String| AskError::Strange { address: address.clone(), reason };
    if answer.status == 200 {
        return serde_json::from_slice(&answer.body).map_err(|error| strange(error.to_string()));
    }
    /// What a refusal looks like.
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    match serde_json::from_slice::<Refusal>(&answer.body) {
        Ok(refusal) => Err(AskError::Refused { address: address.clone(), reason: refusal.error }),
        Err(_) => Err(strange(format!("it answered with status {}", answer.status))),
    }
}

async fn reach(address: &Address, method: &str, path: &str) -> Result<Answer, AskError> {
    let unreachable = |cause| AskError::Unreachable { address: address.clone(), cause };
    let outcome = match address {
        Address::Socket(file) => {
            let stream = UnixStream::connect(file).await.map_err(unreachable)?;
            exchange(stream, "localhost", method, path).await
        }
        Address::Http(host) => {
            let stream = TcpStream::connect(host.as_str()).await.map_err(unreachable)?;
            exchange(stream, host, method, path).await
        }
    };
    outcome.map_err(|error| AskError::Strange { address: address.clone(), reason: error.to_string() })
}

/// A value as it stands in a query.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Address, escaped};

    #[test]
    fn an_address_is_a_path_or_a_url() {
        assert_eq!(Address::parse("http://10.0.0.1:9644/"), Address::Http("10.0.0.1:9644".to_owned()));
        assert_eq!(Address::parse("data/x.sock"), Address::Socket(PathBuf::from("data/x.sock")));
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        assert_eq!(Address::parse(folder.path().to_str().unwrap()), Address::Socket(socket));
    }

    #[test]
    fn query_values_are_escaped() {
        assert_eq!(escaped("eu-west.orders"), "eu-west.orders");
        assert_eq!(escaped("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }
}
