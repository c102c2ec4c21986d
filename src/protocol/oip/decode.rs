//! An infer request's body to tensors in the model's order.
//!
//! Keys may come in any order and unknown ones are skipped, so that newer clients keep working; what would change the
//! meaning of the answer and is not implemented is refused by name instead.
//!
//! Invariant: each input of the signature is there exactly once, and [`Signature::check`] has passed.

use super::super::ProtocolError;
use super::super::json::Scanner;
use super::super::limits::quoted;
use super::input::read_input;
use super::parameters::{Owner, read_parameters};
use crate::tensor::{Signature, Tensor, TensorError, TensorSpec};
use std::time::Duration;

/// What an infer request asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct InferRequest {
    /// The caller's name for the request, to be echoed.
    pub id: Option<String>,
    /// The inputs in the order of [`Signature::inputs`].
    pub inputs: Vec<Tensor>,
    /// Indices into [`Signature::outputs`] in the order asked for; empty for all outputs.
    pub outputs: Vec<usize>,
    /// How long the request may take, if it says so.
    pub timeout: Option<Duration>,
}

/// A request while its members arrive.
struct Decoder<'s> {
    signature: &'s Signature,
    id: Option<String>,
    timeout: Option<Duration>,
    inputs: Vec<Option<Tensor>>,
    outputs: Vec<usize>,
    seen: Seen,
}

/// Which members came already.
#[derive(Default)]
struct Seen {
    id: bool,
    parameters: bool,
    inputs: bool,
    outputs: bool,
}

/// Reads the body of `POST /v2/models/{model}/infer`.
///
/// `data` may come before the `datatype` and `shape` that say how to read it. `null` for `id`, `parameters` or
/// `outputs` is the same as their absence: clients that serialise absent fields write it. `binary_data` and
/// `binary_data_output` ask for a form of answer that is not offered; the answer is JSON, which says so by itself.
///
/// # Errors
/// Text that is not JSON, members that are missing, of the wrong type or come twice, and inputs or outputs that do not
/// fit `signature`.
pub fn decode_infer(body: &[u8], signature: &Signature) -> Result<InferRequest, ProtocolError> {
    let mut scanner = Scanner::new(body);
    let mut decoder = Decoder {
        signature,
        id: None,
        timeout: None,
        inputs: Vec::with_capacity(signature.inputs.len()),
        outputs: Vec::new(),
        seen: Seen::default(),
    };
    scanner.object(|scanner, key| decoder.member(scanner, key))?;
    scanner.finish()?;
    decoder.finish()
}

/// Where in `specs` the tensor `name` is. Clients usually keep the model's order, so `hint` is tried first.
pub(super) fn position(specs: &[TensorSpec], name: &str, hint: usize) -> Option<usize> {
    match specs.get(hint) {
        Some(spec) if spec.name == name => Some(hint),
        _ => specs.iter().position(|spec| spec.name == name),
    }
}

/// Notes that `key` came; it may not come again.
pub(super) fn once(seen: &mut bool, key: &'static str, scanner: &Scanner<'_>) -> Result<(), ProtocolError> {
    if std::mem::replace(seen, true) {
        return Err(ProtocolError::DuplicateKey { key, offset: scanner.offset() });
    }
    Ok(())
}

impl Decoder<'_> {
    fn member(&mut self, scanner: &mut Scanner<'_>, key: &str) -> Result<(), ProtocolError> {
        match key {
            "id" => {
                once(&mut self.seen.id, "id", scanner)?;
                if !scanner.null() {
                    self.id = Some(scanner.string(&mut String::new(), "a string as id")?.to_owned());
                }
                Ok(())
            }
            "parameters" => {
                once(&mut self.seen.parameters, "parameters", scanner)?;
                self.timeout = read_parameters(scanner, Owner::Request)?;
                Ok(())
            }
            "inputs" => {
                once(&mut self.seen.inputs, "inputs", scanner)?;
                self.inputs.resize_with(self.signature.inputs.len(), || None);
                let mut arrived = 0;
                scanner.list("a list of inputs", |scanner| {
                    arrived += 1;
                    self.input(scanner, arrived - 1)
                })
            }
            "outputs" => {
                once(&mut self.seen.outputs, "outputs", scanner)?;
                if scanner.null() {
                    return Ok(());
                }
                scanner.list("a list of outputs", |scanner| self.output(scanner))
            }
            _ => Ok(scanner.skip_value()?),
        }
    }

    fn input(&mut self, scanner: &mut Scanner<'_>, hint: usize) -> Result<(), ProtocolError> {
        let (index, tensor) = read_input(scanner, self.signature, hint)?;
        let slot = &mut self.inputs[index];
        if slot.is_some() {
            return Err(TensorError::DuplicateInput { name: self.signature.inputs[index].name.clone() }.into());
        }
        *slot = Some(tensor);
        Ok(())
    }

    fn output(&mut self, scanner: &mut Scanner<'_>) -> Result<(), ProtocolError> {
        let specs = &self.signature.outputs;
        let hint = self.outputs.len();
        let mut found = None;
        let mut parameters_seen = false;
        scanner.object(|scanner, key| match key {
            "name" => {
                once(&mut found.is_some(), "name", scanner)?;
                let mut scratch = String::new();
                let name = scanner.string(&mut scratch, "an output's name")?;
                found = Some(position(specs, name, hint).ok_or_else(|| TensorError::UnknownOutput {
                    name: quoted(name),
                    expected: self.signature.describe_outputs(),
                })?);
                Ok::<(), ProtocolError>(())
            }
            "parameters" => {
                once(&mut parameters_seen, "parameters", scanner)?;
                read_parameters(scanner, Owner::Output).map(drop)
            }
            _ => Ok(scanner.skip_value()?),
        })?;
        let index = found.ok_or(ProtocolError::MissingKey { key: "name", place: "a requested output" })?;
        if self.outputs.contains(&index) {
            return Err(ProtocolError::DuplicateOutput { name: specs[index].name.clone() });
        }
        self.outputs.push(index);
        Ok(())
    }

    fn finish(self) -> Result<InferRequest, ProtocolError> {
        let Self { signature, id, timeout, inputs, outputs, seen } = self;
        if !seen.inputs {
            return Err(ProtocolError::MissingKey { key: "inputs", place: "the request" });
        }
        let inputs = inputs
            .into_iter()
            .zip(&signature.inputs)
            .map(|(tensor, spec)| {
                tensor.ok_or_else(|| TensorError::MissingInput {
                    name: spec.name.clone(),
                    expected: signature.describe_inputs(),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        signature.check(&inputs)?;
        Ok(InferRequest { id, inputs, outputs, timeout })
    }
}
