//! What makes a type a CRDT here: one operation, and the laws it keeps.

/// State that merges with any other state of its type, in any order, any number of times.
///
/// For all `a`, `b`, `c`, with `a ∨ b` for "`a` after `a.join(&b)`":
///
/// - associative: `(a ∨ b) ∨ c == a ∨ (b ∨ c)`
/// - commutative: `a ∨ b == b ∨ a`
/// - idempotent: `a ∨ a == a`
/// - monotone: a join never goes down, that is, `(a ∨ b) ∨ a == a ∨ b`
/// - honest: it returns `true` exactly when it changed the value
///
/// "At least" follows from the join itself: `a` is at least `b` when joining `b` changes nothing. Whatever else a type
/// lets its owner do must also move it up in this sense, or an old copy would undo it.
pub trait Join {
    /// Merges the other state into this one; says whether that changed it.
    fn join(&mut self, other: &Self) -> bool;
}
