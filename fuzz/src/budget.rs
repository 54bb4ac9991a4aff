//! How much memory bytes may make us take: counted by the allocator itself, most at once.

use std::alloc::System;

use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};

#[global_allocator]
static COUNTING: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a decoder may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Whatever comes.
    pub fixed_bytes: usize,
    /// For every byte of input.
    pub per_byte: usize,
}

impl Budget {
    /// Runs something and panics if it took more.
    pub(crate) fn within(&self, name: &str, input_bytes: usize, run: impl FnOnce()) {
        COUNTING.reset_peak_memory();
        run();
        let (taken, allowed) = (COUNTING.get_peak_memory(), self.fixed_bytes + self.per_byte * input_bytes);
        assert!(taken <= allowed, "{name} took {taken} bytes for {input_bytes}, and may take {allowed}");
    }
}
