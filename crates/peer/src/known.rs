//! Addresses that have shown that they hear us: who comes back to one need not show it again.
//!
//! A new address answers a retry first, which costs a round trip. Each connection also gives the dialing end a few tokens;
//! the next attempt shows one and is spared that. A token counts once and from one address, so nobody can make a site
//! amplify with it. One that is refused, or was lost on a path that is cut, costs nothing but the retry.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use quinn::{TokenLog, TokenReuseError, TokenStore, ValidationTokenConfig};

/// Tokens given to the dialing end of each connection, and kept for each site.
const TOKENS: u32 = 2;
/// How long a token is good. Longer cuts can wait for a retry.
const GOOD_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Tokens that are remembered as shown. Beyond it none counts until the oldest are no good any more.
const SHOWN_MAX: usize = 4_096;

/// What the accepting end does about tokens.
pub(crate) fn tokens() -> ValidationTokenConfig {
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(TOKENS).lifetime(GOOD_FOR).log(Arc::new(Shown::default()));
    tokens
}

/// Tokens that were shown here, by when they were given out.
#[derive(Default)]
struct Shown(Mutex<BTreeSet<(SystemTime, u128)>>);

impl TokenLog for Shown {
    fn check_and_insert(
        &self,
        nonce: u128,
        issued: SystemTime,
        lifetime: Duration,
    ) -> Result<(), TokenReuseError> {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        while shown.first().is_some_and(|(issued, _)| *issued + lifetime < now) {
            shown.pop_first();
        }
        if shown.len() < SHOWN_MAX && shown.insert((issued, nonce)) { Ok(()) } else { Err(TokenReuseError) }
    }
}

/// Tokens of each site, the next to be shown first. One that was shown may have been lost, so it is kept, as the last.
#[derive(Default)]
pub(crate) struct Kept(Mutex<BTreeMap<String, VecDeque<Bytes>>>);

impl TokenStore for Kept {
    fn insert(&self, site: &str, token: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = kept.entry(site.to_owned()).or_default();
        tokens.push_front(token);
        tokens.truncate(TOKENS as usize);
    }

    fn take(&self, site: &str) -> Option<Bytes> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = kept.get_mut(site)?;
        tokens.rotate_left(1);
        tokens.back().cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bytes::Bytes;
    use quinn::{Endpoint, TokenLog, TokenStore};
    use tokio::sync::mpsc;

    use super::{Kept, SHOWN_MAX, Shown};
    use crate::{Tuning, cert, tests, tls};

    #[test]
    fn a_token_counts_once_and_only_so_many_are_remembered() {
        let (shown, day, now) = (Shown::default(), Duration::from_secs(86_400), SystemTime::now());
        assert!(shown.check_and_insert(1, now, day).is_ok());
        assert!(shown.check_and_insert(1, now, day).is_err());
        let old = now - 2 * day;
        assert!((2..=SHOWN_MAX as u128).all(|nonce| shown.check_and_insert(nonce, old, 3 * day).is_ok()));
        assert!(shown.check_and_insert(0, now, 3 * day).is_err(), "it is full");
        assert!(shown.check_and_insert(0, now, day).is_ok(), "those that are no good any more have gone");
    }

    #[test]
    fn the_newest_tokens_are_shown_in_turn() {
        let kept = Kept::default();
        assert_eq!(kept.take("us"), None);
        ["a", "b", "c"].into_iter().for_each(|token| kept.insert("us", Bytes::from(token)));
        let shown: Vec<_> = (0..3).filter_map(|_| kept.take("us")).collect();
        assert_eq!(shown, ["c", "b", "c"]);
        assert_eq!(kept.take("eu"), None);
    }

    #[tokio::test]
    async fn who_comes_back_is_spared_the_retry() {
        let authority = cert::authority("test").unwrap();
        let here = "127.0.0.1:0".parse().unwrap();
        let own = tests::identity(&authority, &authority, 1, "eu");
        let (server, client) = tls::configs(&own, &Tuning::default(), 1).unwrap();
        let accepting = Endpoint::server(server, here).unwrap();
        let at = accepting.local_addr().unwrap();
        let (tell, mut validated) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut up = Vec::new();
            while let Some(incoming) = accepting.accept().await {
                tell.send(incoming.remote_address_validated()).unwrap();
                if incoming.remote_address_validated() {
                    up.push(incoming.await.unwrap());
                } else {
                    incoming.retry().unwrap();
                }
            }
        });
        let dialing = Endpoint::client(here).unwrap();
        for expected in [vec![false, true], vec![true]] {
            let connecting = dialing.connect_with(client.clone(), at, "eu.site.meridian").unwrap();
            let connection = connecting.await.unwrap();
            for wanted in expected {
                assert_eq!(validated.recv().await, Some(wanted));
            }
            // The tokens come with the end of the handshake.
            while connection.stats().frame_rx.new_token < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
