//! The only place that spawns, sleeps, opens files and reads the clock.
