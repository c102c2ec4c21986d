//! What a version must show before it gets traffic: that it runs on rows like those it will get, and that it gives the
//! answers that were shipped with it.
//!
//! Rows come from the example that MLflow keeps beside a model ([`example`]), else from the reference profile
//! ([`sample`]), else they are zeros and empty strings. An example or a profile says what the model was made for, so a
//! model that fails on it is refused. Zeros say nothing of the kind: with a free inner dimension, whose size is made up
//! too, a failure on them is let pass.
//!
//! What comes out is looked at, and only told: outputs of another shape than the graph declares (converters often write
//! wrong shapes, and the engine serves such graphs well), and outputs that are not finite although all inputs are. The
//! latter may be what the model means (a logarithm of a probability of 0, a class that was never seen), and a profile's
//! rows are mixtures that nobody sends. Whoever knows better ships [`golden`] answers, which refuse.
//!
//! Invariant: a version that passed has answered on every instance; golden answers were given by an instance that
//! serves.

mod compare;
mod example;
mod golden;
mod sample;
#[cfg(test)]
mod tests;

pub use golden::{GOLDEN_FILE, GOLDEN_FORMAT, GOLDEN_LIMIT, GoldenError, MOST_CASES, hold_golden};

use super::RegistryError;
use crate::engine::{EngineError, Instance, LoadedGraph, synthesize_inputs};
use crate::profile::Profile;
use crate::tensor::{Dimension, Signature, Tensor, TensorError, TensorSpec};
use golden::Golden;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

/// Rows of the runs that warm an instance: one, as most requests have, and a batch, so that buffers grow once. No more
/// than the model lets a request have.
const WARM_ROWS: [usize; 3] = [1, 64, 1];
/// A version whose call of one row takes longer is warmed and measured by such calls alone: a minute of warming would
/// keep it from serving for nothing, since it runs in its lane anyway.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// The rows a version is tried on, and the answers it must give.
#[derive(Debug)]
pub(super) struct Trial {
    rows: Rows,
    golden: Option<Golden>,
    /// The most rows of a call.
    limit: usize,
}

/// Rows like those that a version will get.
#[derive(Debug)]
enum Rows {
    /// From an example or a profile.
    Known {
        /// What they are of, for people.
        of: &'static str,
        inputs: Vec<Tensor>,
        /// Whether any number of rows can be made of them by repeating them.
        can_be_repeated: bool,
    },
    Zeros,
}

