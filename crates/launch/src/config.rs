//! A site's configuration file, written out as an operator would.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::plan::{Network, Plan};

/// Any id will do: nothing outside this machine ever meets these sites.
const CLUSTER_ID: &str = "5a0c8f4e-6f0e-4d8e-9f2b-0d1f5c1f7a11";

/// The configuration of site number `own`, which dials the others where `dial` says.
pub(crate) fn of_site(plan: &Plan, own: usize, dial: &BTreeMap<String, SocketAddr>) -> String {
    let name = &plan.sites[own];
    let mut text = format!(
        "[site]\nname = \"{name}\"\nid = {}\ndata_dir = \"{}\"\n\n[cluster]\nid = \"{CLUSTER_ID}\"\n",
        own + 1,
        plan.data(name).display(),
    );
    for (index, site) in plan.sites.iter().enumerate() {
        let (peer, kafka) = (plan.peer(index), Plan::host(index));
        let clients = match Some(site) == plan.witness.as_ref() {
            true => "witness = true".to_owned(),
            false => format!("kafka = \"{kafka}\""),
        };
        let id = index + 1;
        let member = format!("\n[[members]]\nname = \"{site}\"\nid = {id}\npeer = \"{peer}\"\n{clients}\n");
        text.push_str(&member);
    }
    for (home, site) in plan.with_data().iter().enumerate() {
        let port = plan.kafka(home, home).port();
        let prefer = preference(plan, home).join("\", \"");
        let home = format!("\n[[homes]]\nname = \"{site}\"\nport = {port}\nprefer = [\"{prefer}\"]\n");
        text.push_str(&home);
    }
    let (kafka, peer, http) = (Plan::host(own), plan.peer(own), plan.http(own));
    let certs = plan.folder.join("certs");
    let certs = certs.display();
    let listen = format!(
        "\n[listen]\nkafka = \"{kafka}\"\npeer = \"{peer}\"\nhttp = \"{http}\"\n\n[tls]\nca = \"{certs}/ca.pem\"\n"
    );
    text.push_str(&listen);
    let own_files = format!("cert = \"{certs}/{name}.pem\"\nkey = \"{certs}/{name}.key\"\nkafka = \"off\"\n");
    text.push_str(&own_files);
    if !dial.is_empty() {
        text.push_str("\n[dial]\n");
        for (site, address) in dial {
            writeln!(text, "{site} = \"{address}\"").expect("a text takes any text");
        }
    }
    text
}

/// Who serves a home's clients: its own site, then the others, nearest first.
fn preference(plan: &Plan, home: usize) -> Vec<String> {
    let far = |site: &String| match &plan.network {
        Network::Emulated { matrix, .. } => matrix.rtt_ms(&plan.sites[home], site).unwrap_or(f64::MAX),
        Network::Direct => f64::from(u8::from(*site != plan.sites[home])),
    };
    let mut sites = plan.with_data();
    sites.sort_by(|one, other| far(one).total_cmp(&far(other)));
    sites
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wan::Matrix;

    use super::{of_site, preference};
    use crate::plan::{Network, Plan, Ports};

    fn plan() -> Plan {
        let matrix = Matrix::parse("[rtt_ms.a]\nb = 90\nc = 30\n[rtt_ms.b]\nc = 70").unwrap();
        Plan {
            meridian: "meridian".into(),
            folder: "/f".into(),
            sites: ["a", "b", "c"].map(str::to_owned).into(),
            witness: None,
            network: Network::Emulated { matrix, seed: 0, guests: Vec::new() },
            ports: Ports::default(),
            settings: Vec::new(),
        }
    }

    #[test]
    fn clients_stay_at_home_and_else_go_to_the_nearest() {
        assert_eq!(preference(&plan(), 0), ["a", "c", "b"]);
        assert_eq!(preference(&plan(), 1), ["b", "c", "a"]);
    }

    #[test]
    fn a_witness_is_nobodys_home() {
        let plan = Plan { witness: Some("c".to_owned()), ..plan() };
        let text = of_site(&plan, 2, &BTreeMap::new());
        assert_eq!((text.matches("witness = true").count(), text.matches("[[homes]]").count()), (1, 2));
        assert!(text.contains("port = 9092\nprefer = [\"a\", \"b\"]"), "{text}");
    }

    #[test]
    fn a_configuration_names_all_members_and_where_this_site_dials_them() {
        let dial = BTreeMap::from([("b".to_owned(), "127.0.0.1:5000".parse().unwrap())]);
        let text = of_site(&plan(), 2, &dial);
        assert!(text.contains("name = \"c\"\nid = 3\ndata_dir = \"/f/data/c\""), "{text}");
        assert_eq!(text.matches("[[members]]").count(), 3);
        assert!(text.contains("port = 9094\nprefer = [\"c\", \"a\", \"b\"]"), "{text}");
        assert!(text.ends_with("[dial]\nb = \"127.0.0.1:5000\"\n"), "{text}");
    }
}
