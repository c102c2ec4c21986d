//! Models of an MLflow 3 registry.
//!
//! [`client`] asks a server and turns its refusals into what they mean, [`uri`] tells the names of models and the
//! addresses of artifacts apart, [`source`] puts them together as a [`Source`](super::source::Source), and [`mlmodel`]
//! reads what MLflow wrote beside a model. Written against MLflow 3.17 and 3.18; servers from 2.9 on answer the same
//! questions.
//!
//! Artifacts in an object store come through the server's proxy or by presigned URLs where it offers them; where its
//! addresses are those of a store (`--no-serve-artifacts`), the store itself is asked, with the keys of
//! [`objects`](super::objects).
//!
//! What else is asked is asked by people: [`visit`] whether a server answers at all, [`webhooks`] which webhooks it
//! has.
//!
//! What a rollout tells a registry is in [`write`](MlflowClient::write) and [`set_alias`](MlflowClient::set_alias).
//!
//! Invariant: every request is a GET, but for those that make, change and test a webhook, set a tag or move an alias.

mod calls;
pub mod client;
mod failure;
mod messages;
pub mod mlmodel;
mod open;
pub mod place;
pub mod signature;
pub mod source;
#[cfg(test)]
mod tests;
pub mod uri;
pub mod visit;
pub mod webhooks;
mod write;

pub use super::roles::{RoleKind, default_roles};
pub use client::{Credentials, MlflowAccess, MlflowClient};
pub use failure::{Failure, WRONG_HOST};
pub use mlmodel::{MlModel, SessionOptions};
pub use signature::MlSignature;
pub use source::MlflowSource;
pub use uri::ModelUri;
pub use visit::Seen;
pub use webhooks::{WantedWebhook, Webhook, WebhookEvent, WebhookTest};
