//! One number for what all sites must say alike, so that a hello can compare it.
//!
//! ```text
//! blake3 of: "meridian shared configuration 1" | count u32 | per member: name, id u16, peer, kafka
//!            | count u32 | per home: name, port u16, count u32, prefer…
//! ```
//! Big-endian; a text is its length as u32 and its bytes. Cluster id and epoch are compared by themselves.

use super::Shared;

const DOMAIN: &[u8] = b"meridian shared configuration 1";

pub(super) fn of(shared: &Shared) -> [u8; 32] {
    let mut form = DOMAIN.to_vec();
    count(&mut form, shared.members.len());
    for member in &shared.members {
        text(&mut form, &member.name);
        form.extend(member.id.to_be_bytes());
        text(&mut form, &member.peer);
        text(&mut form, &member.kafka);
    }
    count(&mut form, shared.homes.len());
    for home in &shared.homes {
        text(&mut form, &home.name);
        form.extend(home.port.to_be_bytes());
        count(&mut form, home.prefer.len());
        home.prefer.iter().for_each(|name| text(&mut form, name));
    }
    *blake3::hash(&form).as_bytes()
}

fn count(form: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("a configuration file is far shorter than 4 GiB");
    form.extend(count.to_be_bytes());
}

fn text(form: &mut Vec<u8>, text: &str) {
    count(form, text.len());
    form.extend(text.as_bytes());
}
