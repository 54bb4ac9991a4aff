//! Changing topics.

use std::sync::Arc;

use entry::TopicId;
use kafka::broker::{
    AlterTopic, CreatePartitions, CreateTopic, DeleteRecords, SettingChange, TopicRefusal, TopicView,
};
use site::{CatalogRefusal, Reading, Refusal, Request};
use uuid::Uuid;

use crate::front::Front;

impl Front {
    pub(crate) async fn make_topic(&self, wanted: CreateTopic) -> Result<Arc<TopicView>, TopicRefusal> {
        let view = self.views.current();
        let partitions = wanted.partitions.unwrap_or(view.cluster.default_partitions);
        let settings = self.views.completed(wanted.settings);
        if wanted.only_validate {
            if view.cluster.topics.contains_key(&wanted.name) {
                return Err(TopicRefusal::Exists(wanted.name));
            }
            let internal = TopicView {
                name: wanted.name,
                id: Uuid::nil(),
                partitions,
                internal: false,
                read_only: false,
                settings,
            };
            return Ok(Arc::new(internal));
        }
        if !view.knows_topics {
            let why =
                "this site has just started and does not know yet which topics there are; ask again soon";
            return Err(TopicRefusal::NotWritable(why.into()));
        }
        let name = wanted.name.clone();
        self.change(Request::CreateTopic { name: wanted.name, partitions, settings }).await?;
        self.views.current().cluster.topics.get(&name).cloned().ok_or(TopicRefusal::Unknown)
    }

    pub(crate) async fn drop_topic(&self, topic: Uuid) -> Result<(), TopicRefusal> {
        let name = self.writable(topic)?;
        self.change(Request::DeleteTopic { name }).await
    }

    pub(crate) async fn grow_topic(&self, wanted: CreatePartitions) -> Result<(), TopicRefusal> {
        let name = self.writable(wanted.topic)?;
        if wanted.only_validate {
            return Ok(());
        }
        self.change(Request::GrowTopic { name, partitions: wanted.total }).await
    }

    pub(crate) async fn change_settings(&self, wanted: AlterTopic) -> Result<(), TopicRefusal> {
        let name = self.writable(wanted.topic)?;
        if wanted.only_validate {
            return Ok(());
        }
        let value = |change| if let SettingChange::Set(value) = change { Some(value) } else { None };
        let settings = wanted.changes.into_iter().map(|(key, change)| (key, value(change))).collect();
        self.change(Request::AlterTopic { name, settings }).await
    }

    /// Lets a merged log begin later; answered when it does here.
    pub(crate) async fn cut_records(&self, wanted: DeleteRecords) -> Result<i64, TopicRefusal> {
        self.writable(wanted.topic)?;
        let (topic, partition) = (TopicId(wanted.topic), wanted.partition);
        let look = || self.look(move |site, _, _| site.extent(topic, partition, Reading::Merged));
        let extent = look().await.map_err(|_| TopicRefusal::Stopping)?;
        let before = wanted.before.map_or(extent.end, |before| u64::try_from(before).unwrap_or(0));
        if before > extent.end {
            return Err(TopicRefusal::BeyondEnd(i64::try_from(before).unwrap_or(i64::MAX)));
        }
        if before > extent.start {
            let request = Request::DeleteRecords { topic, partition, before };
            self.request(request).await.map_err(|_| TopicRefusal::Stopping)?.map_err(refusal)?;
        }
        let start = look().await.map_err(|_| TopicRefusal::Stopping)?.start;
        Ok(i64::try_from(start).unwrap_or(i64::MAX))
    }

    /// The name of a topic that can be changed.
    fn writable(&self, topic: Uuid) -> Result<String, TopicRefusal> {
        let view = self.views.current();
        match view.log(topic) {
            Some((_, Reading::Merged)) => view
                .cluster
                .topics_by_id
                .get(&topic)
                .map(|topic| topic.name.clone())
                .ok_or(TopicRefusal::Unknown),
            Some((_, Reading::Origin(_))) => Err(TopicRefusal::ReadOnly),
            None => Err(TopicRefusal::Unknown),
        }
    }

    /// Changes the catalog; when this ends, the view shows the change.
    async fn change(&self, request: Request) -> Result<(), TopicRefusal> {
        self.request(request).await.map_err(|_| TopicRefusal::Stopping)?.map_err(refusal)?;
        let views = Arc::clone(&self.views);
        self.look(move |site, _, now| views.renew(site, now.mono_us))
            .await
            .map_err(|_| TopicRefusal::Stopping)
    }
}

fn refusal(refusal: Refusal) -> TopicRefusal {
    match refusal {
        Refusal::Catalog(CatalogRefusal::Exists(name)) => TopicRefusal::Exists(name),
        Refusal::Catalog(CatalogRefusal::Unknown(_)) => TopicRefusal::Unknown,
        Refusal::Catalog(CatalogRefusal::BadName(why)) => TopicRefusal::BadName(why),
        Refusal::Catalog(CatalogRefusal::BadPartitions(why)) => TopicRefusal::BadPartitions(why),
        Refusal::Catalog(CatalogRefusal::BadSetting(reason)) => {
            TopicRefusal::BadSetting { key: "settings".into(), reason }
        }
        other => TopicRefusal::NotWritable(other.to_string()),
    }
}
