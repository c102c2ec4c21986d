//! An instance that survives panics of its engine.
//!
//! A panic leaves an engine's state in the middle of something, so the instance it happened in cannot be trusted again.
//! Rather than have every caller remember to throw it away, the guard does, and opens another one from the shared plan
//! when the next request comes. Opening lazily keeps the failing request short and does not loop when opening fails too.
//!
//! Invariant: no engine state that a panic went through is ever run again.

use super::{EngineError, Instance, Plan};
use crate::tensor::Tensor;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// An instance and the plan to replace it from.
#[derive(Debug)]
pub(super) struct Guarded {
    plan: Arc<dyn Plan>,
    /// Absent after a panic.
    instance: Option<Box<dyn Instance>>,
}

impl Guarded {
    pub(super) fn open(plan: Arc<dyn Plan>) -> Result<Self, EngineError> {
        let instance = open(&*plan)?;
        Ok(Self { plan, instance: Some(instance) })
    }
}

impl Instance for Guarded {
    fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        let result = self.run_guarded(inputs, outputs);
        if result.is_err() {
            outputs.clear();
        }
        result
    }
}

impl Guarded {
    fn run_guarded(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            // Whoever sent this request did not ask for a load, so a load that fails is a run that fails.
            None => open(&*self.plan).map_err(|error| EngineError::RunFailed {
                engine: self.plan.engine().name(),
                reason: format!("no new instance after a panic: {error}"),
            })?,
        };
        match catch_unwind(AssertUnwindSafe(|| instance.run(inputs, outputs))) {
            Ok(result) => {
                self.instance = Some(instance);
                result
            }
            Err(panic) => {
                // Dropping what panicked may panic as well; the first panic is the one to report.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(instance)));
                Err(panicked(&*self.plan, "running the model", panic))
            }
        }
    }
}

fn open(plan: &dyn Plan) -> Result<Box<dyn Instance>, EngineError> {
    catch_unwind(AssertUnwindSafe(|| plan.open()))
        .unwrap_or_else(|panic| Err(panicked(plan, "loading the model", panic)))
}

fn panicked(plan: &dyn Plan, doing: &'static str, panic: Box<dyn Any + Send>) -> EngineError {
    EngineError::Panicked { engine: plan.engine().name(), doing, reason: message(panic) }
}

/// The text that a panic was raised with.
pub(super) fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or_else(|| "no message".to_owned(), |text| (*text).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Engine;
    use super::*;
    use crate::tensor::{Shape, TensorData};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts how often it was opened; each instance panics on a NaN and otherwise tells how often it was run.
    #[derive(Debug, Default)]
    struct Fragile {
        opened: AtomicUsize,
    }

    #[derive(Debug)]
    struct FragileInstance {
        runs: i64,
    }

    impl Plan for Fragile {
        fn engine(&self) -> Engine {
            Engine::Tract
        }

        fn open(&self) -> Result<Box<dyn Instance>, EngineError> {
            self.opened.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(FragileInstance { runs: 0 }))
        }
    }

    impl Instance for FragileInstance {
        fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
            self.runs += 1;
            outputs.clear();
            outputs.push(Tensor::try_new(Shape::vector(1), TensorData::Int64(vec![self.runs])).unwrap());
            match inputs[0].data() {
                TensorData::Fp32(values) if values[0].is_nan() => panic!("not a number in row {}", 0),
                _ => Ok(()),
            }
        }
    }

    impl Drop for FragileInstance {
        fn drop(&mut self) {
            assert!(self.runs != 2, "dropping panics as well");
        }
    }

    #[test]
    fn a_panic_fails_one_request_and_the_next_one_runs_on_a_fresh_instance() {
        let plan = Arc::new(Fragile::default());
        let mut guarded = Guarded::open(Arc::clone(&plan) as Arc<dyn Plan>).unwrap();
        let good = [Tensor::try_new(Shape::vector(1), TensorData::Fp32(vec![1.0])).unwrap()];
        let bad = [Tensor::try_new(Shape::vector(1), TensorData::Fp32(vec![f32::NAN])).unwrap()];
        let mut outputs = Vec::new();
        guarded.run(&good, &mut outputs).unwrap();
        let error = guarded.run(&bad, &mut outputs).unwrap_err();
        assert_eq!(error.to_string(), "tract panicked while it was running the model: not a number in row 0");
        assert!(outputs.is_empty());
        guarded.run(&good, &mut outputs).unwrap();
        assert_eq!(outputs[0].data(), &TensorData::Int64(vec![1]));
        assert_eq!(plan.opened.load(Ordering::Relaxed), 2);
    }
}