impl Trial {
    /// What there is beside the graph in `directory`. `limit` is the most rows that a request may have.
    ///
    /// # Errors
    /// [`RegistryError::Golden`] for golden answers that cannot be read.
    pub(super) fn read(
        directory: &Path,
        signature: &Signature,
        profile: Option<&Profile>,
        limit: Option<NonZeroU32>,
    ) -> Result<Self, RegistryError> {
        let golden = Golden::read(directory)?;
        let (example, passed_over) = example::read(directory, signature);
        for reason in passed_over {
            tracing::warn!(directory = %directory.display(), reason, "an example of the model's inputs is passed over");
        }
        let sampled = || Some(("rows made up from its profile", sample::rows(profile?, signature)?));
        let rows = match example.or_else(sampled) {
            Some((of, inputs)) if !inputs.is_empty() => {
                Rows::Known { of, inputs, can_be_repeated: can_be_repeated(signature) }
            }
            _ => Rows::Zeros,
        };
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit.get()).unwrap_or(usize::MAX));
        Ok(Self { rows, golden, limit })
    }

    /// Inputs of `rows` rows, or of as many as are known.
    ///
    /// # Errors
    /// [`TensorError::TooManyElements`] when they do not fit in memory's address range.
    pub(super) fn inputs(&self, signature: &Signature, rows: usize) -> Result<Vec<Tensor>, TensorError> {
        let rows = rows.min(self.limit);
        match &self.rows {
            Rows::Zeros => synthesize_inputs(signature, rows),
            Rows::Known { inputs, can_be_repeated: false, .. } => Ok(inputs.clone()),
            Rows::Known { inputs, .. } => {
                let repeated = |(spec, input): (&TensorSpec, &Tensor)| {
                    if spec.is_batched() { input.with_rows(rows) } else { Ok(input.clone()) }
                };
                signature.inputs.iter().zip(inputs).map(repeated).collect()
            }
        }
    }

    /// A new instance that has answered.
    ///
    /// # Errors
    /// What the engine says; [`RegistryError::WarmUp`] if it failed on the rows.
    pub(super) fn open(&self, graph: &LoadedGraph) -> Result<Box<dyn Instance>, RegistryError> {
        let mut instance = graph.instance()?;
        let (started, mut outputs) = (processor_time(), Vec::new());
        for rows in WARM_ROWS {
            if processor_time().saturating_sub(started) > PATIENCE {
                break;
            }
            if let Err(error) = self.run(instance.as_mut(), graph.signature(), (rows, &mut outputs)) {
                // A free inner dimension may not take the size that was made up for it: that says nothing about the
                // sizes that clients will send.
                if matches!(self.rows, Rows::Zeros) && has_free_inner_dimension(graph.signature()) {
                    break;
                }
                return Err(RegistryError::WarmUp { rows: self.of(), cause: Box::new(error) });
            }
        }
        Ok(instance)
    }

    /// Looks at what an instance answers, and holds it to the golden answers. What is odd comes back, for people.
    ///
    /// # Errors
    /// [`RegistryError::Golden`], and as [`Self::open`].
    pub(super) fn prove(
        &self,
        instance: &mut dyn Instance,
        signature: &Signature,
    ) -> Result<Vec<String>, RegistryError> {
        if let Some(golden) = &self.golden {
            golden.hold(instance, signature)?;
        }
        let Rows::Known { of, inputs, .. } = &self.rows else { return Ok(Vec::new()) };
        let (mut outputs, started) = (Vec::new(), processor_time());
        for rows in [1, sample::ROWS] {
            if processor_time().saturating_sub(started) > PATIENCE {
                break;
            }
            let ran = self.run(instance, signature, (rows, &mut outputs));
            ran.map_err(|cause| RegistryError::WarmUp { rows: of, cause: Box::new(cause) })?;
        }
        Ok(oddities(signature, inputs, &outputs).into_iter().map(|odd| format!("on {of}: {odd}")).collect())
    }

    fn run(
        &self,
        instance: &mut dyn Instance,
        signature: &Signature,
        (rows, outputs): (usize, &mut Vec<Tensor>),
    ) -> Result<(), EngineError> {
        let inputs = self
            .inputs(signature, rows)
            .map_err(|error| EngineError::RunFailed { engine: "warm-up", reason: error.to_string() })?;
        instance.run(&inputs, outputs)
    }

    /// What the rows are of, for people.
    pub(super) fn of(&self) -> &'static str {
        match self.rows {
            Rows::Known { of, .. } => of,
            Rows::Zeros => "zeros",
        }
    }
}

/// Whether a request of any number of rows is made of these by repeating them: no dimension but the outermost is free.
fn can_be_repeated(signature: &Signature) -> bool {
    let inner = |spec: &TensorSpec| spec.shape.iter().skip(1).all(|size| matches!(size, Dimension::Fixed(_)));
    signature.inputs.iter().all(inner)
}

pub(super) fn has_free_inner_dimension(signature: &Signature) -> bool {
    signature.inputs.iter().any(|spec| spec.row_width().is_none())
}

/// What is odd about outputs.
fn oddities(signature: &Signature, inputs: &[Tensor], outputs: &[Tensor]) -> Vec<String> {
    let inputs_are_finite = inputs.iter().all(is_finite);
    let mut odd = Vec::new();
    for (spec, output) in signature.outputs.iter().zip(outputs) {
        let (declared, found) = (&spec.shape, output.shape());
        let fits = declared.len() == found.rank()
            && declared.iter().zip(found.dimensions()).all(|(declared, &found)| match declared {
                Dimension::Fixed(size) => *size == found,
                Dimension::Free(_) => true,
            });
        if !fits {
            let declared = spec.wire_shape();
            odd.push(format!("output \"{}\" has shape {found}, the graph declares {declared:?}", spec.name));
        }
        if inputs_are_finite && !is_finite(output) {
            odd.push(format!("output \"{}\" is not finite, and all inputs are", spec.name));
        }
    }
    odd
}

fn is_finite(tensor: &Tensor) -> bool {
    let mut all = true;
    tensor.data().visit_numbers(|_, value| all &= value.is_finite());
    all
}

/// What this thread has had of a processor. Not the time that passed: a version is loaded at the lowest priority beside
/// workers that serve, and a call that waited for a processor is not a long one. Engines run a call on the thread that makes
/// it, with one thread each.
pub(super) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
