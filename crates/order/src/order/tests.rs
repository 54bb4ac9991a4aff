//! To come with the property tests.
