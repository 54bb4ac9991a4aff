//! `topic`: what there is to write to and read from.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use client::{Client, Isolation, Metadata, NewTopic, Position, Setting};
use serde_json::json;

use crate::connect::Ask;
use crate::table::{Lean, Listing, Table};

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// Create a topic
    Create(Create),
    /// List topics
    List(List),
    /// Show a topic's partitions and settings
    Describe(Named),
    /// Change a topic's settings, or give it more partitions
    Alter(Alter),
    /// Delete a topic and its records, at all sites
    Delete(Named),
}

/// Which topic.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The topic's name
    topic: String,
    #[command(flatten)]
    ask: Ask,
}

/// A new topic.
#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    named: Named,
    /// Number of partitions; it can be raised later, never lowered [default: the site's topics.partitions]
    #[arg(long, value_name = "N")]
    partitions: Option<i32>,
    /// A setting, such as min.insync.sites=2; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

/// Which topics.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    ask: Ask,
    /// Show each site's origin logs too
    #[arg(long)]
    origins: bool,
}

/// A change.
#[derive(Debug, Args)]
pub(crate) struct Alter {
    #[command(flatten)]
    named: Named,
    /// Raise the number of partitions to this
    #[arg(long, value_name = "N")]
    partitions: Option<i32>,
    /// A setting, such as min.insync.sites=2; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Put a setting back to its default; may be repeated
    #[arg(long = "unset", value_name = "KEY")]
    unset: Vec<String>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a setting has the form key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Topic {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Topic::Create(create) => create.run().await,
            Topic::List(list) => list.run().await,
            Topic::Describe(named) => describe(named).await,
            Topic::Alter(alter) => alter.run().await,
            Topic::Delete(named) => delete(named).await,
        }
    }
}

impl Create {
    async fn run(self) -> anyhow::Result<()> {
        let Named { topic, ask } = self.named;
        let settings = self.settings.into_iter().collect();
        let wanted = NewTopic { name: topic.clone(), partitions: self.partitions, settings };
        let made = ask.connect.client().await?.create_topic(&wanted).await?;
        let value = json!({ "topic": topic, "id": made.id.to_string(), "partitions": made.partitions });
        ask.output.show(&value, || {
            format!("created {topic} with {} partitions (id {})\n", made.partitions, made.id)
        })
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let metadata = self.ask.connect.client().await?.refresh(None).await?;
        let shown =
            metadata.topics.iter().filter(|(name, _)| self.origins || origin_of(&metadata, name).is_none());
        let head = [("TOPIC", Lean::Left), ("PARTITIONS", Lean::Right), ("ID", Lean::Left)];
        let listing = Listing::of(&head, shown, |(name, topic)| {
            let (id, partitions) = (topic.id.to_string(), topic.partitions.len());
            let value = json!({ "topic": name, "id": id, "partitions": partitions });
            (value, [name.clone(), partitions.to_string(), id])
        });
        listing.show(self.ask.output)
    }
}

/// What metadata of all topics says of this one.
pub(crate) fn known<'a>(metadata: &'a Metadata, topic: &str) -> anyhow::Result<&'a client::Topic> {
    let found = metadata.topics.get(topic);
    found.ok_or_else(|| {
        anyhow::anyhow!("there is no topic {topic}; `meridian topic list` shows which there are")
    })
}

/// The site of which this topic is an origin log, if it is one.
pub(crate) fn origin_of<'a>(metadata: &'a Metadata, topic: &str) -> Option<&'a str> {
    let sites = metadata.brokers.values().filter_map(|broker| broker.rack.as_deref());
    sites.into_iter().find(|site| topic.strip_prefix(site).is_some_and(|rest| rest.starts_with('.')))
}

/// One partition as `describe` shows it.
struct Extent {
    partition: i32,
    served_by: String,
    start: i64,
    end: i64,
}

async fn describe(named: Named) -> anyhow::Result<()> {
    let Named { topic, ask } = named;
    let client = ask.connect.client().await?;
    let metadata = client.refresh(None).await?;
    let known = known(&metadata, &topic)?;
    let mut extents = Vec::new();
    for partition in known.partitions.keys().copied() {
        extents.push(extent(&client, &metadata, &topic, partition).await?);
    }
    let settings = client.describe_configs(&topic).await?;
    let value = json!({
        "topic": topic,
        "id": known.id.to_string(),
        "origin": origin_of(&metadata, &topic),
        "partitions": extents.iter().map(|extent| json!({
            "partition": extent.partition, "served_by": extent.served_by, "start": extent.start, "end": extent.end,
        })).collect::<Vec<_>>(),
        "settings": settings.iter().map(|setting| json!({
            "name": setting.name, "value": setting.value, "default": setting.is_default,
        })).collect::<Vec<_>>(),
    });
    ask.output.show(&value, || {
        format!("{topic} (id {})\n\n{}\n{}", known.id, extents_table(&extents), settings_table(&settings))
    })
}

async fn extent(client: &Client, metadata: &Metadata, topic: &str, partition: i32) -> anyhow::Result<Extent> {
    let at = |position| client.list_offset(topic, partition, position, Isolation::default());
    let (start, end) = (at(Position::Earliest).await?.offset, at(Position::Latest).await?.offset);
    let broker = metadata.leader(topic, partition);
    let served_by = broker
        .map_or("nobody".to_owned(), |broker| broker.rack.clone().unwrap_or_else(|| broker.address.clone()));
    Ok(Extent { partition, served_by, start, end })
}

fn extents_table(extents: &[Extent]) -> Table {
    let head = [
        ("PARTITION", Lean::Right),
        ("START", Lean::Right),
        ("END", Lean::Right),
        ("SERVED TO YOU BY", Lean::Left),
    ];
    let mut table = Table::new(&head);
    for extent in extents {
        let numbers = [extent.partition.to_string(), extent.start.to_string(), extent.end.to_string()];
        table.row(numbers.into_iter().chain([extent.served_by.clone()]));
    }
    table
}

fn settings_table(settings: &[Setting]) -> Table {
    let mut table = Table::new(&[("SETTING", Lean::Left), ("VALUE", Lean::Left), ("", Lean::Left)]);
    for setting in settings {
        let value = setting.value.clone().unwrap_or_default();
        let note = if setting.is_default { "default" } else { "" };
        table.row([setting.name.clone(), value, note.to_owned()]);
    }
    table
}

impl Alter {
    async fn run(self) -> anyhow::Result<()> {
        let Named { topic, ask } = self.named;
        if self.partitions.is_none() && self.settings.is_empty() && self.unset.is_empty() {
            anyhow::bail!("nothing to change: give --partitions, --set or --unset");
        }
        let client = ask.connect.client().await?;
        let set = self.settings.into_iter().map(|(key, value)| (key, Some(value)));
        let changes: BTreeMap<String, Option<String>> =
            set.chain(self.unset.into_iter().map(|key| (key, None))).collect();
        if !changes.is_empty() {
            client.alter_configs(&topic, &changes).await?;
        }
        if let Some(partitions) = self.partitions {
            client.create_partitions(&topic, partitions).await?;
        }
        ask.output.show(&json!({ "topic": topic, "altered": true }), || format!("altered {topic}\n"))
    }
}

async fn delete(named: Named) -> anyhow::Result<()> {
    let Named { topic, ask } = named;
    ask.connect.client().await?.delete_topic(&topic).await?;
    ask.output.show(&json!({ "topic": topic, "deleted": true }), || format!("deleted {topic}\n"))
}
