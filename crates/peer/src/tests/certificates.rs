//! Certificates that end, change and are denied while links run.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Node, Two, free_address, identity, loaded, peer};
use crate::cert::{self, Pair};
use crate::{Certificate, Event, Identity, Lane, SiteName, Tuning};

fn us() -> SiteName {
    SiteName { site: 2, name: "us".to_owned() }
}

/// The second site with a certificate that counts for this time only.
fn us_in_force(authority: &Pair, from: SystemTime, until: SystemTime) -> Identity {
    let pair = cert::site_certificate_for(authority, &us(), &cert::loopback_hosts(), from..until).unwrap();
    loaded(&pair, authority, us())
}

/// What is loaded when this text is the file of the denied keys.
fn denying(own: Identity, text: &str) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("denied.txt");
    std::fs::write(&path, text).unwrap();
    own.with_denied(&path).unwrap()
}

fn both(one: &Pair, other: &Pair) -> Pair {
    Pair { certificate_pem: [&*one.certificate_pem, &other.certificate_pem].concat(), ..one.clone() }
}

/// Waits for the next connection: a newer one has taken the place of the one before, which carried until then.
async fn taken_over(node: &mut Node, before: u64) -> u64 {
    let (generation, reason) = node.down().await;
    assert_eq!(generation, before);
    assert!(reason.contains("a newer connection takes over") || reason.contains("closed"), "{reason}");
    node.up().await
}

#[tokio::test]
async fn a_connection_is_renewed_in_time_and_the_old_one_carries_until_then() {
    let authority = cert::authority("test").unwrap();
    let at = [free_address(), free_address()];
    let tuning = Tuning { connection_age: Duration::from_secs(4), ..super::tuning() };
    let (eu, us) = (identity(&authority, &authority, 1, "eu"), identity(&authority, &authority, 2, "us"));
    let mut a = Node::start_with(tuning.clone(), eu, at[0], vec![peer(2, "us", at[1])]).await;
    let mut b = Node::start_with(tuning, us, at[1], vec![peer(1, "eu", at[0])]).await;
    let (mut ga, mut gb) = (a.up().await, b.up().await);
    for round in 0..3_u8 {
        let began = std::time::Instant::now();
        (ga, gb) = tokio::join!(taken_over(&mut a, ga), taken_over(&mut b, gb));
        assert!(began.elapsed() > Duration::from_secs(2), "it was renewed before its time");
        a.links.send(2, ga, Lane::Tail, Bytes::from(vec![round])).unwrap();
        assert_eq!(b.frame().await, (Lane::Tail, Bytes::from(vec![round])));
        b.links.send(1, gb, Lane::Tail, Bytes::from(vec![round])).unwrap();
        assert_eq!(a.frame().await, (Lane::Tail, Bytes::from(vec![round])));
    }
}

#[tokio::test]
async fn either_end_shows_another_certificate_without_a_break() {
    let Two { authority, mut a, mut b, .. } = Two::start().await;
    let (ga, gb) = (a.up().await, b.up().await);
    // The lower site dials by itself; the higher one may only renew what has settled.
    assert_eq!(a.links.renew(&identity(&authority, &authority, 1, "eu")).unwrap(), []);
    let (ga, gb) = tokio::join!(taken_over(&mut a, ga), taken_over(&mut b, gb));
    assert_eq!(b.links.renew(&identity(&authority, &authority, 2, "us")).unwrap(), []);
    let (ga, _) = tokio::join!(taken_over(&mut a, ga), taken_over(&mut b, gb));
    a.links.send(2, ga, Lane::Tail, Bytes::from_static(b"on")).unwrap();
    assert_eq!(b.frame().await.1, &b"on"[..]);
}

