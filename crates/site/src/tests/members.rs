//! Members come and go while others write, and every site agrees on who they are at every place of the order.

use entry::{MemberEpoch, SiteId, TopicId};

use super::trio::Trio;
use super::{append, create};
use crate::{Answer, Reading, Refusal, Request};

fn add(trio: &mut Trio, at: u16, site: u16) -> Result<Answer, Refusal> {
    trio.ask(at, Request::AddSite { site: SiteId(site) })
}

fn remove(trio: &mut Trio, at: u16, site: u16) -> Result<Answer, Refusal> {
    trio.ask(at, Request::RemoveSite { site: SiteId(site) })
}

/// Three founders, and a fourth site that was added.
fn four() -> (Trio, TopicId) {
    let mut trio = Trio::fencing_after_ms(1000);
    let topic = create(&mut trio, &[]);
    assert!(trio.ask(1, append(topic, "before")).is_ok());
    trio.make_known(4);
    trio.start_joining(4);
    trio.run_ms(2500);
    assert_eq!(trio.values(4, topic, Reading::Merged), ["before"], "it follows before it is a member");
    assert_eq!(add(&mut trio, 2, 4), Ok(Answer::Members));
    trio.run_ms(2500);
    (trio, topic)
}

fn agree(trio: &Trio, sites: &[u16], topic: TopicId, members: &[u16]) -> Vec<String> {
    let merged = trio.values(sites[0], topic, Reading::Merged);
    for site in sites {
        let known: Vec<u16> = trio.site(*site).members().iter().map(|site| site.0).collect();
        assert_eq!(known, members, "at site {site}");
        assert_eq!(trio.values(*site, topic, Reading::Merged), merged, "at site {site}");
        assert_eq!(trio.digest(*site, topic), trio.digest(sites[0], topic), "at site {site}");
    }
    merged
}

#[test]
fn a_site_is_added_and_writes_and_counts() {
    let (mut trio, topic) = four();
    assert!(trio.site(4).votes(), "{:#?}", trio.said);
    assert!(trio.ask(4, append(topic, "of the new one")).is_ok());
    trio.run_ms(500);
    assert_eq!(agree(&trio, &[1, 2, 3, 4], topic, &[1, 2, 3, 4]), ["before", "of the new one"]);
    // Three of four are a majority: the new one is among them.
    trio.cut(1);
    assert!(trio.ask(2, append(topic, "without the first")).is_ok());
    trio.run_ms(4000);
    assert_eq!(trio.values(4, topic, Reading::Merged).len(), 3, "{:#?}", trio.said);
    trio.heal(1);
    trio.run_ms(4000);
    assert_eq!(agree(&trio, &[1, 2, 3, 4], topic, &[1, 2, 3, 4]).len(), 3);
}

#[test]
fn who_is_no_member_takes_no_writes_and_cannot_be_added_before_it_is_there() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.make_known(4);
    let unreachable = add(&mut trio, 1, 4);
    assert!(matches!(&unreachable, Err(Refusal::Members(why)) if why.contains("cannot be reached")));
    trio.start_joining(4);
    trio.run_ms(2000);
    let refused = trio.ask(4, append(topic, "too early"));
    assert!(matches!(&refused, Err(Refusal::NotReady(why)) if why.contains("site add")), "{refused:?}");
    assert!(matches!(add(&mut trio, 1, 2), Err(Refusal::Members(_))), "it is one");
    assert!(matches!(remove(&mut trio, 1, 4), Err(Refusal::Members(_))), "it is none");
    assert!(matches!(remove(&mut trio, 1, 3), Err(Refusal::Members(_))), "its journal is open");
}

#[test]
fn a_founder_is_removed_and_learns_it() {
    let (mut trio, topic) = four();
    trio.stop(1);
    assert_eq!(remove(&mut trio, 3, 1), Ok(Answer::Members));
    trio.run_ms(1000);
    assert!(trio.ask(2, append(topic, "without it")).is_ok());
    trio.run_ms(500);
    assert_eq!(agree(&trio, &[2, 3, 4], topic, &[2, 3, 4]), ["before", "without it"]);
    trio.start(1);
    trio.run_ms(3000);
    let refused = trio.ask(1, append(topic, "of the removed one"));
    assert!(matches!(&refused, Err(Refusal::NotReady(why)) if why.contains("removed")), "{refused:?}");
    let again = add(&mut trio, 2, 1);
    assert!(matches!(&again, Err(Refusal::Members(why)) if why.contains("not used again")), "{again:?}");
    // Two of three are a majority: the fenced one was a member of the last four.
    trio.cut(4);
    assert!(trio.ask(2, append(topic, "of two")).is_ok());
    trio.run_ms(4000);
    assert_eq!(trio.values(3, topic, Reading::Merged).len(), 3, "{:#?}", trio.said);
    trio.heal(4);
    trio.run_ms(4000);
    assert_eq!(agree(&trio, &[2, 3, 4], topic, &[2, 3, 4]).len(), 3);
}

