//! What comes off the wire before anybody is trusted: greetings, frames, certificates.

use peer::{SiteName, lone};

/// The first byte says what it is: a greeting, the stream of a lane, or a chain of certificates.
pub(crate) fn peer_frame(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    match mode % 3 {
        0 => hello(bytes),
        1 => stream(bytes),
        _ => chain(bytes),
    }
}

fn hello(bytes: &[u8]) {
    if let Some(hello) = lone::hello(bytes) {
        assert_eq!(hello, bytes[..hello.len()], "a greeting comes back as it went");
    }
}

fn stream(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime without sockets needs nothing");
    let (_, frames) = runtime.block_on(async { (lone::lane(bytes).await, lone::frames(bytes).await) });
    let stream = lone::stream(&frames);
    assert!(bytes.starts_with(&stream), "frames come back as they went");
}

fn chain(bytes: &[u8]) {
    for (certificate, key, site) in lone::chain(bytes).into_iter().flatten() {
        assert_eq!(key.to_string().parse(), Ok(key), "a fingerprint comes back as it went");
        assert!(site.is_none_or(|site| SiteName::from_uri(&site.uri()) == Some(site)), "and so does a name");
        assert!(certificate.from() <= certificate.due(), "a certificate is due within its life");
        let _ = certificate.to_string();
    }
}
