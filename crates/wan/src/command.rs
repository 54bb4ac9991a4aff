//! One line, one change: how a running emulator is steered from outside.
//!
//! ```text
//! set eu-west us-east delay_ms=40 loss=0.01     fields not named stay as they are
//! cut eu-west us-east                           one direction
//! cut eu-west                                   a site, from all others, both ways
//! heal eu-west us-east        heal eu-west
//! reset eu-west us-east                         proxied TCP connections
//! address eu-west us-east
//! proxy eu-west us-east 127.0.0.2:9093          answers with the address to dial
//! stats                       lateness
//! quit
//! ```

use std::net::SocketAddr;

use crate::emulator::{Emulator, LinkError};
use crate::link::Link;

/// What a line led to.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// Done.
    Done,
    /// An answer of one line.
    Text(String),
    /// The asker wants to end.
    Quit,
}

/// Why a line led to nothing.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum CommandError {
    /// Not a command.
    #[error("no such command: {0}; there are set, cut, heal, reset, address, proxy, stats, lateness, quit")]
    Unknown(String),
    /// A `set` that does not parse.
    #[error("cannot set {0}: write field=number, fields as in a topology's link")]
    Field(String),
    /// Not an address.
    #[error("{0} is not an address like 127.0.0.2:9093")]
    Address(String),
    /// The emulator refused.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Does what a line says.
///
/// # Errors
/// If the line is not a command, or names what does not exist.
pub fn obey(emulator: &Emulator, line: &str) -> Result<Reply, CommandError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [] => Ok(Reply::Done),
        ["quit"] => Ok(Reply::Quit),
        ["stats"] => Ok(Reply::Text(json(&emulator.stats()))),
        ["lateness"] => Ok(Reply::Text(json(&emulator.lateness()))),
        ["cut", site] => done(emulator.cut_site(site)),
        ["heal", site] => done(emulator.heal_site(site)),
        ["cut", from, to] => done(emulator.cut(from, to)),
        ["heal", from, to] => done(emulator.heal(from, to)),
        ["reset", from, to] => done(emulator.reset(from, to)),
        ["address", from, to] => Ok(Reply::Text(emulator.address(from, to)?.to_string())),
        ["proxy", from, to, target] => proxy(emulator, from, to, target),
        ["set", from, to, fields @ ..] if !fields.is_empty() => {
            let link = changed(emulator.link(from, to)?, fields)?;
            done(emulator.set(from, to, link))
        }
        _ => Err(CommandError::Unknown(line.trim().to_owned())),
    }
}

fn done(result: Result<(), LinkError>) -> Result<Reply, CommandError> {
    result.map(|()| Reply::Done).map_err(CommandError::from)
}

fn proxy(emulator: &Emulator, from: &str, to: &str, target: &str) -> Result<Reply, CommandError> {
    let target: SocketAddr = target.parse().map_err(|_| CommandError::Address(target.to_owned()))?;
    Ok(Reply::Text(emulator.proxy(from, to, target)?.to_string()))
}

/// A link with some fields replaced, by way of its TOML form: the fields are named in one place only.
fn changed(link: Link, fields: &[&str]) -> Result<Link, CommandError> {
    let mut table = toml::Table::try_from(link).expect("a link is plain numbers");
    for field in fields {
        let wrong = || CommandError::Field((*field).to_owned());
        let (name, value) = field.split_once('=').ok_or_else(wrong)?;
        let value = match value.parse::<i64>() {
            Ok(whole) => toml::Value::Integer(whole),
            Err(_) => toml::Value::Float(value.parse().map_err(|_| wrong())?),
        };
        table.insert(name.to_owned(), value);
    }
    table.try_into().map_err(|_| CommandError::Field(fields.join(" ")))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("counts and names always have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::{CommandError, Reply, obey};
    use crate::emulator::Emulator;
    use crate::topology::{SiteEnd, Topology};

    fn emulator() -> Emulator {
        let listen = "127.0.0.1:9".parse().unwrap();
        let sites = ["a", "b"].map(|name| SiteEnd { name: name.to_owned(), listen });
        Emulator::start(&Topology { sites: sites.into(), ..Topology::default() }).unwrap()
    }

    #[test]
    fn lines_change_links() {
        let emulator = emulator();
        assert_eq!(obey(&emulator, "set a b delay_ms=40 loss=0.25 mtu=1300\n"), Ok(Reply::Done));
        assert_eq!(obey(&emulator, "set a b rate_mbit=100"), Ok(Reply::Done));
        let link = emulator.link("a", "b").unwrap();
        assert_eq!((link.delay_ms, link.loss, link.mtu, link.rate_mbit), (40.0, 0.25, 1_300, 100.0));
        assert_eq!(obey(&emulator, "cut a"), Ok(Reply::Done));
        assert!(emulator.stats().iter().all(|stats| stats.cut));
        assert_eq!(obey(&emulator, "heal a b"), Ok(Reply::Done));
        assert_eq!(emulator.stats().iter().filter(|stats| stats.cut).count(), 1);
        assert!(matches!(obey(&emulator, "stats"), Ok(Reply::Text(json)) if json.contains("\"from\":\"a\"")));
        assert_eq!(obey(&emulator, "quit"), Ok(Reply::Quit));
    }

    #[test]
    fn wrong_lines_are_answered_not_obeyed() {
        let emulator = emulator();
        assert!(matches!(obey(&emulator, "burn a b"), Err(CommandError::Unknown(_))));
        assert!(matches!(obey(&emulator, "set a b speed=3"), Err(CommandError::Field(_))));
        assert!(matches!(obey(&emulator, "set a b loss"), Err(CommandError::Field(_))));
        assert!(matches!(obey(&emulator, "set a b mtu=-1"), Err(CommandError::Field(_))));
        assert!(matches!(obey(&emulator, "set a b loss=2"), Err(CommandError::Link(_))));
        assert!(matches!(obey(&emulator, "cut a z"), Err(CommandError::Link(_))));
        assert!(matches!(obey(&emulator, "proxy a b nowhere"), Err(CommandError::Address(_))));
    }
}
