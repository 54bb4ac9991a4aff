//! Topics: changes of the catalog, as entries of this site's own journal.
//!
//! A site admits writes by the released catalog plus its own changes. Both are in `admission`; what decides at a merged
//! position is the merge's own copy, which sees a change only when its turn comes.

use bytes::Bytes;
use catalog::ChangeError;
use clock::Now;
use entry::{Body, TopicId};

use crate::action::{Answer, CatalogRefusal, Refusal};
use crate::append::Taken;
use crate::desk::Until;
use crate::event::Request;
use crate::site::Site;

impl Site {
    pub(crate) fn change_topic(&mut self, request: &Request, now: Now) -> Result<Taken, Refusal> {
        let Some(stamp) = self.mint(now)? else { return Ok(Taken::Deferred) };
        let (topic, changes) = self.make_change(request)?;
        let seq = self.say(stamp, Body::Catalog(changes)).map_err(|_| Refusal::Busy)?;
        Ok(Taken::Waits(seq, Answer::Topic(topic), Until::Durable))
    }

    fn make_change(&mut self, request: &Request) -> Result<(TopicId, Bytes), Refusal> {
        let catalog = &mut self.admission;
        let made = match request {
            Request::CreateTopic { name, partitions, settings } => {
                let reserved = self.config.members.iter().find(|member| is_origin_name(name, &member.name));
                if let Some(member) = reserved {
                    let text = format!("names that begin with `{}.` are that site's origin logs", member.name);
                    return Err(CatalogRefusal::BadName(text).into());
                }
                catalog.create(name, *partitions, settings)
            }
            Request::DeleteTopic { name } => catalog.delete(name),
            Request::GrowTopic { name, partitions } => catalog.grow(name, *partitions),
            Request::AlterTopic { name, settings } => catalog.alter(name, settings),
            Request::Append(_) | Request::Commit(_) | Request::ProducerId => {
                unreachable!("only topic changes come here")
            }
        };
        made.map_err(|error| Refusal::Catalog(refusal(error)))
    }
}

/// Whether `name` is how `site`'s origin log of some topic is called.
pub(crate) fn is_origin_name(name: &str, site: &str) -> bool {
    name.strip_prefix(site).is_some_and(|rest| rest.starts_with('.'))
}

fn refusal(error: ChangeError) -> CatalogRefusal {
    match error {
        ChangeError::Exists(name) => CatalogRefusal::Exists(name),
        ChangeError::Unknown(name) => CatalogRefusal::Unknown(name),
        ChangeError::BadName(text) => CatalogRefusal::BadName(text),
        ChangeError::BadPartitions(text) => CatalogRefusal::BadPartitions(text),
        ChangeError::BadSetting(text) => CatalogRefusal::BadSetting(text),
    }
}
