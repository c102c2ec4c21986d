//! What a recorder counts by segment.
