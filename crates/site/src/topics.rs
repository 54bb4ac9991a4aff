//! Topics: changes of the catalog, as entries of this site's own journal.
//!
//! A site admits writes by the released catalog plus its own changes. Both are in `admission`; what decides at a merged
//! position is the merge's own copy, which sees a change only when its turn comes.

use bytes::Bytes;
use catalog::{AlterError, CreateError, DeleteError, GrowError, NewTopic};
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
        Ok(Taken::Waits(seq, Answer::Topic(topic), Until::DURABLE))
    }

    fn make_change(&mut self, request: &Request) -> Result<(TopicId, Bytes), Refusal> {
        let catalog = &mut self.admission;
        let made = match request {
            Request::CreateTopic { name, partitions, settings } => {
                let reserved: Vec<_> =
                    self.config.members.iter().map(|member| format!("{}.", member.name)).collect();
                let new =
                    NewTopic { name: name.clone(), partitions: *partitions, settings: settings.clone() };
                catalog.create(&new, &reserved).map_err(CatalogRefusal::from)
            }
            Request::DeleteTopic { name } => catalog.delete(name).map_err(CatalogRefusal::from),
            Request::GrowTopic { name, partitions } => {
                catalog.grow(name, *partitions).map_err(CatalogRefusal::from)
            }
            Request::AlterTopic { name, settings } => {
                catalog.alter(name, settings).map_err(CatalogRefusal::from)
            }
            Request::Append(_)
            | Request::Commit(_)
            | Request::GiveUp { .. }
            | Request::DeleteRecords { .. }
            | Request::ProducerId
            | Request::AddSite { .. }
            | Request::RemoveSite { .. }
            | Request::Fence { .. } => {
                unreachable!("only topic changes come here")
            }
        };
        made.map_err(Refusal::Catalog)
    }
}

impl From<CreateError> for CatalogRefusal {
    fn from(error: CreateError) -> CatalogRefusal {
        match error {
            CreateError::Exists(name) => CatalogRefusal::Exists(name),
            CreateError::BadName(error) => CatalogRefusal::BadName(error.to_string()),
            CreateError::BadPartitions(error) => CatalogRefusal::BadPartitions(error.to_string()),
            CreateError::BadSetting(error) => CatalogRefusal::BadSetting(error.to_string()),
        }
    }
}

impl From<DeleteError> for CatalogRefusal {
    fn from(error: DeleteError) -> CatalogRefusal {
        match error {
            DeleteError::Unknown(name) => CatalogRefusal::Unknown(name),
        }
    }
}

impl From<GrowError> for CatalogRefusal {
    fn from(error: GrowError) -> CatalogRefusal {
        match error {
            GrowError::Unknown(name) => CatalogRefusal::Unknown(name),
            GrowError::BadPartitions(error) => CatalogRefusal::BadPartitions(error.to_string()),
        }
    }
}

impl From<AlterError> for CatalogRefusal {
    fn from(error: AlterError) -> CatalogRefusal {
        match error {
            AlterError::Unknown(name) => CatalogRefusal::Unknown(name),
            AlterError::BadSetting(error) => CatalogRefusal::BadSetting(error.to_string()),
        }
    }
}
