//! Checkpoints against crashes and damage.
