//! KServe's V1 prediction protocol, which is TensorFlow Serving's row form.
//!
//! Rows come without datatype or shape, so the model's signature says how to read them, and only models whose inputs
//! have a free first dimension can be asked this way.
//!
//! Invariant: the answer has one prediction per instance, in the same order.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::decode_predict;
pub use encode::encode_predict;
