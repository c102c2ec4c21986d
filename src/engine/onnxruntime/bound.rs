//! Values that a session keeps from one run to the next.
//!
//! A run that is handed new values each time makes an ONNX Runtime value for each input and gets a new one for each
//! output, which for a small model costs half as much as running it: a logistic regression of 30 features takes 5.0 µs so,
//! and 3.1 µs with both kept (`benches/engine.rs`). Servers see the same few shapes again and again, so an instance keeps
//! values for the last few, and a run copies its numbers in and out. `IoBinding` instead takes 3.6 µs: it asks for the bound
//! outputs anew after each run.
//!
//! The shapes of outputs are learned from a run that was not bound. Where they depend on more than the shapes of the
//! inputs, a bound run fails, or a run that is not bound answers other shapes than were learned; the instance then stops
//! binding for good.
//!
//! Invariant: a bound run has exactly the answers of one that is not.

use super::convert::{self, copy_in, take_into};
use crate::engine::EngineError;
use crate::tensor::{Shape, Tensor};
use ort::memory::Allocator;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue, SessionInputs};
use ort::value::DynTensor;
use std::collections::VecDeque;

/// How many shapes an instance keeps values for.
const KEPT: usize = 4;
/// How many shapes it remembers having seen once.
const REMEMBERED: usize = 8;
/// Runs after which values that were not used make room for others. Traffic of many shapes would else have values made for
/// nearly every run, which costs more than a run without.
const UNUSED_RUNS: u64 = 1_000;
/// The largest values that are kept, all inputs and outputs of a shape together. Beyond it making them is no matter.
const MOST_BYTES: usize = 1 << 20;

/// The values that an instance keeps.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bindings: Vec<Binding>,
    /// Input shapes of the last runs that were not bound, the newest last: what comes once need not come again.
    seen: VecDeque<Vec<Shape>>,
    /// Runs so far.
    runs: u64,
    /// Whether shapes of outputs turned out not to follow from those of inputs, or cannot be kept.
    is_given_up: bool,
}

/// Values of one set of input shapes.
struct Binding {
    shapes: Vec<Shape>,
    /// The run that used it last.
    last_run: u64,
    inputs: Vec<SessionInputValue<'static>>,
    /// Holds the outputs.
    options: RunOptions<HasSelectedOutputs>,
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Binding").field("shapes", &self.shapes).finish_non_exhaustive()
    }
}

impl Kept {
    /// Runs on kept values, if there are any of these shapes; nothing if there are none, or if they did not do.
    pub(super) fn run(&mut self, session: &mut Session, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Option<()> {
        self.runs += 1;
        let binding = self.bindings.iter_mut().find(|binding| binding.fits(inputs))?;
        binding.last_run = self.runs;
        binding.run(session, inputs, outputs).ok()
    }

    /// Takes in what a run that was not bound answered. Shapes that come again get values of their own.
    pub(super) fn learn(&mut self, session: &Session, inputs: &[Tensor], outputs: &[Tensor]) {
        if self.is_given_up {
            return;
        }
        if let Some(index) = self.bindings.iter().position(|binding| binding.fits(inputs)) {
            // It was tried and failed, and the same inputs did well without it.
            self.bindings.remove(index);
            self.is_given_up = true;
            return;
        }
        if !self.comes_again(inputs) || !self.has_room() {
            return;
        }
        let bytes: usize = inputs.iter().chain(outputs).map(convert::bytes).sum();
        if bytes > MOST_BYTES {
            return;
        }
        match Binding::new(session, inputs, outputs) {
            Some(binding) => self.bindings.push(Binding { last_run: self.runs, ..binding }),
            None => self.is_given_up = true,
        }
    }

    /// Whether these shapes were seen before; else they are remembered.
    fn comes_again(&mut self, inputs: &[Tensor]) -> bool {
        let found = self.seen.iter().position(|shapes| shapes.iter().copied().eq(inputs.iter().map(Tensor::shape)));
        if let Some(index) = found {
            self.seen.remove(index);
            return true;
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(inputs.iter().map(Tensor::shape).collect());
        false
    }

    /// Whether there is room for one more, made by what has not been used for long.
    fn has_room(&mut self) -> bool {
        let runs = self.runs;
        if self.bindings.len() >= KEPT {
            self.bindings.retain(|binding| runs - binding.last_run <= UNUSED_RUNS);
        }
        self.bindings.len() < KEPT
    }
}

impl Binding {
    /// Values of these shapes and types; none where a type cannot be kept.
    fn new(session: &Session, inputs: &[Tensor], outputs: &[Tensor]) -> Option<Self> {
        let allocator = Allocator::default();
        let value = |tensor: &Tensor| {
            let datatype = convert::element_type(tensor.datatype())?;
            DynTensor::new(&allocator, datatype, convert::dimensions(tensor.shape())).ok()
        };
        let kept_inputs = inputs.iter().map(|tensor| Some(value(tensor)?.into())).collect::<Option<_>>()?;
        let mut selector = OutputSelector::default();
        for (outlet, tensor) in session.outputs().iter().zip(outputs) {
            selector = selector.preallocate(outlet.name(), value(tensor)?);
        }
        let options = RunOptions::new().ok()?.with_outputs(selector);
        Some(Self { shapes: inputs.iter().map(Tensor::shape).collect(), last_run: 0, inputs: kept_inputs, options })
    }

    fn fits(&self, inputs: &[Tensor]) -> bool {
        self.shapes.iter().copied().eq(inputs.iter().map(Tensor::shape))
    }

    fn run(&mut self, session: &mut Session, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        for (index, (kept, input)) in self.inputs.iter_mut().zip(inputs).enumerate() {
            copy_in(index, input, kept)?;
        }
        let values = SessionInputs::<0>::ValueSlice(&self.inputs);
        let results = session.run_with_options(values, &self.options).map_err(|error| super::run_failed(&error))?;
        outputs.truncate(results.len());
        for (index, result) in results.values().enumerate() {
            take_into(&result, outputs, index)?;
        }
        Ok(())
    }
}
