//! The lanes of a link: what each is for, how much may wait in it, and which goes first.

/// The largest frame that is sent or accepted. What is larger is cut up by those who know what it means.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// An ordered, reliable way for frames inside a link. Lanes do not wait for one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Small and urgent: hellos, needs, promises. Goes before everything else.
    Control,
    /// What was written just now.
    Tail,
    /// What a site that was away has missed. Takes what the others leave.
    CatchUp,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 3] = [Self::Control, Self::Tail, Self::CatchUp];

    /// The lanes that carry bulk, each on a stream of its own in each direction.
    pub(crate) const BULK: [Self; 2] = [Self::Tail, Self::CatchUp];

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Control => 0,
            Self::Tail => 1,
            Self::CatchUp => 2,
        }
    }

    /// The stream priority: larger goes first.
    pub(crate) fn priority(self) -> i32 {
        2 - self.index() as i32
    }

    /// The byte that opens a stream of this lane.
    pub(crate) fn mark(self) -> u8 {
        b'0' + self.index() as u8
    }

    /// The bulk lane that a stream opening with `mark` carries.
    pub(crate) fn bulk_from_mark(mark: u8) -> Option<Self> {
        Self::BULK.into_iter().find(|lane| lane.mark() == mark)
    }
}

#[cfg(test)]
mod tests {
    use super::Lane;

    #[test]
    fn control_goes_before_tail_and_tail_before_catch_up() {
        assert!(Lane::Control.priority() > Lane::Tail.priority());
        assert!(Lane::Tail.priority() > Lane::CatchUp.priority());
    }

    #[test]
    fn only_bulk_lanes_are_found_by_their_mark() {
        assert_eq!(Lane::bulk_from_mark(b'0'), None);
        assert_eq!(Lane::bulk_from_mark(b'1'), Some(Lane::Tail));
        assert_eq!(Lane::bulk_from_mark(b'2'), Some(Lane::CatchUp));
        assert_eq!(Lane::bulk_from_mark(b'3'), None);
    }
}
