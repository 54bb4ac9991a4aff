//! One door for automation, the same on a laptop and in CI.

fn main() {}