#[tokio::test]
async fn one_authority_takes_the_place_of_another_and_the_old_one_lets_nobody_in_any_more() {
    let (old, new) = (cert::authority("old").unwrap(), cert::authority("new").unwrap());
    let at = [free_address(), free_address()];
    let mut a = Node::start(identity(&old, &old, 1, "eu"), at[0], vec![peer(2, "us", at[1])]).await;
    let mut b = Node::start(identity(&old, &old, 2, "us"), at[1], vec![peer(1, "eu", at[0])]).await;
    let (mut ga, mut gb) = (a.up().await, b.up().await);
    let trusting = both(&old, &new);
    let steps = [
        (identity(&old, &trusting, 1, "eu"), identity(&old, &trusting, 2, "us")),
        (identity(&new, &trusting, 1, "eu"), identity(&new, &trusting, 2, "us")),
    ];
    for (eu, us) in steps {
        assert_eq!(b.links.renew(&us).unwrap(), []);
        assert_eq!(a.links.renew(&eu).unwrap(), []);
        (ga, gb) = tokio::join!(taken_over(&mut a, ga), taken_over(&mut b, gb));
    }
    // The first site goes on to the last step with a connection on which the second may still have shown its old one.
    a.links.renew(&identity(&new, &new, 1, "eu")).unwrap();
    b.links.renew(&identity(&new, &new, 2, "us")).unwrap();
    while a.links.stats()[0].generation <= ga || b.links.stats()[0].generation <= gb {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    b.links.close().await;
    a.down().await;
    let stale = Node::start(identity(&old, &trusting, 2, "us"), at[1], vec![peer(1, "eu", at[0])]).await;
    while !matches!(a.next().await, Event::Refused { reason, .. } if reason.contains("authority")) {}
    drop(stale);
}

#[tokio::test]
async fn whoever_is_trusted_no_more_is_cut_off_at_once() {
    let Two { mut a, mut b, .. } = Two::start().await;
    a.up().await;
    b.up().await;
    let other = cert::authority("other").unwrap();
    let closed = a.links.renew(&identity(&other, &other, 1, "eu")).unwrap();
    assert!(matches!(&closed[..], [(2, why)] if why.contains("not accepted")), "{closed:?}");
    a.down().await;
    assert!(b.down().await.1.contains("not accepted"));
    assert!(a.refused().await.contains("authority"));
}

#[tokio::test]
async fn a_denied_key_is_cut_off_at_once_and_another_of_that_site_comes_in() {
    let authority = cert::authority("test").unwrap();
    let at = [free_address(), free_address()];
    let us = identity(&authority, &authority, 2, "us");
    let key = us.certificate().unwrap().key;
    let eu = identity(&authority, &authority, 1, "eu");
    let mut a = Node::start(eu.clone(), at[0], vec![peer(2, "us", at[1])]).await;
    let mut b = Node::start(us, at[1], vec![peer(1, "eu", at[0])]).await;
    a.up().await;
    b.up().await;
    let denied = denying(eu, &format!("# stolen on Tuesday\n\n{key} # us\n"));
    assert_eq!(denied.denied(), 1);
    let closed = a.links.renew(&denied).unwrap();
    assert!(matches!(&closed[..], [(2, why)] if why.contains(&key.to_string())), "{closed:?}");
    a.down().await;
    assert!(b.down().await.1.contains("is denied"));
    // Neither does it come in again, whoever dials, until it shows another key.
    assert!(a.refused().await.contains("is denied"));
    b.links.renew(&identity(&authority, &authority, 2, "us")).unwrap();
    a.up().await;
    b.up().await;
}

#[tokio::test]
async fn a_link_ends_with_the_certificate_that_it_was_let_in_with() {
    let authority = cert::authority("test").unwrap();
    let at = [free_address(), free_address()];
    let now = SystemTime::now();
    let short = us_in_force(&authority, now - Duration::from_secs(60), now + Duration::from_secs(5));
    let mut a =
        Node::start(identity(&authority, &authority, 1, "eu"), at[0], vec![peer(2, "us", at[1])]).await;
    let mut b = Node::start(short.clone(), at[1], vec![peer(1, "eu", at[0])]).await;
    a.up().await;
    b.up().await;
    while !matches!(a.next().await, Event::Refused { reason, .. } if reason.contains("xpired")) {}
    assert!(SystemTime::now() > short.certificate().unwrap().until());
    assert!(short.check().unwrap_err().to_string().contains("other sites would refuse"));
    assert!(a.links.stats().iter().all(|link| !link.up));
    b.links.renew(&identity(&authority, &authority, 2, "us")).unwrap();
    a.up().await;
    b.up().await;
}

#[tokio::test]
async fn a_certificate_that_is_not_in_force_yet_lets_nobody_in() {
    let authority = cert::authority("test").unwrap();
    let at = [free_address(), free_address()];
    let now = SystemTime::now();
    let early = us_in_force(&authority, now + Duration::from_secs(60), now + Duration::from_secs(3600));
    assert!(early.check().is_err());
    let mut a =
        Node::start(identity(&authority, &authority, 1, "eu"), at[0], vec![peer(2, "us", at[1])]).await;
    let _b = Node::start(early, at[1], vec![peer(1, "eu", at[0])]).await;
    let reason = a.refused().await;
    assert!(reason.contains("not valid yet") || reason.contains("NotValidYet"), "{reason}");
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing() {
    let Two { authority, mut a, mut b, .. } = Two::start().await;
    let ga = a.up().await;
    b.up().await;
    let (one, other) = (identity(&authority, &authority, 1, "eu"), identity(&authority, &authority, 1, "eu"));
    assert!(one.check().is_ok());
    let mixed = Identity { key: other.key.clone_key(), ..one.clone() };
    assert!(a.links.renew(&mixed).is_err(), "the key is that of another certificate");
    assert!(a.links.renew(&identity(&authority, &authority, 2, "us")).is_err(), "another site's");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("denied.txt");
    std::fs::write(&path, "# all is well\nsha256:12\n").unwrap();
    let said = one.with_denied(&path).unwrap_err().to_string();
    assert!(said.contains("line 2") && said.contains("denied.txt"), "{said}");
    assert!(Certificate::read_all(&path).is_err());
    a.links.send(2, ga, Lane::Tail, Bytes::from_static(b"still here")).unwrap();
    assert_eq!(b.frame().await.1, &b"still here"[..]);
}
