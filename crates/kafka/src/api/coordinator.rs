//! FindCoordinator: which site coordinates a group.

use crate::api::{Call, Context};
use crate::broker::{Broker, SiteView};
use crate::errors::ErrorCode;
use crate::home::FromHome;
use crate::wire::{Fault, Frame, Writer};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// From this version on, several keys in one request.
const BATCHED_FROM: i16 = 4;

struct Found<'a> {
    key: &'a str,
    site: Result<&'a SiteView, (ErrorCode, &'static str)>,
}

/// Versions 0–6.
pub(super) fn find_coordinator<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let version = call.version;
    let single = if version < BATCHED_FROM { Some(call.body.string()?) } else { None };
    let kind = if version >= 1 { call.body.i8()? } else { GROUP };
    let keys = match single {
        Some(key) => vec![key],
        None => call.body.strings()?,
    };
    let view = context.broker.view();
    let home = call.home(context, &view);
    let found: Vec<Found<'_>> = keys.iter().map(|key| find(context, &home, kind, key)).collect();
    let mut w = call.writer();
    if version >= 1 {
        w.i32(0); // throttle time
    }
    match version >= BATCHED_FROM {
        true => w.structs(&found, |w, found| {
            w.string(found.key);
            write_site(w, &home, found);
            write_error(w, found, true);
        }),
        false => {
            write_error(&mut w, &found[0], version >= 1);
            write_site(&mut w, &home, &found[0]);
        }
    }
    w.finish()
}

/// Transactions are refused when a producer asks for its id, where the answer can say so best; until then, any site is
/// as good as another.
fn find<'a, B: Broker>(context: &Context<B>, home: &FromHome<'a>, kind: i8, key: &'a str) -> Found<'a> {
    let id = match kind {
        GROUP => context.broker.coordinator(key),
        TRANSACTION => Some(home.leader()),
        _ => None,
    };
    let unknown = match kind {
        GROUP | TRANSACTION => (ErrorCode::CoordinatorNotAvailable, "no site coordinates this now"),
        _ => (ErrorCode::InvalidRequest, "only groups and transactions have coordinators here"),
    };
    Found { key, site: id.and_then(|id| home.site(id)).ok_or(unknown) }
}

fn write_error(w: &mut Writer, found: &Found<'_>, with_message: bool) {
    let refused = found.site.as_ref().err();
    w.i16(refused.map_or(ErrorCode::None, |(error, _)| *error).number());
    if with_message {
        w.nullable_string(refused.map(|(_, message)| *message));
    }
}

fn write_site(w: &mut Writer, home: &FromHome<'_>, found: &Found<'_>) {
    let site = found.site.as_ref().ok();
    w.i32(site.map_or(-1, |site| site.id));
    w.string(site.map_or("", |site| &site.host));
    w.i32(site.map_or(-1, |site| i32::from(home.port(site))));
}
