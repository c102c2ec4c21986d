//! Models of object stores: S3 and what speaks as it does, Google Cloud Storage, Azure, and directories of this machine.
//!
//! [`address`] tells stores apart, [`store`] opens them, `failure` says what their refusals mean, `listing` when a version
//! is whole, and [`source`] puts them together as a [`Source`](super::source::Source). MLflow's artifacts in a store are
//! read through the same stores.
//!
//! Invariant: every request is a GET, a HEAD, or one for credentials.

pub mod address;
mod failure;
mod listing;
mod read;
pub mod source;
pub mod store;
#[cfg(test)]
mod tests;

pub use address::{ObjectAddress, StoreName};
pub use source::{Clock, ObjectSource};
pub use store::{Store, Stores};

pub(super) use listing::files;
pub(super) use read::open;
