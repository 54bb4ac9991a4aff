//! The bytes that group members exchange through their coordinator, and the range assignor.
//!
//! ```text
//! subscription: version i16 | n i32 | n × (length i16, topic) | user data, and more from version 1 on
//! assignment:   version i16 | n i32 | n × (length i16, topic, m i32, m × partition i32) | user data (length i32)
//! ```
//! We write version 0 and read the common start of any version. What we read comes from other members, so every count is held
//! against what is left before anything is made for it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Partitions by topic.
pub(crate) type Assignment = BTreeMap<String, Vec<i32>>;

const NO_USER_DATA: i32 = -1;

pub(crate) fn encode_subscription(topics: &[String]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    put_count(&mut out, topics.len());
    topics.iter().for_each(|topic| put_text(&mut out, topic));
    out.put_i32(NO_USER_DATA);
    out.freeze()
}

pub(crate) fn decode_subscription(mut bytes: &[u8]) -> Option<Vec<String>> {
    take_version(&mut bytes)?;
    let count = take_count(&mut bytes, 2)?;
    (0..count).map(|_| take_text(&mut bytes)).collect()
}

pub(crate) fn encode_assignment(assignment: &Assignment) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    put_count(&mut out, assignment.len());
    for (topic, partitions) in assignment {
        put_text(&mut out, topic);
        put_count(&mut out, partitions.len());
        partitions.iter().for_each(|partition| out.put_i32(*partition));
    }
    out.put_i32(NO_USER_DATA);
    out.freeze()
}

/// No bytes at all mean no partitions: that is what a coordinator gives to a member its leader has forgotten.
pub(crate) fn decode_assignment(mut bytes: &[u8]) -> Option<Assignment> {
    if bytes.is_empty() {
        return Some(Assignment::new());
    }
    take_version(&mut bytes)?;
    let mut assignment = Assignment::new();
    for _ in 0..take_count(&mut bytes, 6)? {
        let topic = take_text(&mut bytes)?;
        let count = take_count(&mut bytes, 4)?;
        assignment.entry(topic).or_default().extend((0..count).map(|_| bytes.get_i32()));
    }
    Some(assignment)
}

/// Range: topic by topic, each member that wants it gets an equal run of partitions, the first ones one more where it does not
/// come out even.
pub(crate) fn range(
    members: &BTreeMap<String, BTreeSet<String>>,
    partitions: &BTreeMap<String, i32>,
) -> BTreeMap<String, Assignment> {
    let mut assigned: BTreeMap<String, Assignment> =
        members.keys().map(|member| (member.clone(), Assignment::new())).collect();
    for (topic, count) in partitions {
        let takers: Vec<&String> =
            members.iter().filter(|(_, wants)| wants.contains(topic)).map(|(m, _)| m).collect();
        let mut rest = 0..*count;
        for (at, member) in takers.iter().enumerate() {
            let members_left = i32::try_from(takers.len() - at).unwrap_or(i32::MAX);
            let share = (rest.end - rest.start + members_left - 1) / members_left;
            let run: Vec<i32> = rest.by_ref().take(usize::try_from(share).unwrap_or(0)).collect();
            if !run.is_empty() {
                assigned.entry((*member).clone()).or_default().insert(topic.clone(), run);
            }
        }
    }
    assigned
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).expect("topics and partitions are counted in i32 by the protocol"));
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).expect("topic names have at most 249 bytes"));
    out.put_slice(text.as_bytes());
}

fn take_version(bytes: &mut &[u8]) -> Option<i16> {
    bytes.try_get_i16().ok().filter(|version| *version >= 0)
}

/// A count of items that take at least so many bytes each.
fn take_count(bytes: &mut &[u8], item_bytes_min: usize) -> Option<usize> {
    let count = usize::try_from(bytes.try_get_i32().ok()?).ok()?;
    (count <= bytes.len() / item_bytes_min).then_some(count)
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{
        Assignment, decode_assignment, decode_subscription, encode_assignment, encode_subscription, range,
    };

    #[test]
    fn what_is_written_is_read_and_has_these_bytes() {
        let topics = vec!["orders".to_owned(), "eu-west.orders".to_owned()];
        let bytes = encode_subscription(&topics);
        assert_eq!(&bytes[..14], b"\0\0\0\0\0\x02\0\x06orders");
        assert_eq!(decode_subscription(&bytes), Some(topics));
        let assignment = Assignment::from([("orders".to_owned(), vec![0, 3])]);
        let bytes = encode_assignment(&assignment);
        assert_eq!(&bytes[..], b"\0\0\0\0\0\x01\0\x06orders\0\0\0\x02\0\0\0\0\0\0\0\x03\xff\xff\xff\xff");
        assert_eq!(decode_assignment(&bytes), Some(assignment));
        assert_eq!(decode_assignment(&[]), Some(Assignment::new()));
    }

    #[test]
    fn cut_or_boastful_bytes_are_refused() {
        let bytes = encode_assignment(&Assignment::from([("orders".to_owned(), vec![0, 3])]));
        for end in 1..bytes.len() - 4 {
            assert_eq!(decode_assignment(&bytes[..end]), None, "cut at {end}");
        }
        assert_eq!(decode_assignment(b"\0\0\x7f\xff\xff\xff"), None);
        assert_eq!(decode_subscription(b"\0\0\x7f\xff\xff\xff"), None);
        assert_eq!(decode_subscription(b"\0\0\xff\xff\xff\xff"), None);
    }

    #[test]
    fn every_partition_goes_to_exactly_one_who_wants_it() {
        let wants = |topics: &[&str]| topics.iter().map(|t| (*t).to_owned()).collect::<BTreeSet<_>>();
        let members = BTreeMap::from([
            ("a".to_owned(), wants(&["t", "u"])),
            ("b".to_owned(), wants(&["t"])),
            ("c".to_owned(), wants(&["t"])),
        ]);
        let partitions = BTreeMap::from([("t".to_owned(), 7), ("u".to_owned(), 2)]);
        let assigned = range(&members, &partitions);
        assert_eq!(
            assigned["a"],
            Assignment::from([("t".to_owned(), vec![0, 1, 2]), ("u".to_owned(), vec![0, 1])])
        );
        assert_eq!(assigned["b"], Assignment::from([("t".to_owned(), vec![3, 4])]));
        assert_eq!(assigned["c"], Assignment::from([("t".to_owned(), vec![5, 6])]));
        let two = range(&members, &BTreeMap::from([("t".to_owned(), 2)]));
        assert_eq!((two["a"].len(), two["b"].len(), two["c"].len()), (1, 1, 0));
    }
}
