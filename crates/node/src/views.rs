//! The cluster as clients are told of it: made anew whenever the machine says that something changed.
//!
//! A site that comes back is not named to clients at once: it must have been heard for a while, or clients would bounce
//! between regions with every hiccup. This site itself is named while it takes writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use entry::{SiteId, TopicId};
use kafka::broker::{ClusterView, HomeView, SettingKind, SettingSpec, SiteView, TopicView};
use site::{Reading, Site};
use tokio::sync::watch;
use uuid::Uuid;

/// What does not change while the process runs.
#[derive(Debug, Clone)]
pub struct Fixed {
    /// The cluster's id, as clients are told it.
    pub cluster: String,
    /// This site.
    pub own: SiteId,
    /// Every site: id, name and the host that clients are told.
    pub sites: Vec<(SiteId, String, String)>,
    /// Which of them is the witness, if one is: clients are not told of it.
    pub witness: Option<SiteId>,
    /// The homes.
    pub homes: Vec<HomeView>,
    /// Whether clients may create topics by naming them.
    pub auto_create: bool,
    /// Partitions of a topic whose creator does not say.
    pub default_partitions: u32,
    /// Settings of a topic created here whose creator does not say; none that are the catalog's defaults anyway.
    pub default_settings: BTreeMap<String, String>,
    /// How long a site must be back before clients are sent to it.
    pub home_after: Duration,
}

impl Fixed {
    /// The sites that hold data.
    pub(crate) fn with_data(&self) -> impl Iterator<Item = &(SiteId, String, String)> {
        self.sites.iter().filter(|(id, _, _)| Some(*id) != self.witness)
    }

    /// The name of a site; of none of them, a word that says so.
    pub(crate) fn name_of(&self, site: SiteId) -> String {
        let found = self.sites.iter().find(|(id, _, _)| *id == site);
        found.map_or_else(|| format!("site {site}"), |(_, name, _)| name.clone())
    }

    /// The site of a name, if there is one.
    pub(crate) fn id_of(&self, name: &str) -> Option<SiteId> {
        self.sites.iter().find(|(_, known, _)| known == name).map(|(id, _, _)| *id)
    }
}

/// The view, and what its names mean.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) cluster: Arc<ClusterView>,
    /// Which log each topic id means.
    logs: BTreeMap<Uuid, (TopicId, Reading)>,
    /// Why this site does not do what it is there for, if it does not.
    pub(crate) not_ready: Option<String>,
    /// Whether a topic that is not here can be taken for one that does not exist.
    pub(crate) knows_topics: bool,
}

impl View {
    /// The log that a topic id means.
    pub(crate) fn log(&self, topic: Uuid) -> Option<(TopicId, Reading)> {
        self.logs.get(&topic).copied()
    }
}

/// Makes and keeps the view.
#[derive(Debug)]
pub(crate) struct Views {
    fixed: Fixed,
    current: ArcSwap<View>,
    changed: watch::Sender<u64>,
    returns: Mutex<Returns>,
}

/// Since when each site has been heard without a break.
#[derive(Debug)]
struct Returns {
    since: BTreeMap<SiteId, Instant>,
    /// When this process started: who is heard soon after was there all along.
    started: Instant,
    /// When a site that is back becomes one that clients are sent to.
    due: Option<Instant>,
}

impl Views {
    pub(crate) fn new(fixed: Fixed) -> Views {
        let cluster = Arc::new(ClusterView::empty(fixed.cluster.clone(), i32::from(fixed.own.0)));
        let not_ready = Some("it is starting".to_owned());
        let current =
            ArcSwap::from_pointee(View { cluster, logs: BTreeMap::new(), not_ready, knows_topics: false });
        let returns = Returns { since: BTreeMap::new(), started: Instant::now(), due: None };
        Views { fixed, current, changed: watch::Sender::new(0), returns: Mutex::new(returns) }
    }

    pub(crate) fn current(&self) -> Arc<View> {
        self.current.load_full()
    }

    /// What a topic is like whose creator says only this much.
    pub(crate) fn completed(&self, given: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut settings = self.fixed.default_settings.clone();
        settings.extend(given);
        settings
    }

    /// A counter that moves with every new view.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Makes the view anew if a site that came back has been back for long enough.
    pub(crate) fn renew_if_due(&self, site: &Site, mono_us: u64) {
        let due = self.returns.lock().unwrap_or_else(PoisonError::into_inner).due;
        if due.is_some_and(|due| Instant::now() >= due) {
            self.renew(site, mono_us);
        }
    }

    /// Makes the view anew.
    pub(crate) fn renew(&self, site: &Site, mono_us: u64) {
        let mut view = ClusterView::empty(self.fixed.cluster.clone(), i32::from(self.fixed.own.0));
        view.live = self.live(site, mono_us);
        view.homes.clone_from(&self.fixed.homes);
        view.sites = self.fixed.with_data().map(|(id, name, host)| site_view(*id, name, host)).collect();
        view.auto_create = self.fixed.auto_create;
        view.default_partitions = self.fixed.default_partitions;
        view.topic_settings = setting_specs();
        let mut logs = BTreeMap::new();
        for topic in site.topics() {
            logs.insert(topic.id.0, (topic.id, Reading::Merged));
            view.add_topic(Arc::new(topic_view(topic, topic.name.clone(), topic.id, false)));
            for (id, name, _) in self.fixed.with_data() {
                let origin = topic.id.origin(*id);
                logs.insert(origin.0, (topic.id, Reading::Origin(*id)));
                view.add_topic(Arc::new(topic_view(topic, format!("{name}.{}", topic.name), origin, true)));
            }
        }
        let (not_ready, knows_topics) = (site.not_ready(), site.knows_topics());
        self.current.store(Arc::new(View { cluster: Arc::new(view), logs, not_ready, knows_topics }));
        self.changed.send_modify(|changes| *changes += 1);
    }

    fn live(&self, site: &Site, mono_us: u64) -> BTreeSet<i32> {
        let now = Instant::now();
        let heard = site.for_clients(mono_us);
        let mut returns = self.returns.lock().unwrap_or_else(PoisonError::into_inner);
        returns.since.retain(|id, _| heard.contains(id));
        let young = now.duration_since(returns.started) < self.fixed.home_after;
        let back = if young { now.checked_sub(self.fixed.home_after).unwrap_or(now) } else { now };
        for id in &heard {
            returns.since.entry(*id).or_insert(back);
        }
        let may = |id: &SiteId, since: Instant| *id == self.fixed.own || now >= since + self.fixed.home_after;
        let waiting = returns.since.iter().filter(|(id, since)| !may(id, **since));
        returns.due = waiting.map(|(_, since)| *since + self.fixed.home_after).min().filter(|due| *due > now);
        let live = returns.since.iter().filter(|(id, since)| may(id, **since));
        live.map(|(id, _)| i32::from(id.0)).collect()
    }
}

fn site_view(id: SiteId, name: &str, host: &str) -> SiteView {
    SiteView { id: i32::from(id.0), name: name.to_owned(), host: host.to_owned(), ports: BTreeMap::new() }
}

fn topic_view(topic: &catalog::Topic, name: String, id: TopicId, read_only: bool) -> TopicView {
    let settings = topic.given.clone();
    TopicView { name, id: id.0, partitions: topic.partitions, internal: false, read_only, settings }
}

fn setting_specs() -> Arc<[SettingSpec]> {
    let spec = |setting: &catalog::Setting| SettingSpec {
        key: setting.name,
        kind: SettingKind::Text,
        default: setting.default.to_owned(),
        doc: setting.about,
    };
    catalog::SETTINGS.iter().map(spec).collect()
}
