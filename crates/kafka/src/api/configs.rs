//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs: a topic's settings.
//!
//! A site's own settings are shown and cannot be changed from here: they are in its configuration file.

use std::collections::BTreeMap;

use crate::api::topics::{Refused, changeable, write_outcome};
use crate::api::{Call, Context, join, once};
use crate::broker::{AlterTopic, Broker, ClusterView, SettingChange, SettingKind, TopicRefusal, TopicView};
use crate::errors::ErrorCode;
use crate::wire::{Fault, Frame, Reader, Writer};

const TOPIC: i8 = 2;
const SITE: i8 = 4;

/// Somebody chose it for the topic.
pub(super) const SOURCE_TOPIC: i8 = 1;
/// It is in the site's configuration.
const SOURCE_SITE: i8 = 4;
/// Nobody chose it.
const SOURCE_DEFAULT: i8 = 5;

struct Resource<T> {
    kind: i8,
    name: String,
    what: T,
}

/// One setting as it is shown.
struct Shown<'a> {
    key: &'a str,
    value: &'a str,
    read_only: bool,
    source: i8,
    kind: SettingKind,
    doc: &'a str,
    default: Option<&'a str>,
}

/// Versions 1–4.
pub(super) fn describe_configs<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let resources = call.body.structs(3, |r| {
        let (kind, name) = (r.i8()?, r.string()?);
        // No keys and an empty list of them both mean all: some clients send the one, some the other.
        let what = r.nullable_array(1, Reader::string)?.filter(|keys| !keys.is_empty());
        Ok(Resource { kind, name, what })
    })?;
    let key = |resource: &Resource<_>| (resource.kind, resource.name.clone());
    let resources = once(resources, key, |resource, again| join(&mut resource.what, again.what));
    let with_synonyms = call.body.bool()?;
    let with_doc = call.version >= 3 && call.body.bool()?;
    let view = context.broker.view();
    let version = call.version;
    let mut w = call.writer();
    w.i32(0); // throttle time
    w.structs(&resources, |w, resource| {
        let shown = show(&view, resource);
        write_outcome(w, &shown, true);
        w.i8(resource.kind);
        w.string(&resource.name);
        w.structs(shown.as_ref().map_or(&[], Vec::as_slice), |w, shown| {
            write_shown(w, version, (with_synonyms, with_doc), shown);
        });
    });
    w.finish()
}

fn show<'a>(
    view: &'a ClusterView,
    resource: &Resource<Option<Vec<String>>>,
) -> Result<Vec<Shown<'a>>, Refused> {
    let mut all = match resource.kind {
        TOPIC => show_topic(view, view.topics.get(&resource.name).ok_or(TopicRefusal::Unknown)?),
        SITE if resource.name.is_empty() => Vec::new(), // nobody can set anything for all sites
        SITE if resource.name == view.this_site.to_string() => show_site(view),
        SITE => {
            let message = format!("this is site {}; ask site {} itself", view.this_site, resource.name);
            return Err(Refused::new(ErrorCode::InvalidRequest, message));
        }
        _ => {
            return Err(Refused::new(
                ErrorCode::InvalidRequest,
                "only topics and brokers have settings here",
            ));
        }
    };
    if let Some(keys) = &resource.what {
        all.retain(|shown| keys.iter().any(|key| key == shown.key));
    }
    Ok(all)
}

fn show_topic<'a>(view: &'a ClusterView, topic: &'a TopicView) -> Vec<Shown<'a>> {
    let one = |spec: &'a crate::broker::SettingSpec| {
        let chosen = topic.settings.get(spec.key);
        Shown {
            key: spec.key,
            value: chosen.unwrap_or(&spec.default),
            read_only: topic.read_only,
            source: if chosen.is_some() { SOURCE_TOPIC } else { SOURCE_DEFAULT },
            kind: spec.kind,
            doc: spec.doc,
            default: Some(&spec.default),
        }
    };
    view.topic_settings.iter().map(one).collect()
}

fn show_site(view: &ClusterView) -> Vec<Shown<'_>> {
    let kind = SettingKind::Text;
    let one =
        |key, value| Shown { key, value, read_only: true, source: SOURCE_SITE, kind, doc: "", default: None };
    view.site_settings.iter().map(|(key, value)| one(key.as_str(), value.as_str())).collect()
}

fn write_shown(w: &mut Writer, version: i16, (with_synonyms, with_doc): (bool, bool), shown: &Shown<'_>) {
    w.string(shown.key);
    w.nullable_string(Some(shown.value));
    w.bool(shown.read_only);
    w.i8(shown.source);
    w.bool(false); // sensitive
    let mut synonyms = Vec::new();
    if with_synonyms {
        if shown.source != SOURCE_DEFAULT {
            synonyms.push((shown.value, shown.source));
        }
        synonyms.extend(shown.default.map(|default| (default, SOURCE_DEFAULT)));
    }
    w.structs(&synonyms, |w, (value, source)| {
        w.string(shown.key);
        w.nullable_string(Some(value));
        w.i8(*source);
    });
    if version >= 3 {
        w.i8(kind_number(shown.kind));
        w.nullable_string(with_doc.then_some(shown.doc));
    }
}

