//! Which room may stand on which: the arrows of ARCHITECTURE.md, held against every manifest.
//!
//! Two rules. A crate names only the rooms listed for it here, so a new edge is an edit of this table, seen in review. And a
//! room of the core names no library that brings time, chance, threads, files or sockets: what clippy bans in its code must
//! not come in through its dependencies. Dev-dependencies are free: tests may stand on anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;

use crate::run::root;

/// Every room and the rooms it may stand on, the core first.
const ROOMS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("crdt", &[]),
    ("batch", &[]),
    ("disk", &[]),
    ("group", &[]),
    ("entry", &["clock", "crdt"]),
    ("agree", &["entry"]),
    ("journal", &["clock", "disk", "entry"]),
    ("partition", &["batch", "clock", "disk", "entry"]),
    ("catalog", &["entry"]),
    ("order", &["clock", "crdt", "entry"]),
    (
        "site",
        &["agree", "batch", "catalog", "clock", "crdt", "disk", "entry", "journal", "order", "partition"],
    ),
    ("wan", &[]),
    ("launch", &["wan"]),
    ("peer", &[]),
    ("kafka", &[]),
    ("admin", &[]),
    ("client", &["batch"]),
    ("history", &[]),
    (
        "sim",
        &[
            "agree",
            "batch",
            "catalog",
            "clock",
            "crdt",
            "disk",
            "entry",
            "journal",
            "order",
            "partition",
            "site",
        ],
    ),
    (
        "node",
        &[
            "admin",
            "batch",
            "catalog",
            "clock",
            "crdt",
            "disk",
            "entry",
            "group",
            "journal",
            "kafka",
            "order",
            "partition",
            "peer",
            "site",
        ],
    ),
    (
        "meridian",
        &[
            "admin",
            "batch",
            "client",
            "disk",
            "entry",
            "journal",
            "launch",
            "node",
            "partition",
            "peer",
            "wan",
        ],
    ),
    ("bench", &["admin", "batch", "client", "launch", "wan"]),
    (
        "fuzz",
        &[
            "agree",
            "batch",
            "catalog",
            "clock",
            "crdt",
            "disk",
            "entry",
            "journal",
            "kafka",
            "partition",
            "peer",
            "site",
        ],
    ),
    ("chaos", &["admin", "batch", "client", "history", "launch", "wan"]),
];

/// Rooms whose time, chance and I/O come in as arguments.
const CORE: &[&str] = &[
    "clock",
    "crdt",
    "batch",
    "disk",
    "group",
    "entry",
    "agree",
    "journal",
    "partition",
    "catalog",
    "order",
    "site",
];

/// Libraries that would let the outside world into the core.
const WORLDLY: &[&str] = &[
    "anyhow",
    "arc-swap",
    "axum",
    "chrono",
    "clap",
    "getrandom",
    "libc",
    "mio",
    "quinn",
    "quinn-proto",
    "rand",
    "rcgen",
    "rustix",
    "rustls",
    "socket2",
    "tempfile",
    "thread-priority",
    "tokio",
    "tokio-rustls",
    "tracing-subscriber",
];

/// What a manifest names.
struct Manifest {
    room: String,
    dependencies: BTreeSet<String>,
}

/// Holds every manifest of `crates/`, and that of the benchmarks, against the rules.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut manifests = manifests(&root().join("crates"))?;
    for folder in ["bench", "fuzz"] {
        manifests.push(manifest(&root().join(folder).join("Cargo.toml"))?);
    }
    let broken: Vec<String> = manifests.iter().flat_map(broken_rules).collect();
    anyhow::ensure!(broken.is_empty(), "rooms:\n  {}", broken.join("\n  "));
    println!("\n== rooms: {} crates stand only on what they may", manifests.len());
    Ok(())
}

fn manifests(crates: &Path) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for folder in std::fs::read_dir(crates).context("cannot list crates/")? {
        let path = folder?.path().join("Cargo.toml");
        if path.exists() {
            manifests.push(manifest(&path)?);
        }
    }
    manifests.sort_by(|one, other| one.room.cmp(&other.room));
    Ok(manifests)
}

fn manifest(path: &Path) -> anyhow::Result<Manifest> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> anyhow::Result<Manifest> {
    let table: toml::Table = text.parse()?;
    let room = table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    let dependencies = table.get("dependencies").and_then(toml::Value::as_table);
    let dependencies = dependencies.map(|named| named.keys().cloned().collect()).unwrap_or_default();
    Ok(Manifest { room: room.context("it names no package")?.to_owned(), dependencies })
}

fn broken_rules(manifest: &Manifest) -> Vec<String> {
    let Manifest { room, dependencies } = manifest;
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let Some(allowed) = rooms.get(room.as_str()) else {
        return vec![format!(
            "{room} is not a room: add it to xtask/src/rooms.rs, with what it may stand on"
        )];
    };
    let is_core = CORE.contains(&room.as_str());
    let mut broken = Vec::new();
    for name in dependencies.iter().map(String::as_str) {
        if rooms.contains_key(name) && !allowed.contains(&name) {
            broken.push(format!("{room} may not stand on {name}: arrows point down only"));
        }
        if is_core && WORLDLY.contains(&name) {
            broken.push(format!(
                "{room} is of the core and may not use {name}: take what it gives as an argument"
            ));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::{CORE, ROOMS, broken_rules, check, parse};

    #[test]
    fn this_repository_keeps_the_rules() {
        check().unwrap();
    }

    #[test]
    fn the_table_itself_points_down() {
        for (at, (room, allowed)) in ROOMS.iter().enumerate() {
            let below: Vec<&str> = ROOMS[..at].iter().map(|(room, _)| *room).collect();
            for name in *allowed {
                assert!(below.contains(name), "{room} stands on {name}, which does not stand before it");
                assert!(!CORE.contains(room) || CORE.contains(name), "{room} is of the core, {name} is not");
            }
        }
    }

    #[test]
    fn a_wrong_arrow_and_a_worldly_library_are_named() {
        let manifest =
            "[package]\nname = \"order\"\n[dependencies]\nsite = {}\ntokio = \"1\"\nentry.workspace = true\n";
        let broken = broken_rules(&parse(manifest).unwrap());
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].starts_with("order may not stand on site"), "{broken:?}");
        assert!(broken[1].starts_with("order is of the core and may not use tokio"), "{broken:?}");
        let unknown = broken_rules(&parse("[package]\nname = \"attic\"").unwrap());
        assert!(unknown[0].contains("attic is not a room"), "{unknown:?}");
    }
}
