//! Where a client is at home, and what it is told because of it.
//!
//! The port says it, or a marker in the client's id, which wins. Every answer that names a site depends on the home and
//! not on who answers: clients fetch metadata from any site they know, and would wander if each named itself. While the
//! home's own site is away, all name the same next one.

use crate::broker::{ClusterView, HomeView, SiteView};

const MARKER: &str = "meridian_home=";

/// The home a client id names, if it does: `meridian_home=<name>` anywhere among words between spaces, commas or bars.
pub(crate) fn marked(client_id: &str) -> Option<&str> {
    client_id
        .split([' ', ',', '|'])
        .find_map(|word| word.strip_prefix(MARKER))
        .filter(|name| !name.is_empty())
}

/// A view of the cluster from one home.
pub(crate) struct FromHome<'a> {
    view: &'a ClusterView,
    home: Option<&'a HomeView>,
}

impl<'a> FromHome<'a> {
    /// As the client of this id sees the cluster, having come in at the port of the home `listener`.
    pub(crate) fn new(view: &'a ClusterView, listener: &str, client_id: Option<&str>) -> FromHome<'a> {
        let home =
            client_id.and_then(marked).and_then(|name| view.home(name)).or_else(|| view.home(listener));
        // A door whose home the view does not know is a mistake of configuration; any home is better than port 0.
        let home = home.or_else(|| view.homes.first());
        FromHome { view, home }
    }

    /// The site its clients are sent to: the first live one of the home's preference list, the same from every site.
    pub(crate) fn leader(&self) -> i32 {
        let preferred = self.home.into_iter().flat_map(|home| &home.preference);
        preferred.copied().find(|site| self.view.live.contains(site)).unwrap_or(self.view.this_site)
    }

    /// The sites that its clients are told of: those that are up. A site that has just started may know of none, and then
    /// tells of all: a client forgets whom it is not told of, and one that knows nobody asks nobody again for minutes.
    pub(crate) fn told_sites(&self) -> impl Iterator<Item = &'a SiteView> {
        let live = &self.view.live;
        let none = !self.view.sites.iter().any(|site| live.contains(&site.id));
        self.view.sites.iter().filter(move |site| none || live.contains(&site.id))
    }

    /// The site of this id.
    pub(crate) fn site(&self, id: i32) -> Option<&'a SiteView> {
        self.view.sites.iter().find(|site| site.id == id)
    }

    /// Where a site listens for this home's clients.
    pub(crate) fn port(&self, site: &SiteView) -> u16 {
        self.home.map_or(0, |home| site.port_for(home))
    }
}

#[cfg(test)]
mod tests {
    use super::{FromHome, marked};
    use crate::broker::{ClusterView, HomeView, SiteView};
    use std::collections::BTreeMap;

    fn view() -> ClusterView {
        let mut view = ClusterView::empty("c".into(), 2);
        for (id, name) in [(1, "eu-west"), (2, "us-east")] {
            let (host, ports) = (format!("{name}.example"), BTreeMap::new());
            view.sites.push(SiteView { id, name: name.into(), host, ports });
        }
        view.homes.push(HomeView { name: "eu-west".into(), port: 9092, preference: vec![1, 2] });
        view.homes.push(HomeView { name: "us-east".into(), port: 9093, preference: vec![2, 1] });
        view
    }

    #[test]
    fn a_marker_is_found_among_other_words() {
        assert_eq!(marked("app-1,meridian_home=eu-west|x"), Some("eu-west"));
        assert_eq!(marked("app meridian_home=eu-west"), Some("eu-west"));
        assert_eq!(marked("xmeridian_home=eu-west"), None);
        assert_eq!(marked("meridian_home="), None);
    }

    #[test]
    fn clients_are_told_of_living_sites_and_of_all_where_none_is_known_to_live() {
        let mut view = view();
        let told = |view: &ClusterView| {
            FromHome::new(view, "eu-west", None).told_sites().map(|site| site.id).collect::<Vec<_>>()
        };
        assert_eq!(told(&view), [2]);
        view.live.clear();
        assert_eq!(told(&view), [1, 2]);
    }

    #[test]
    fn the_leader_is_the_first_live_site_of_the_home() {
        let mut view = view();
        assert_eq!(FromHome::new(&view, "eu-west", None).leader(), 2);
        view.live.insert(1);
        assert_eq!(FromHome::new(&view, "eu-west", None).leader(), 1);
        assert_eq!(FromHome::new(&view, "us-east", None).leader(), 2);
        let marked = FromHome::new(&view, "us-east", Some("meridian_home=eu-west"));
        assert_eq!((marked.leader(), marked.port(&view.sites[0])), (1, 9092));
        let unknown = FromHome::new(&view, "us-east", Some("meridian_home=mars"));
        assert_eq!((unknown.leader(), unknown.port(&view.sites[0])), (2, 9093));
    }
}
