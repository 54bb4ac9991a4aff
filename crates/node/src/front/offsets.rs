//! Finding offsets by name or by time.

use kafka::broker::{FoundOffset, OffsetAt, OffsetQuery, ReadRefusal};
use partition::TimeHit;
use site::{Reading, Site};

use crate::files::Files;
use crate::front::Front;

type Found = Result<Option<FoundOffset>, ReadRefusal>;
type Asked = Option<(entry::TopicId, u32, Reading, OffsetAt)>;

impl Front {
    pub(crate) async fn find_offsets(&self, queries: Vec<OffsetQuery>) -> Vec<Found> {
        let view = self.views.current();
        let asked: Vec<Asked> = queries
            .iter()
            .map(|query| {
                view.log(query.topic).map(|(topic, reading)| (topic, query.partition, reading, query.at))
            })
            .collect();
        let count = asked.len();
        let found =
            self.look(move |site, files, _| asked.iter().map(|asked| find(site, files, *asked)).collect());
        found.await.unwrap_or_else(|_| vec![Err(ReadRefusal::NotReady("it is stopping".into())); count])
    }
}

fn find(site: &Site, files: &Files, asked: Asked) -> Found {
    let (topic, partition, reading, at) = asked.ok_or(ReadRefusal::UnknownTopic)?;
    if site.topic(topic).is_none_or(|topic| partition >= topic.partitions) {
        return Err(ReadRefusal::UnknownTopic);
    }
    let extent = site.extent(topic, partition, reading);
    let plain = |offset: u64| Ok(Some(FoundOffset { offset: signed(offset), time_ms: None }));
    let time = match at {
        OffsetAt::Earliest => return plain(extent.start),
        OffsetAt::Latest => return plain(extent.end),
        OffsetAt::MaxTime => None,
        OffsetAt::TimeMs(time) => Some(time),
    };
    let hit = site.offset_at(files, (topic, partition, reading), time);
    let hit: Option<TimeHit> = hit.map_err(|error| ReadRefusal::Damaged(error.to_string()))?;
    Ok(hit.map(|hit| FoundOffset { offset: signed(hit.offset), time_ms: Some(hit.max_timestamp) }))
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
