//! One HTTP/1.1 exchange: a request without a body, and an answer read to its end within bounds.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest answer taken, head included: a status of 64 sites and thousands of digests is far shorter.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Why an exchange failed.
#[derive(Debug, Error)]
pub(super) enum ExchangeError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("its answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("its answer is cut off")]
    CutOff,
    #[error("it does not speak HTTP")]
    NotHttp,
}

/// Asks, and reads until the other side closes.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    host: &str,
    method: &str,
    path: &str,
) -> Result<Answer, ExchangeError> {
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    let taken = stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut bytes).await?;
    if taken as u64 > ANSWER_BYTES_MAX { Err(ExchangeError::TooLong) } else { parse(&bytes) }
}

fn parse(bytes: &[u8]) -> Result<Answer, ExchangeError> {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    if !bytes.starts_with(b"HTTP/1.") {
        return Err(ExchangeError::NotHttp);
    }
    let head = bytes.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD);
    let head = head.ok_or(ExchangeError::CutOff)?;
    let (head, body) = (&bytes[..head], &bytes[head + END_OF_HEAD.len()..]);
    let head = std::str::from_utf8(head).map_err(|_| ExchangeError::NotHttp)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let status = status.ok_or(ExchangeError::NotHttp)?;
    let length = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    // Our answers all say how long they are; anything else is not one of ours.
    let length = length.ok_or(ExchangeError::NotHttp)?;
    let body = body.get(..length).ok_or(ExchangeError::CutOff)?;
    Ok(Answer { status, body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::{Answer, parse};

    #[test]
    fn an_answer_is_read_and_anything_else_refused() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(bytes).unwrap(), Answer { status: 200, body: b"{}".to_vec() });
        for (bytes, message) in [
            (&b""[..], "it does not speak HTTP"),
            (b"\0\0\0\x12kafka", "it does not speak HTTP"),
            (b"HTTP/1.1 200 OK\r\n", "its answer is cut off"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", "its answer is cut off"),
            (b"HTTP/1.1 200 OK\r\n\r\n{}", "it does not speak HTTP"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\n{}", "it does not speak HTTP"),
            (b"HTTP/1.1 OK\r\ncontent-length: 2\r\n\r\n{}", "it does not speak HTTP"),
        ] {
            assert_eq!(parse(bytes).unwrap_err().to_string(), message, "{}", bytes.escape_ascii());
        }
    }
}
