//! Member ids: `<client or instance id>-<site>.<incarnation>-<counter><nonce>`.
//!
//! Site and incarnation make the ids of a former coordinator recognisable, the counter makes them unique within this one, and
//! the caller's random bits make them hard to guess. They are opaque to clients, as in Kafka.

/// How much of the client's own name is kept for operators to read.
const NAME_BYTES_MAX: usize = 64;

/// A new id. `ordinal` must not repeat within one incarnation.
pub(crate) fn mint(name: &str, coordinator: (u16, u32), ordinal: u64, nonce: u64) -> String {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let (site, incarnation) = coordinator;
    format!("{}-{site}.{incarnation}-{ordinal:x}.{nonce:016x}", &name[..end])
}

/// The site and incarnation that handed out a member id, if it looks like one of ours.
#[must_use]
pub fn minted_by(member_id: &str) -> Option<(u16, u32)> {
    let (rest, _serial) = member_id.rsplit_once('-')?;
    let (_name, coordinator) = rest.rsplit_once('-')?;
    let (site, incarnation) = coordinator.split_once('.')?;
    Some((site.parse().ok()?, incarnation.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{mint, minted_by};

    #[test]
    fn an_id_names_its_coordinator() {
        let id = mint("my-app", (3, 17), 255, 0xabc);
        assert_eq!(id, "my-app-3.17-ff.0000000000000abc");
        assert_eq!(minted_by(&id), Some((3, 17)));
        assert_eq!(minted_by("rdkafka-0f3e-77"), None);
        assert_eq!(minted_by(""), None);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let id = mint(&"é".repeat(100), (1, 0), 0, 0);
        assert!(id.starts_with(&"é".repeat(32)));
        assert_eq!(minted_by(&id), Some((1, 0)));
    }
}
