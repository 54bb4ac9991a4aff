//! Asks a site whether it is ready: one HTTP question, small enough to need no library.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than any answer to this question.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// `Ok` if the site takes clients; otherwise what it said, or why it said nothing.
pub(crate) fn ask(http: SocketAddr) -> Result<(), String> {
    let answer = get(http, "/readyz").map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(body.trim().to_owned()) }
}

fn get(http: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&http, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // One write: a question that comes in pieces may be answered, and the connection closed, before its end.
    let question = format!("GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::ask;

    fn answering(answer: &'static str) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 512];
            let read = stream.read(&mut question).unwrap();
            assert!(question[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_a_plain_yes_is_ready() {
        assert_eq!(ask(answering("HTTP/1.1 200 OK\r\n\r\nready")), Ok(()));
        let said = ask(answering("HTTP/1.1 503 Service Unavailable\r\n\r\nno quorum\n"));
        assert_eq!(said, Err("no quorum".to_owned()));
        assert!(ask(answering("")).is_err());
    }
}