#[test]
fn a_fenced_site_is_removed() {
    let (mut trio, topic) = four();
    trio.crash(3);
    assert!(trio.ask(2, append(topic, "after a death")).is_ok());
    trio.run_ms(4000);
    assert_eq!(remove(&mut trio, 1, 3), Ok(Answer::Members));
    trio.run_ms(1000);
    assert!(trio.ask(4, append(topic, "and a removal")).is_ok());
    trio.run_ms(500);
    assert_eq!(agree(&trio, &[1, 2, 4], topic, &[1, 2, 4]).len(), 3);
    assert!(trio.said.iter().any(|(_, said)| said.contains("members 3")), "{:#?}", trio.said);
}

#[test]
fn of_two_changes_at_a_time_the_first_in_the_order_counts() {
    let (mut trio, topic) = four();
    trio.stop(1);
    trio.run_ms(100);
    trio.send(2, Request::RemoveSite { site: SiteId(1) });
    trio.send(3, Request::RemoveSite { site: SiteId(1) });
    trio.run_ms(2000);
    agree(&trio, &[2, 3, 4], topic, &[2, 3, 4]);
    assert_eq!(trio.site(4).epoch(), MemberEpoch(3), "it is made once");
}

/// The simulator found that both were told yes.
#[test]
fn who_asks_for_a_change_that_came_too_late_is_told_so() {
    let (mut trio, _) = four();
    trio.stop(1);
    trio.run_ms(100);
    let remove = Request::RemoveSite { site: SiteId(1) };
    let (first, second) = (trio.send(2, remove.clone()), trio.send(3, remove));
    trio.run_ms(2000);
    let answers = [trio.answer(first), trio.answer(second)];
    assert!(answers.contains(&Some(Ok(Answer::Members))), "{answers:?}");
    let late =
        |answer: &Option<_>| matches!(answer, Some(Err(Refusal::Members(why))) if why.contains("first"));
    assert!(answers.iter().any(late), "{answers:?}");
}

/// The simulator found that a site which comes late waited for founders that were long gone.
#[test]
fn a_site_joins_when_most_founders_are_gone() {
    let (mut trio, topic) = four();
    for gone in [1, 2] {
        trio.stop(gone);
        assert_eq!(remove(&mut trio, 3, gone), Ok(Answer::Members));
        trio.run_ms(1000);
    }
    trio.make_known(5);
    for gone in [1, 2] {
        trio.crash(gone);
        trio.wipe(gone);
    }
    trio.start_joining(5);
    trio.run_ms(2500);
    assert_eq!(trio.values(5, topic, Reading::Merged), ["before"], "{:#?}", trio.said);
    assert_eq!(add(&mut trio, 3, 5), Ok(Answer::Members));
    trio.run_ms(2500);
    assert!(trio.ask(5, append(topic, "of the fifth")).is_ok());
    trio.run_ms(500);
    assert_eq!(agree(&trio, &[3, 4, 5], topic, &[3, 4, 5]).len(), 2);
}

#[test]
fn a_site_is_added_while_another_is_silent_and_fenced() {
    let mut trio = Trio::fencing_after_ms(1000);
    let topic = create(&mut trio, &[]);
    trio.make_known(4);
    trio.start_joining(4);
    trio.run_ms(2500);
    trio.cut(3);
    assert!(trio.ask(3, append(topic, "alone")).is_ok());
    // The agreement on its end is under way when the members change.
    trio.run_ms(900);
    trio.send(1, Request::AddSite { site: SiteId(4) });
    assert!(trio.ask(2, append(topic, "others")).is_ok());
    trio.run_ms(8000);
    assert_eq!(agree(&trio, &[1, 2, 4], topic, &[1, 2, 3, 4]), ["others"], "{:#?}", trio.said);
    trio.heal(3);
    trio.run_ms(4000);
    assert_eq!(agree(&trio, &[1, 2, 3, 4], topic, &[1, 2, 3, 4]), ["others", "alone"]);
}

#[test]
fn all_of_it_survives_restarts_and_a_lost_disk() {
    let (mut trio, topic) = four();
    for site in 1..=4 {
        trio.crash(site);
        trio.start(site);
        trio.run_ms(1500);
    }
    assert!(trio.ask(4, append(topic, "after all")).is_ok());
    trio.run_ms(1000);
    assert_eq!(agree(&trio, &[1, 2, 3, 4], topic, &[1, 2, 3, 4]), ["before", "after all"]);
    trio.crash(4);
    trio.wipe(4);
    trio.start_joining(4);
    trio.run_ms(9000);
    assert!(trio.site(4).votes(), "{:#?}", trio.said);
    assert!(trio.ask(4, append(topic, "in a new life")).is_ok());
    trio.run_ms(1000);
    assert_eq!(agree(&trio, &[1, 2, 3, 4], topic, &[1, 2, 3, 4]).len(), 3);
}

#[test]
fn what_a_removed_site_took_before_it_heard_of_it_comes_in_once() {
    let (mut trio, topic) = four();
    trio.stop(1);
    assert_eq!(remove(&mut trio, 3, 1), Ok(Answer::Members));
    trio.run_ms(1000);
    trio.isolate(1);
    trio.start(1);
    trio.run_ms(1500);
    assert!(trio.ask(1, append(topic, "unheard of")).is_ok(), "cut off, it knows of nothing");
    trio.heal(1);
    trio.run_ms(4000);
    assert!(matches!(trio.ask(1, append(topic, "no more")), Err(Refusal::NotReady(_))));
    assert_eq!(agree(&trio, &[1, 2, 3, 4], topic, &[2, 3, 4]), ["before", "unheard of"]);
}
