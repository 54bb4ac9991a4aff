//! `group`: who reads together, and how far they have come.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use client::{Client, Committed, GroupDescription, Isolation, Position};
use serde_json::json;

use crate::connect::Ask;
use crate::table::{Lean, Listing, Table};

/// What to show of groups.
#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List consumer groups
    List(Ask),
    /// Show a group's members, progress and lag
    Describe(Describe),
}

/// One of them.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// The group's name
    group: String,
    #[command(flatten)]
    ask: Ask,
}

impl Group {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Group::List(ask) => list(ask).await,
            Group::Describe(describe) => describe.run().await,
        }
    }
}

async fn list(ask: Ask) -> anyhow::Result<()> {
    let client = ask.connect.client().await?;
    let groups = client.list_groups().await?;
    let metadata = client.metadata();
    let site =
        |id: i32| metadata.brokers.get(&id).and_then(|broker| broker.rack.clone()).unwrap_or(id.to_string());
    let head = [("GROUP", Lean::Left), ("STATE", Lean::Left), ("COORDINATOR", Lean::Left)];
    let listing = Listing::of(&head, &groups, |group| {
        let coordinator = site(group.coordinator);
        let value = json!({ "group": group.group, "state": group.state, "coordinator": coordinator });
        (value, [group.group.clone(), group.state.clone(), coordinator])
    });
    listing.show(ask.output)
}

/// How far a group has come in one partition.
struct Progress {
    topic: String,
    partition: i32,
    offset: i64,
    end: i64,
    member: Option<String>,
}

impl Progress {
    fn lag(&self) -> i64 {
        (self.end - self.offset).max(0)
    }
}

impl Describe {
    async fn run(self) -> anyhow::Result<()> {
        let client = self.ask.connect.client().await?;
        let description = client.describe_group(&self.group).await?;
        let committed = client.committed(&self.group, None).await?;
        let progress = progress(&client, &description, &committed).await?;
        let value = json!({
            "group": description.group,
            "state": description.state,
            "assignor": description.protocol,
            "members": description.members.iter().map(|member| json!({
                "member": member.member_id, "client": member.client_id, "host": member.client_host,
                "partitions": member.partitions,
            })).collect::<Vec<_>>(),
            "progress": progress.iter().map(|at| json!({
                "topic": at.topic, "partition": at.partition, "offset": at.offset, "end": at.end, "lag": at.lag(),
                "member": at.member,
            })).collect::<Vec<_>>(),
        });
        self.ask.output.show(&value, || text(&description, &progress))
    }
}

async fn progress(
    client: &Client,
    description: &GroupDescription,
    committed: &BTreeMap<(String, i32), Committed>,
) -> anyhow::Result<Vec<Progress>> {
    let mut rows = Vec::new();
    for ((topic, partition), at) in committed {
        let end = client.list_offset(topic, *partition, Position::Latest, Isolation::default()).await?.offset;
        let holds = |partitions: &BTreeMap<String, Vec<i32>>| {
            partitions.get(topic).is_some_and(|held| held.contains(partition))
        };
        let member = description.members.iter().find(|member| holds(&member.partitions));
        let member = member.map(|member| member.client_id.clone());
        rows.push(Progress { topic: topic.clone(), partition: *partition, offset: at.offset, end, member });
    }
    Ok(rows)
}

fn text(description: &GroupDescription, progress: &[Progress]) -> String {
    let mut members =
        Table::new(&[("MEMBER", Lean::Left), ("CLIENT", Lean::Left), ("PARTITIONS", Lean::Left)]);
    for member in &description.members {
        let held = member.partitions.iter().map(|(topic, held)| format!("{topic} {held:?}"));
        members.row([
            member.member_id.clone(),
            member.client_id.clone(),
            held.collect::<Vec<_>>().join(", "),
        ]);
    }
    let head = [
        ("TOPIC", Lean::Left),
        ("PARTITION", Lean::Right),
        ("OFFSET", Lean::Right),
        ("END", Lean::Right),
        ("LAG", Lean::Right),
        ("READ BY", Lean::Left),
    ];
    let mut table = Table::new(&head);
    for at in progress {
        let numbers =
            [at.partition.into(), at.offset, at.end, at.lag()].map(|number: i64| number.to_string());
        let member = at.member.clone().unwrap_or_else(|| "-".to_owned());
        table.row([at.topic.clone()].into_iter().chain(numbers).chain([member]));
    }
    format!("{}: {}, {}\n\n{members}\n{table}", description.group, description.state, description.protocol)
}
