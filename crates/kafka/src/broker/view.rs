//! The cluster as one site knows it at one moment: what Metadata answers are made of.
//!
//! A view is a value: the node makes a new one when something changes and shares it. Nothing in it waits or fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

/// Sites, homes and topics at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// The cluster's id as text: the same at every site.
    pub cluster_id: String,
    /// Which of `sites` this is.
    pub this_site: i32,
    /// Every member, in order of id.
    pub sites: Vec<SiteView>,
    /// The regions that clients can be at home in, as every site's configuration lists them.
    pub homes: Vec<HomeView>,
    /// The sites that clients may be sent to now, this one always among them; the node adds the hysteresis.
    pub live: BTreeSet<i32>,
    /// Topics by name, origin topics (`eu-west.orders`) included.
    pub topics: BTreeMap<String, Arc<TopicView>>,
    /// The same topics by id.
    pub topics_by_id: BTreeMap<Uuid, Arc<TopicView>>,
    /// Whether a client that asks for an unknown topic may have it created.
    pub auto_create: bool,
    /// Partitions of a topic whose creator named no number.
    pub default_partitions: u32,
    /// Every setting a topic can have.
    pub topic_settings: Arc<[SettingSpec]>,
    /// This node's own settings, to be shown: key and value.
    pub site_settings: Arc<BTreeMap<String, String>>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteView {
    /// Its broker id.
    pub id: i32,
    /// Its name, shown as the broker's rack.
    pub name: String,
    /// The host that clients reach it at.
    pub host: String,
    /// Where this site listens, when not at the home's own port: by name of home.
    pub ports: BTreeMap<String, u16>,
}

/// A region that clients can be at home in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeView {
    /// Its name, as in `meridian_home=<name>`.
    pub name: String,
    /// The port at which every site listens for this home's clients.
    pub port: u16,
    /// Sites from the nearest to the farthest, the same list at every site.
    pub preference: Vec<i32>,
}

/// A topic, or one site's origin log of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicView {
    /// Its name.
    pub name: String,
    /// Its id, the same at every site.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: u32,
    /// Whether it is the system's own.
    pub internal: bool,
    /// Whether it is an origin log: readable, never writable or alterable.
    pub read_only: bool,
    /// Settings that somebody chose for it.
    pub settings: BTreeMap<String, String>,
}

/// A setting that topics have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingSpec {
    /// Its name.
    pub key: &'static str,
    /// What its values are.
    pub kind: SettingKind,
    /// The value where nobody chose one.
    pub default: String,
    /// One sentence.
    pub doc: &'static str,
}

/// What a setting's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    /// `true` or `false`.
    Bool,
    /// Any text.
    Text,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A number with a fraction.
    Double,
    /// Words between commas.
    List,
}

impl ClusterView {
    /// A view without sites, homes or topics, to be filled in.
    #[must_use]
    pub fn empty(cluster_id: String, this_site: i32) -> ClusterView {
        ClusterView {
            cluster_id,
            this_site,
            sites: Vec::new(),
            homes: Vec::new(),
            live: BTreeSet::from([this_site]),
            topics: BTreeMap::new(),
            topics_by_id: BTreeMap::new(),
            auto_create: true,
            default_partitions: 4,
            topic_settings: Arc::new([]),
            site_settings: Arc::new(BTreeMap::new()),
        }
    }

    /// Adds a topic under its name and its id.
    pub fn add_topic(&mut self, topic: Arc<TopicView>) {
        self.topics_by_id.insert(topic.id, Arc::clone(&topic));
        self.topics.insert(topic.name.clone(), topic);
    }

    /// The home of this name.
    #[must_use]
    pub fn home(&self, name: &str) -> Option<&HomeView> {
        self.homes.iter().find(|home| home.name == name)
    }

    /// The topic of this name, if it has this partition.
    #[must_use]
    pub fn topic_with(&self, name: &str, partition: i32) -> Option<&Arc<TopicView>> {
        self.topics.get(name).filter(|topic| topic.has(partition))
    }
}

impl SiteView {
    /// Where this site listens for clients of a home.
    #[must_use]
    pub fn port_for(&self, home: &HomeView) -> u16 {
        self.ports.get(&home.name).copied().unwrap_or(home.port)
    }
}

impl TopicView {
    /// Whether it has a partition of this number.
    #[must_use]
    pub fn has(&self, partition: i32) -> bool {
        u32::try_from(partition).is_ok_and(|number| number < self.partitions)
    }
}
