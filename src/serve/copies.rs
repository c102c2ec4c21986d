//! Copies of answered requests, for a version that answers no client.
//!
//! The answer is made and counted by then, and neither its inputs nor its outputs are wanted any more: what is copied is
//! given away. A request that is not drawn costs one random number, and one of a model without a mirror nothing.
//!
//! Invariant: nothing here waits or fails, whatever becomes of the copy.

use super::worker::Worker;
use crate::catalog::Picked;
use crate::tensor::Tensor;

/// Hands over a request that this worker ran itself; its outputs are still the worker's.
pub(super) fn of_worker(worker: &Worker, picked: &Picked, inputs: Vec<Tensor>) {
    if picked.mirror.is_some() {
        hand_over(worker, picked, inputs, &mut worker.outputs.borrow_mut());
    }
}

/// Hands over a request, if it is drawn and there is room.
pub(super) fn hand_over(worker: &Worker, picked: &Picked, inputs: Vec<Tensor>, outputs: &mut Vec<Tensor>) {
    if let Some(mirror) = &picked.mirror {
        let draw = worker.draw();
        if mirror.wants(draw) {
            mirror.offer(draw, inputs, outputs);
        }
    }
}
