//! Which kind of bad data a refused request is.
//!
//! Here and not lower: the protocol knows nothing of what is counted, and counting nothing of protocols.
//!
//! Invariant: every error of decoding has one kind. Names that the signature lacks are malformed: there is no value to
//! say anything about.

use crate::observe::RefusalKind;
use crate::protocol::{JsonError, ProtocolError};
use crate::tensor::TensorError;

/// The kind of a request that could not be decoded.
pub(super) fn refusal_kind(error: &ProtocolError) -> RefusalKind {
    match error {
        ProtocolError::Tensor(error) => tensor_kind(error),
        ProtocolError::Json(error) => json_kind(error),
        ProtocolError::Input { source, .. }
        | ProtocolError::Instance { source, .. }
        | ProtocolError::Output { source, .. } => refusal_kind(source),
        ProtocolError::TooManyValues { .. }
        | ProtocolError::EmptyOverLimit { .. }
        | ProtocolError::UnevenNesting { .. }
        | ProtocolError::ListLength { .. }
        | ProtocolError::NotBatched { .. }
        | ProtocolError::NotRows { .. } => RefusalKind::WrongShape,
        ProtocolError::NotInJson { .. } | ProtocolError::NotText { .. } => RefusalKind::WrongType,
        ProtocolError::MissingKey { .. }
        | ProtocolError::DuplicateKey { .. }
        | ProtocolError::UnsupportedParameter { .. }
        | ProtocolError::ReservedParameter { .. }
        | ProtocolError::DuplicateOutput { .. }
        | ProtocolError::ColumnForm => RefusalKind::Malformed,
    }
}

fn tensor_kind(error: &TensorError) -> RefusalKind {
    match error {
        TensorError::RankOverLimit { .. }
        | TensorError::TooManyElements { .. }
        | TensorError::CountMismatch { .. }
        | TensorError::WrongShape { .. }
        | TensorError::DimensionConflict { .. }
        | TensorError::RowConflict { .. } => RefusalKind::WrongShape,
        TensorError::WrongDataType { .. } | TensorError::UnknownDataType { .. } => RefusalKind::WrongType,
        TensorError::MissingInput { .. }
        | TensorError::UnknownInput { .. }
        | TensorError::DuplicateInput { .. }
        | TensorError::UnknownOutput { .. } => RefusalKind::Malformed,
    }
}

fn json_kind(error: &JsonError) -> RefusalKind {
    match error {
        JsonError::NotWhole { .. } | JsonError::OutOfRange { .. } => RefusalKind::WrongType,
        JsonError::Unexpected { .. }
        | JsonError::NonFinite { .. }
        | JsonError::TooDeep { .. }
        | JsonError::NotUtf8 { .. }
        | JsonError::LoneSurrogate { .. } => RefusalKind::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{oip, v1};
    use crate::tensor::{DataType, Dimension, Signature, TensorSpec};

    fn signature() -> Signature {
        let tensor = |name: &str, datatype, width| TensorSpec {
            name: name.into(),
            datatype,
            shape: vec![Dimension::Free("N".into()), Dimension::Fixed(width)],
        };
        Signature { inputs: vec![tensor("x", DataType::Fp32, 2)], outputs: vec![tensor("y", DataType::Int64, 1)] }
    }

    fn kind_of_input(input: &str) -> Option<RefusalKind> {
        let body = format!(r#"{{"inputs":[{input}]}}"#);
        oip::decode_infer(body.as_bytes(), &signature()).err().map(|error| refusal_kind(&error))
    }

    #[test]
    fn a_request_that_fits_has_no_kind_and_the_others_have_one() {
        let kind = kind_of_input;
        assert_eq!(kind(r#"{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}"#), None);
        let wrong_shape = Some(RefusalKind::WrongShape);
        assert_eq!(kind(r#"{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}"#), wrong_shape);
        assert_eq!(kind(r#"{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2,3]}"#), wrong_shape);
        assert_eq!(kind(r#"{"name":"x","datatype":"FP32","shape":[1,2],"data":[1]}"#), wrong_shape);
        let wrong_type = Some(RefusalKind::WrongType);
        assert_eq!(kind(r#"{"name":"x","datatype":"INT64","shape":[1,2],"data":[1,2]}"#), wrong_type);
        assert_eq!(kind(r#"{"name":"x","datatype":"DOUBLE","shape":[1,2],"data":[1,2]}"#), wrong_type);
        let malformed = Some(RefusalKind::Malformed);
        assert_eq!(kind(r#"{"name":"z","datatype":"FP32","shape":[1,2],"data":[1,2]}"#), malformed);
        assert_eq!(kind(r#"{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2}"#), malformed);
        assert_eq!(kind(""), malformed);
    }

    #[test]
    fn rows_of_another_width_have_the_wrong_shape_in_both_protocols() {
        let error = v1::decode_predict(br#"{"instances":[[1,2,3]]}"#, &signature()).unwrap_err();
        assert_eq!(refusal_kind(&error), RefusalKind::WrongShape);
        let error = v1::decode_predict(br#"{"inputs":[[1,2]]}"#, &signature()).unwrap_err();
        assert_eq!(refusal_kind(&error), RefusalKind::Malformed);
    }
}
