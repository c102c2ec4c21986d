//! tidegate: a model inference gateway with monitoring built in.

pub mod error;
pub mod tensor;
