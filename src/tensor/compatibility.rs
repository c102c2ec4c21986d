//! Whether one version of a model may take another's place without its clients noticing.
//!
//! A successor must accept every request that its predecessor accepts and answer with at least the same outputs: input
//! names and datatypes equal, each dimension as wide or free, outputs kept by name and datatype. More outputs are no harm.
//!
//! Invariant: a signature is compatible with itself.

use super::{Dimension, Signature, TensorSpec};

impl Signature {
    /// Whether this signature can stand in for `predecessor`.
    ///
    /// # Errors
    /// The first difference that a client would notice, for people.
    pub fn can_replace(&self, predecessor: &Self) -> Result<(), String> {
        for old in &predecessor.inputs {
            let Some(new) = self.inputs.iter().find(|new| new.name == old.name) else {
                return Err(format!("input \"{}\" is gone; it takes {}", old.name, self.describe_inputs()));
            };
            if new.datatype != old.datatype || !is_as_wide(new, old) {
                return Err(format!("input \"{}\" was {}, now it is {}", old.name, describe(old), describe(new)));
            }
        }
        if let Some(new) = self.inputs.iter().find(|new| predecessor.inputs.iter().all(|old| old.name != new.name)) {
            return Err(format!("input \"{}\" is new and no client sends it", new.name));
        }
        for old in &predecessor.outputs {
            match self.outputs.iter().find(|new| new.name == old.name) {
                None => return Err(format!("output \"{}\" is gone; it gives {}", old.name, self.describe_outputs())),
                Some(new) if new.datatype != old.datatype => {
                    return Err(format!("output \"{}\" was {}, now it is {}", old.name, describe(old), describe(new)));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn is_as_wide(new: &TensorSpec, old: &TensorSpec) -> bool {
    new.shape.len() == old.shape.len()
        && new.shape.iter().zip(&old.shape).all(|(new, old)| matches!(new, Dimension::Free(_)) || new == old)
}

fn describe(spec: &TensorSpec) -> String {
    format!("{} {:?}", spec.datatype, spec.wire_shape())
}

#[cfg(test)]
mod tests {
    use super::super::DataType;
    use super::*;

    fn spec(name: &str, datatype: DataType, shape: &[Option<usize>]) -> TensorSpec {
        let dimension = |size: &Option<usize>| size.map_or(Dimension::Free("N".into()), Dimension::Fixed);
        TensorSpec { name: name.into(), datatype, shape: shape.iter().map(dimension).collect() }
    }

    fn signature(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> Signature {
        Signature { inputs, outputs }
    }

    #[test]
    fn what_a_client_would_notice_is_no_replacement() {
        let x = |width| spec("x", DataType::Fp32, &[None, Some(width)]);
        let y = || spec("y", DataType::Fp32, &[None, Some(1)]);
        let old = signature(vec![x(3)], vec![y()]);
        assert_eq!(old.can_replace(&old), Ok(()));
        let wider = signature(vec![spec("x", DataType::Fp32, &[None, None])], vec![y(), x(9)]);
        assert_eq!(wider.can_replace(&old), Ok(()));
        for (new, reason) in [
            (signature(vec![x(4)], vec![y()]), "input \"x\" was FP32 [-1, 3], now it is FP32 [-1, 4]"),
            (signature(vec![x(3), y()], vec![y()]), "input \"y\" is new and no client sends it"),
            (signature(vec![y()], vec![y()]), "input \"x\" is gone; it takes \"y\" FP32 [-1, 1]"),
            (signature(vec![x(3)], vec![x(3)]), "output \"y\" is gone; it gives \"x\" FP32 [-1, 3]"),
            (
                signature(vec![x(3)], vec![spec("y", DataType::Int64, &[None])]),
                "output \"y\" was FP32 [-1, 1], now it is INT64 [-1]",
            ),
        ] {
            assert_eq!(new.can_replace(&old).unwrap_err(), reason);
        }
        assert!(old.can_replace(&wider).is_err(), "a narrower one takes less than the wider");
    }
}
