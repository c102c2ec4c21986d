//! Tests from outside. One binary, because linking one takes longer than running most of what is in it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod allocations;
