//! What a client hears that speaks a version nobody here does.
//!
//! Closing the connection would leave it guessing (some libraries then report that they have run out of brokers). So it
//! gets an answer: for ApiVersions, version 0 of the table, which every client reads and then asks again; for others
//! the nearest version's answer, with UNSUPPORTED_VERSION where that has a place for it and nothing else in it. A
//! client that asked first never gets here.

use crate::api::{Api, ApiKey, versions};
use crate::errors::ErrorCode;
use crate::wire::{Frame, Writer};

/// The answer to a request in a version that is not spoken here. Only its header has been read.
pub(super) fn version(api: &Api, version: i16, correlation: i32) -> Frame {
    let nearest = if api.key == ApiKey::ApiVersions { 0 } else { version.clamp(api.min, api.max) };
    let mut writer = api.writer(nearest, correlation);
    write(&mut writer, api.key, nearest);
    writer.finish().expect("there is nothing in it")
}

/// Which version is the first to begin with the throttle time.
fn throttle_from(key: ApiKey) -> i16 {
    match key {
        ApiKey::Produce | ApiKey::ApiVersions => i16::MAX, // it stands elsewhere
        ApiKey::ListOffsets | ApiKey::JoinGroup => 2,
        ApiKey::Metadata | ApiKey::OffsetCommit | ApiKey::OffsetFetch => 3,
        ApiKey::FindCoordinator
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::SyncGroup
        | ApiKey::DescribeGroups
        | ApiKey::ListGroups => 1,
        _ => 0,
    }
}

fn write(w: &mut Writer, key: ApiKey, version: i16) {
    let error = ErrorCode::UnsupportedVersion;
    if version >= throttle_from(key) {
        w.i32(0);
    }
    match key {
        ApiKey::ApiVersions => versions::write(w, version, error),
        ApiKey::Produce => {
            none(w);
            w.i32(0);
        }
        ApiKey::Fetch => {
            if version >= 7 {
                w.i16(error.number());
                w.i32(0);
            }
            none(w);
        }
        ApiKey::Metadata => no_metadata(w, version),
        ApiKey::OffsetFetch => {
            none(w);
            if (2..=7).contains(&version) {
                w.i16(error.number());
            }
        }
        ApiKey::JoinGroup | ApiKey::SyncGroup => no_membership(w, key, version, error),
        ApiKey::Heartbeat => w.i16(error.number()),
        ApiKey::LeaveGroup | ApiKey::ListGroups => {
            w.i16(error.number());
            if key == ApiKey::ListGroups || version >= 3 {
                none(w);
            }
        }
        ApiKey::InitProducerId => {
            w.i16(error.number());
            w.i64(-1);
            w.i16(-1);
        }
        ApiKey::DescribeCluster => no_cluster(w, version, error),
        ApiKey::FindCoordinator if version < 4 => no_coordinator(w, version, error),
        _ => none(w),
    }
}

/// An empty array.
fn none(w: &mut Writer) {
    w.structs(&[], |_, _: &()| {});
}

fn no_metadata(w: &mut Writer, version: i16) {
    none(w);
    if version >= 2 {
        w.nullable_string(None);
    }
    if version >= 1 {
        w.i32(-1);
    }
    none(w);
    if (8..=10).contains(&version) {
        w.i32(i32::MIN);
    }
}

fn no_membership(w: &mut Writer, key: ApiKey, version: i16, error: ErrorCode) {
    w.i16(error.number());
    if key == ApiKey::SyncGroup {
        if version >= 5 {
            w.nullable_string(None);
            w.nullable_string(None);
        }
        return w.chunks(&[]);
    }
    w.i32(-1);
    if version >= 7 {
        w.nullable_string(None);
        w.nullable_string(None);
    } else {
        w.string("");
    }
    w.string("");
    if version >= 9 {
        w.bool(false);
    }
    w.string("");
    none(w);
}

fn no_coordinator(w: &mut Writer, version: i16, error: ErrorCode) {
    w.i16(error.number());
    if version >= 1 {
        w.nullable_string(None);
    }
    w.i32(-1);
    w.string("");
    w.i32(-1);
}

fn no_cluster(w: &mut Writer, version: i16, error: ErrorCode) {
    w.i16(error.number());
    w.nullable_string(None);
    if version >= 1 {
        w.i8(1);
    }
    w.string("");
    w.i32(-1);
    none(w);
    w.i32(i32::MIN);
}