fn kind_number(kind: SettingKind) -> i8 {
    match kind {
        SettingKind::Bool => 1,
        SettingKind::Text => 2,
        SettingKind::Int => 3,
        SettingKind::Long => 5,
        SettingKind::Double => 6,
        SettingKind::List => 7,
    }
}

/// What a client wants done to one setting.
struct Edit {
    key: String,
    operation: i8,
    value: Option<String>,
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Versions 0–2: the settings named replace all that the topic has.
pub(super) async fn alter_configs<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let resources = call.body.structs(3, |r| {
        let (kind, name) = (r.i8()?, r.string()?);
        let edits = r.structs(2, |r| {
            let (key, value) = (r.string()?, r.nullable_string()?);
            let operation = if value.is_some() { SET } else { DELETE };
            Ok(Edit { key, operation, value })
        })?;
        Ok(Resource { kind, name, what: edits })
    })?;
    alter_all(context, call, resources, true).await
}

/// Versions 0–1: the settings named change, others stay.
pub(super) async fn incremental_alter_configs<B: Broker>(
    context: &Context<B>,
    mut call: Call,
) -> Result<Frame, Fault> {
    let resources = call.body.structs(3, |r| {
        let (kind, name) = (r.i8()?, r.string()?);
        let edits =
            r.structs(3, |r| Ok(Edit { key: r.string()?, operation: r.i8()?, value: r.nullable_string()? }))?;
        Ok(Resource { kind, name, what: edits })
    })?;
    alter_all(context, call, resources, false).await
}

async fn alter_all<B: Broker>(
    context: &Context<B>,
    mut call: Call,
    resources: Vec<Resource<Vec<Edit>>>,
    replace: bool,
) -> Result<Frame, Fault> {
    let only_validate = call.body.bool()?;
    let mut results = Vec::with_capacity(resources.len());
    for resource in resources {
        let Resource { kind, name, what } = resource;
        let wanted = plan(&context.broker.view(), (kind, &name), what, replace);
        let outcome = match wanted {
            Ok(wanted) => context
                .broker
                .alter_topic(AlterTopic { only_validate, ..wanted })
                .await
                .map_err(Refused::from),
            Err(refused) => Err(refused),
        };
        results.push((kind, name, outcome));
    }
    let mut w = call.writer();
    w.i32(0); // throttle time
    w.structs(&results, |w, (kind, name, outcome)| {
        write_outcome(w, outcome, true);
        w.i8(*kind);
        w.string(name);
    });
    w.finish()
}

fn plan(
    view: &ClusterView,
    (kind, name): (i8, &str),
    edits: Vec<Edit>,
    replace: bool,
) -> Result<AlterTopic, Refused> {
    if kind != TOPIC {
        let message = "only topics are changed this way; a site's settings are in its configuration file";
        return Err(Refused::new(ErrorCode::InvalidRequest, message));
    }
    let topic = changeable(view, name)?;
    let mut changes = BTreeMap::new();
    for edit in edits {
        let key = edit.key.clone();
        let change = change(view, &topic, edit)?;
        if changes.insert(key.clone(), change).is_some() {
            return Err(Refused::new(ErrorCode::InvalidRequest, format!("the request names {key:?} twice")));
        }
    }
    if replace {
        for key in topic.settings.keys() {
            changes.entry(key.clone()).or_insert(SettingChange::Reset);
        }
    }
    Ok(AlterTopic { topic: topic.id, changes, only_validate: false })
}

fn change(view: &ClusterView, topic: &TopicView, edit: Edit) -> Result<SettingChange, Refused> {
    let Edit { key, operation, value } = edit;
    let bad =
        |key: String, reason: &str| Refused::from(TopicRefusal::BadSetting { key, reason: reason.into() });
    let value = match (operation, value) {
        (DELETE, _) => return Ok(SettingChange::Reset),
        (_, None) => return Err(bad(key, "no value given")),
        (_, Some(value)) => value,
    };
    if operation == SET {
        return Ok(SettingChange::Set(value));
    }
    let spec = view.topic_settings.iter().find(|spec| spec.key == key);
    let Some(spec) = spec.filter(|spec| spec.kind == SettingKind::List) else {
        return Err(bad(key, "not a list: it can be set or deleted, not added to or taken from"));
    };
    let now = topic.settings.get(spec.key).unwrap_or(&spec.default);
    match operation {
        APPEND => Ok(SettingChange::Set(appended(now, &value))),
        SUBTRACT => Ok(SettingChange::Set(subtracted(now, &value))),
        _ => {
            Err(Refused::new(ErrorCode::InvalidRequest, format!("unknown operation {operation} on {key:?}")))
        }
    }
}

fn words(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
}

fn appended(now: &str, more: &str) -> String {
    let mut all = words(now);
    for word in words(more) {
        if !all.contains(&word) {
            all.push(word);
        }
    }
    all.join(",")
}

fn subtracted(now: &str, less: &str) -> String {
    let less = words(less);
    let mut all = words(now);
    all.retain(|word| !less.contains(word));
    all.join(",")
}

#[cfg(test)]
mod tests {
    use super::{appended, subtracted};

    #[test]
    fn lists_gain_and_lose_words() {
        assert_eq!(appended("delete", "compact, delete"), "delete,compact");
        assert_eq!(appended("", "compact"), "compact");
        assert_eq!(subtracted("delete,compact", "delete"), "compact");
        assert_eq!(subtracted("delete", "delete"), "");
    }
}
