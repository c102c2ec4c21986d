//! What a recorder without a reference has counted, as columns that a profile can be learned from, and the recorder that
//! goes on from there.
//!
//! All rows are counted, whatever brought them: batches, retries and requests that name their version too.
//!
//! Invariant: columns are named and placed as the recorder does, so that a profile learned from them describes the same
//! columns to the next recorder.

use super::columns::STATISTICS;
use super::recorder::{Recorder, Totals};
use crate::profile::{ColumnSpec, LearnedColumn, Profile, Side};
use crate::tensor::Signature;
use std::hash::Hasher;
use twox_hash::XxHash64;

impl Recorder {
    /// Which value of which tensor each of [`Recorder::columns`] is. `signature` is the one that the recorder was made
    /// for.
    #[must_use]
    pub fn specs(&self, signature: &Signature) -> Vec<ColumnSpec> {
        let inputs = signature.inputs.iter().zip(&self.plan.inputs).map(|(spec, plan)| (Side::Input, spec, plan));
        let outputs = signature.outputs.iter().zip(&self.plan.outputs).map(|(spec, plan)| (Side::Output, spec, plan));
        let places = inputs.chain(outputs).flat_map(|(side, spec, plan)| {
            (0..plan.columns.len()).map(move |position| ColumnSpec {
                side,
                tensor: spec.name.clone(),
                index: if plan.reduced { 0 } else { position },
                name: String::new(),
                datatype: spec.datatype,
                statistic: plan.reduced.then(|| STATISTICS[position]),
            })
        });
        places.zip(self.columns()).map(|(spec, column)| ColumnSpec { name: column.name.clone(), ..spec }).collect()
    }

    /// Identifies what is recorded: the same for recorders of the same signature and limit on wide tensors, whatever
    /// their reference and the names it gives.
    #[must_use]
    pub fn layout_hash(&self, signature: &Signature) -> u64 {
        let mut hasher = XxHash64::with_seed(0);
        for ColumnSpec { side, tensor, index, datatype, statistic, .. } in self.specs(signature) {
            hasher.write(format!("{side:?} {tensor:?} {index} {datatype:?} {statistic:?}\n").as_bytes());
        }
        hasher.finish()
    }

    /// The counters in `totals` of every column that has no reference, for [`profile::learn`](crate::profile::learn).
    /// `signature` is the one that the recorder was made for.
    #[must_use]
    pub fn learnable(&self, signature: &Signature, totals: &Totals) -> Vec<LearnedColumn> {
        let columns = self.specs(signature).into_iter().zip(self.columns());
        let unknown = columns.filter(|(_, column)| column.reference.is_none());
        unknown
            .map(|(spec, column)| LearnedColumn {
                spec,
                counts: totals.slots[column.slots.clone()].to_vec(),
                critical: column.critical,
            })
            .collect()
    }

    /// A recorder of the same tensors by as many workers that has counted nothing yet, on the edges of `profile`. Rows are
    /// divided as they were to be; where they still cannot be, that was said when the version was loaded.
    #[must_use]
    pub fn renewed(&self, signature: &Signature, profile: &Profile) -> Self {
        let mut renewed = Self::new(signature, Some(profile), self.max_features, self.shards.len());
        if let Some(settings) = &self.division {
            let _said_at_the_load = renewed.divide(Some(profile), settings);
        }
        renewed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Evidence;
    use crate::profile::{Statistic, learn};
    use crate::tensor::{DataType, Dimension, Shape, Tensor, TensorData, TensorSpec};

    /// Two tensors in, of which the second is wide when four columns are the limit, and a text out.
    fn signature() -> Signature {
        let tensor = |name: &str, datatype, width| TensorSpec {
            name: name.into(),
            datatype,
            shape: vec![Dimension::Free("N".into()), Dimension::Fixed(width)],
        };
        let inputs = vec![tensor("a", DataType::Fp32, 2), tensor("b", DataType::Fp32, 5)];
        Signature { inputs, outputs: vec![tensor("text", DataType::Bytes, 1)] }
    }

    fn record(recorder: &Recorder, rows: usize) {
        let numbers = |width: usize| {
            let values = (0..rows * width).map(|place| place as f32 / 7.0).collect();
            Tensor::try_new(Shape::matrix(rows, width), TensorData::Fp32(values)).unwrap()
        };
        let texts = std::iter::repeat_n(&b"yes"[..], rows).collect();
        let text = Tensor::try_new(Shape::matrix(rows, 1), TensorData::Bytes(texts)).unwrap();
        recorder.record_prediction(0, Evidence::None, &[numbers(2), numbers(5)], &[text]);
    }

    #[test]
    fn nothing_recorded_is_learned_as_columns_without_rows() {
        let (signature, recorder) = (signature(), Recorder::new(&signature(), None, 4, 1));
        let profile = learn(&recorder.learnable(&signature, &recorder.totals()), 0).unwrap();
        assert!(profile.check(&signature).is_ok());
        assert!(profile.inputs.iter().chain(&profile.outputs).all(|column| column.rows == 0));
    }

    #[test]
    fn what_was_learned_covers_every_column_and_is_counted_on_by_the_next_recorder() {
        let (signature, recorder) = (signature(), Recorder::new(&signature(), None, 4, 3));
        record(&recorder, 50);
        let profile = learn(&recorder.learnable(&signature, &recorder.totals()), 50).unwrap();
        profile.check(&signature).unwrap();
        let wide: Vec<Option<Statistic>> = profile.inputs[2..].iter().map(|column| column.statistic).collect();
        assert_eq!(wide, STATISTICS.map(Some));
        let next = recorder.renewed(&signature, &profile);
        let names = |recorder: &Recorder| -> Vec<String> {
            recorder.columns().iter().map(|column| column.name.clone()).collect()
        };
        assert_eq!(names(&next), names(&recorder));
        assert!(next.columns().iter().all(|column| column.reference.is_some()));
        assert!(next.learnable(&signature, &next.totals()).is_empty(), "there is nothing left to learn");
        assert_eq!((next.totals().rows, next.shards.len()), (0, 3));
        record(&next, 50);
        let totals = next.totals();
        for column in next.columns() {
            let reference = column.reference.as_ref().unwrap();
            assert_eq!(totals.slots[column.slots.clone()], reference.counts, "{}", column.name);
        }
    }

    #[test]
    fn the_layout_is_known_by_tensors_and_limit_and_not_by_the_reference() {
        let signature = signature();
        let hash = |max_features| Recorder::new(&signature, None, max_features, 1).layout_hash(&signature);
        assert_ne!(hash(4), hash(512));
        let recorder = Recorder::new(&signature, None, 4, 1);
        record(&recorder, 50);
        let mut profile = learn(&recorder.learnable(&signature, &recorder.totals()), 50).unwrap();
        profile.inputs[0].name = "renamed".into();
        assert_eq!(recorder.renewed(&signature, &profile).layout_hash(&signature), hash(4));
        let mut other = signature.clone();
        other.inputs[0].name = "c".into();
        assert_ne!(Recorder::new(&other, None, 4, 1).layout_hash(&other), hash(4));
    }

    #[test]
    fn counts_of_requests_add_up_and_those_of_columns_stay() {
        let recorder = Recorder::new(&signature(), None, 4, 1);
        record(&recorder, 5);
        let (before, mut totals) = (recorder.totals(), recorder.totals());
        totals.add_requests(&before);
        assert_eq!((totals.rows, totals.predictions, totals.slots), (10, 2, before.slots));
    }
}
