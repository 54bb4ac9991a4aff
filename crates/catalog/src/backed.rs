//! Whether what a change says of its own size is backed by its bytes: its lengths, and the numbers by which it names actors.
//!
//! Automerge stores operations as columns of runs: a value, and how often it is repeated. So a few bytes can stand for any number
//! of operations, or of predecessors of one, and reading them takes memory and time for each. No change of ours repeats
//! anything more often than it has bytes: every operation names its key. The layout is that of Automerge's binary format
//! (<https://automerge.org/automerge-binary-format-spec/>): numbers are LEB128, and the low three bits of a column's
//! specification are its type.

/// Magic, checksum and kind of a chunk.
const CHUNK_HEAD_BYTES: usize = 9;
const HASH_BYTES: u64 = 32;

/// Types of columns.
const GROUP: u64 = 0;
const ACTOR: u64 = 1;
const DELTA: u64 = 3;
const BOOLEAN: u64 = 4;
const STRING: u64 = 5;
const RAW: u64 = 7;

/// Whether no column of a change, an uncompressed chunk, says more than the change has bytes, or names an actor that it does
/// not list: Automerge would panic. `None` if it does not read.
pub(crate) fn is_backed(change: &[u8]) -> Option<bool> {
    let most = change.len() as u64;
    let mut rest = Rest(change.get(CHUNK_HEAD_BYTES..)?);
    rest.number()?;
    let dependencies = rest.number()?;
    rest.skip(dependencies.checked_mul(HASH_BYTES)?)?;
    rest.skip_bytes()?;
    let (_sequence, _first_operation, _time) = (rest.number()?, rest.number()?, rest.signed()?);
    rest.skip_bytes()?;
    let others = rest.number()?;
    for _ in 0..others {
        rest.skip_bytes()?;
    }
    let mut columns = Vec::new();
    for _ in 0..rest.number()? {
        columns.push((rest.number()? & 7, rest.number()?));
    }
    for (kind, bytes) in columns {
        let said = said(kind, Rest(rest.take(bytes)?))?;
        if said.rows > most || said.actor.is_some_and(|actor| actor > others) {
            return Some(false);
        }
    }
    Some(true)
}

/// What a column stands for.
#[derive(Default)]
struct Said {
    /// How many rows; of a group also how many rows its values do.
    rows: u64,
    /// The greatest number of an actor: 0 is the change's own, the others that it lists follow.
    actor: Option<u64>,
}

/// Reads a column of this type.
fn said(kind: u64, mut column: Rest<'_>) -> Option<Said> {
    let mut said = Said::default();
    if kind == RAW {
        return Some(said);
    }
    while !column.0.is_empty() {
        if kind == BOOLEAN {
            said.rows = said.rows.saturating_add(column.number()?);
            continue;
        }
        // One value repeated, so many in a row, or so many times none.
        let run = column.signed()?;
        let (values, repeated) = match run {
            0 => (0, column.number()?),
            1.. => (1, run.unsigned_abs()),
            _ => (run.unsigned_abs(), 1),
        };
        said.rows = said.rows.saturating_add(repeated.saturating_mul(values.max(1)));
        for _ in 0..values {
            match kind {
                STRING => column.skip_bytes()?,
                GROUP => said.rows = said.rows.saturating_add(column.number()?.saturating_mul(repeated)),
                ACTOR => said.actor = said.actor.max(Some(column.number()?)),
                DELTA => drop(column.signed()?),
                _ => drop(column.number()?),
            }
        }
    }
    Some(said)
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        self.take(bytes).map(drop)
    }

    /// A length, and so many bytes.
    fn skip_bytes(&mut self) -> Option<()> {
        let bytes = self.number()?;
        self.skip(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        leb128::read::unsigned(&mut self.0).ok()
    }

    fn signed(&mut self) -> Option<i64> {
        leb128::read::signed(&mut self.0).ok()
    }
}
