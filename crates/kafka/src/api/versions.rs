//! ApiVersions: what this cluster speaks. The first thing a client asks, before it knows anything.

use crate::api::{ApiKey, Call, TABLE};
use crate::errors::ErrorCode;
use crate::wire::{Frame, Writer};

/// The lowest version of Produce that is *named*; those below 3 are refused all the same. Older librdkafka concludes
/// from a higher number that compression and record format 2 are not to be had.
const PRODUCE_NAMED_MIN: i16 = 0;

/// Versions 0–4. The request's body (the client's name and version) is of no use here and is not read.
pub(super) fn api_versions(call: &Call) -> Frame {
    let mut writer = call.writer();
    write(&mut writer, call.version, ErrorCode::None);
    writer.finish().expect("the table is small")
}

/// The table, in the answer's given version; that of version 0 is understood by every client.
pub(super) fn write(writer: &mut Writer, version: i16, error: ErrorCode) {
    writer.i16(error.number());
    writer.structs(&TABLE, |w, api| {
        let named_min = if api.key == ApiKey::Produce { PRODUCE_NAMED_MIN } else { api.min };
        w.i16(api.key as i16);
        w.i16(named_min);
        w.i16(api.max);
    });
    if version >= 1 {
        writer.i32(0); // throttle time
    }
}
