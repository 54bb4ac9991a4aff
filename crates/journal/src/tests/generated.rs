//! Whatever happens in whatever order: what was told to be durable comes back, in order, and nothing else does.

use bytes::Bytes;
use disk::MemoryDisk;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};

use super::entries::{Minter, journal};
use super::{folder, options, reopen};
use crate::{Record, Wal, WalOp, WalPosition};

/// One step of a WAL's life.
#[derive(Debug, Clone)]
enum Step {
    Entry(u16, usize),
    Note(usize),
    Commit,
    /// The write under way lands as far as these blocks say; then the process starts again.
    Crash(u64),
    /// A checkpoint of everything durable is taken.
    Checkpoint,
    /// What lies before the checkpoint goes.
    Drop,
    /// A spare file is made.
    Spare,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u16..3, 0usize..6000).prop_map(|(site, size)| Step::Entry(site, size)),
        1 => (0usize..9000).prop_map(Step::Note),
        4 => Just(Step::Commit),
        1 => proptest::num::u64::ANY.prop_map(Step::Crash),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Drop),
        1 => Just(Step::Spare),
    ]
}

struct Model {
    disk: MemoryDisk,
    wal: Wal,
    minters: Vec<Minter>,
    /// As the minters were when everything durable had been minted.
    durable_minters: Vec<Minter>,
    durable: Vec<Record>,
    /// Records durable at the checkpoint, and its position.
    covered: usize,
    from: WalPosition,
}

impl Model {
    fn new() -> Model {
        let mut disk = MemoryDisk::new();
        let wal = Wal::open(&mut disk, &folder(), options(), WalPosition::START).unwrap().wal;
        let minters: Vec<Minter> = (0..3).map(|site| Minter::new(journal(site))).collect();
        let durable_minters = minters.clone();
        Model {
            disk,
            wal,
            minters,
            durable_minters,
            durable: Vec::new(),
            covered: 0,
            from: WalPosition::START,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Entry(site, size) => {
                let entry = self.minters[usize::from(*site)].mint(&vec![*site as u8; *size]);
                self.wal.push_entry(&entry);
            }
            Step::Note(size) => self.wal.push_note(Bytes::from(vec![9; *size])),
            Step::Commit => self.commit_all(),
            Step::Crash(landed) => self.crash(*landed),
            Step::Checkpoint => (self.covered, self.from) = (self.durable.len(), self.wal.position()),
            Step::Drop => drop(self.wal.drop_before(&mut self.disk, self.from, &|_, _, _| true).unwrap()),
            Step::Spare => {
                if let Some(order) = self.wal.order_spare() {
                    order.carry_out(&mut self.disk).unwrap();
                    self.wal.prepared(true);
                }
            }
        }
    }

    fn commit_all(&mut self) {
        while let Some(write) = self.wal.start_write() {
            write.carry_out(&mut self.disk).unwrap();
            self.durable.extend(self.wal.written(write.id));
        }
        self.durable_minters.clone_from(&self.minters);
    }

    fn crash(&mut self, landed: u64) {
        let mut under_way = Vec::new();
        if let Some(write) = self.wal.start_write() {
            write.ops.iter().for_each(|op| land(&mut self.disk, op, landed));
            under_way = self.wal.written(write.id);
        }
        let (wal, played, _) = reopen(&mut self.disk, self.from).unwrap();
        let expected = &self.durable[self.covered..];
        let extra = played.strip_prefix(expected).expect("all that was durable comes back");
        assert!(extra.is_empty() || extra == under_way, "a write is there as a whole or not at all");
        self.durable.extend_from_slice(extra);
        self.wal = wal;
        self.minters.clone_from(&self.durable_minters);
        for record in extra {
            if let Record::Entry(entry) = record {
                self.minters[usize::from(entry.head.journal.site.0)].follow(entry);
            }
        }
        self.durable_minters.clone_from(&self.minters);
    }

    /// Every entry still in the WAL reads back as it was.
    fn check_entries(&self) {
        for site in 0..3 {
            let Some(first) = self.wal.first(journal(site)) else { continue };
            let ours = |record: &Record| match record {
                Record::Entry(entry) if entry.head.journal == journal(site) => Some(entry.bytes.clone()),
                _ => None,
            };
            let all: Vec<Bytes> = self.durable.iter().filter_map(ours).collect();
            let read = self.wal.entries(&self.disk, journal(site), first, usize::MAX).unwrap();
            assert_eq!(read, all[first as usize..]);
        }
    }
}

/// Carries out `op`, but of a write only the blocks whose bit is set.
fn land(disk: &mut MemoryDisk, op: &WalOp, landed: u64) {
    let WalOp::WriteAt { file, offset, chunks } = op else {
        return op.carry_out(disk).unwrap();
    };
    for (number, block) in chunks.concat().chunks(4096).enumerate() {
        if landed >> (number % 64) & 1 == 1 {
            disk::Disk::write(disk, file, offset + number as u64 * 4096, block).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn what_was_durable_comes_back(steps in vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in &steps {
            model.step(step);
            model.check_entries();
        }
        model.crash(0);
        model.check_entries();
    }
}
