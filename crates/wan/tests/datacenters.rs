//! The shipped configurations and the shipped matrix: they parse, they agree with each other, and the times are sane.
//!
//! Whether a node accepts them is the node's test. Here it is that no file of a set was edited without the others.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use wan::Matrix;

/// Paths through the Internet are no straight lines: a detour may be shorter, but not by more than this.
const DETOUR_TOLERANCE: f64 = 1.05;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datacenters")
}

fn matrix() -> Matrix {
    Matrix::load(&folder().join("rtt.toml")).unwrap()
}

/// The site configurations of a folder, by file stem.
fn sites(folder: &Path) -> Vec<(String, Table)> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut sites: Vec<(String, Table)> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| path.file_stem().unwrap() != "rtt")
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), table)
        })
        .collect();
    sites.sort_by(|a, b| a.0.cmp(&b.0));
    sites
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

/// Everything that must hold within a set of `count` sites.
fn check_set(folder: &Path, count: usize) {
    let sites = sites(folder);
    assert_eq!(sites.len(), count, "{}", folder.display());
    let (_, first) = &sites[0];
    let members = first["members"].as_array().unwrap();
    let names: BTreeSet<&str> = members.iter().map(|member| text(member, "name")).collect();
    assert_eq!(names.len(), count);
    for (stem, site) in &sites {
        for shared in ["cluster", "members", "homes"] {
            assert_eq!(site[shared], first[shared], "[{shared}] of {stem} differs");
        }
        let own = &site["site"];
        assert_eq!(text(own, "name"), stem);
        let member = members.iter().find(|member| text(member, "name") == stem).unwrap();
        assert_eq!(own["id"], member["id"]);
        assert_eq!(site["listen"]["peer"], member["peer"]);
        assert_eq!(site["listen"]["kafka"], member["kafka"]);
        assert!(text(&site["tls"], "cert").contains(stem.as_str()));
    }
    for unique in ["id", "peer"] {
        let values: BTreeSet<String> = members.iter().map(|member| member[unique].to_string()).collect();
        assert_eq!(values.len(), count, "two members share their {unique}");
    }
    check_homes(first["homes"].as_array().unwrap(), &names);
}

/// One home per member, each preferring itself and then the others, nearest first.
fn check_homes(homes: &[Value], names: &BTreeSet<&str>) {
    let matrix = matrix();
    assert_eq!(&homes.iter().map(|home| text(home, "name")).collect::<BTreeSet<_>>(), names);
    let ports: BTreeSet<i64> = homes.iter().map(|home| home["port"].as_integer().unwrap()).collect();
    assert_eq!(ports.len(), names.len());
    for home in homes {
        let name = text(home, "name");
        let prefer: Vec<&str> =
            home["prefer"].as_array().unwrap().iter().map(|site| site.as_str().unwrap()).collect();
        assert_eq!(prefer[0], name);
        assert_eq!(&prefer.iter().copied().collect::<BTreeSet<_>>(), names);
        assert!(
            prefer.is_sorted_by_key(|site| matrix.rtt_ms(name, site).unwrap()),
            "{name}: not nearest first"
        );
    }
}

#[test]
fn the_three_regions_agree() {
    check_set(&folder(), 3);
}

#[test]
fn the_five_regions_agree() {
    check_set(&folder().join("five"), 5);
}

#[test]
fn the_matrix_is_complete_symmetric_and_sane() {
    let matrix = matrix();
    let regions = matrix.regions();
    assert!(regions.len() >= 7);
    for a in &regions {
        for b in regions.iter().filter(|b| *b != a) {
            let direct = matrix.rtt_ms(a, b).unwrap();
            assert_eq!(direct, matrix.rtt_ms(b, a).unwrap());
            assert!((5.0..400.0).contains(&direct), "{a} {b}: {direct} ms");
            for via in regions.iter().filter(|via| *via != a && *via != b) {
                let detour = matrix.rtt_ms(a, via).unwrap() + matrix.rtt_ms(via, b).unwrap();
                assert!(
                    direct <= detour * DETOUR_TOLERANCE,
                    "{a} to {b}: {direct} ms, but {detour} via {via}"
                );
            }
        }
    }
}

#[test]
fn the_widest_of_the_default_three_is_about_215_ms() {
    let matrix = matrix();
    let pairs = [("eu-west", "us-east"), ("eu-west", "ap-southeast"), ("us-east", "ap-southeast")];
    let widest = pairs.iter().map(|(a, b)| matrix.rtt_ms(a, b).unwrap()).fold(0.0, f64::max);
    assert!((205.0..225.0).contains(&widest), "{widest} ms");
}
