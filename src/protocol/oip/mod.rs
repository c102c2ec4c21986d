//! The Open Inference Protocol, version 2, as REST with JSON bodies.
//!
//! Contract: the protocol's `required_api.md` as KServe publishes it, read the way Triton reads it where the text is
//! silent, because that is what clients are tested against. Deviations, all towards refusing: the ranges of narrow
//! integers are checked, and lists in `data` must fit the shape.
//!
//! Invariant: a decoded request fits the model's signature.

mod decode;
mod encode;
mod input;
mod metadata;
mod parameters;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use decode::{InferRequest, decode_infer};
pub use encode::encode_infer;
pub use metadata::{
    IndexEntry, IndexState, decode_index_request, encode_live, encode_model_list, encode_model_metadata,
    encode_model_ready, encode_ready, encode_repository_index, encode_server_metadata,
};
