//! One element of a request's `inputs` list.
//!
//! When name, datatype and shape have come, as every known client orders them, `data` is read in passing. When `data`
//! comes first, its place is remembered and it is read at the end of the object.
//!
//! Invariant: the tensor has the datatype of the signature's input of that name; its shape is checked with the others.

use super::super::ProtocolError;
use super::super::json::Scanner;
use super::super::limits::quoted;
use super::super::values::read_tensor;
use super::decode::{once, position};
use super::parameters::{Owner, read_parameters};
use crate::tensor::{DataType, Shape, Signature, Tensor, TensorError};

const PLACE: &str = "an input";

/// An input while its members arrive.
struct InputParts<'s, 'a> {
    signature: &'s Signature,
    /// The input's likely place in the signature: its place in the request.
    hint: usize,
    index: Option<usize>,
    datatype: Option<DataType>,
    shape: Option<Shape>,
    data: Option<Data<'a>>,
    has_parameters: bool,
}

enum Data<'a> {
    Read(Tensor),
    /// Skipped; to be read from here.
    At(Scanner<'a>),
}

/// Reads one input; its index in the signature and its values.
pub(super) fn read_input(
    scanner: &mut Scanner<'_>,
    signature: &Signature,
    hint: usize,
) -> Result<(usize, Tensor), ProtocolError> {
    let mut parts =
        InputParts { signature, hint, index: None, datatype: None, shape: None, data: None, has_parameters: false };
    scanner.object(|scanner, key| parts.member(scanner, key))?;
    parts.finish()
}

impl<'a> InputParts<'_, 'a> {
    fn member(&mut self, scanner: &mut Scanner<'a>, key: &str) -> Result<(), ProtocolError> {
        match key {
            "name" => {
                once(&mut self.index.is_some(), "name", scanner)?;
                self.index = Some(self.read_name(scanner)?);
            }
            "datatype" => {
                once(&mut self.datatype.is_some(), "datatype", scanner)?;
                self.datatype = Some(scanner.string(&mut String::new(), "a datatype's name")?.parse()?);
            }
            "shape" => {
                once(&mut self.shape.is_some(), "shape", scanner)?;
                self.shape = Some(read_shape(scanner)?);
            }
            "data" => {
                once(&mut self.data.is_some(), "data", scanner)?;
                self.data = Some(self.read_data(scanner)?);
            }
            "parameters" => {
                once(&mut self.has_parameters, "parameters", scanner)?;
                read_parameters(scanner, Owner::Input).map(drop)?;
            }
            _ => scanner.skip_value()?,
        }
        Ok(())
    }

    fn read_name(&self, scanner: &mut Scanner<'_>) -> Result<usize, ProtocolError> {
        let mut scratch = String::new();
        let name = scanner.string(&mut scratch, "an input's name")?;
        let found = position(&self.signature.inputs, name, self.hint).ok_or_else(|| TensorError::UnknownInput {
            name: quoted(name),
            expected: self.signature.describe_inputs(),
        });
        Ok(found?)
    }

    fn read_data(&self, scanner: &mut Scanner<'a>) -> Result<Data<'a>, ProtocolError> {
        if let (Some(index), Some(datatype), Some(shape)) = (self.index, self.datatype, self.shape) {
            return self.tensor(scanner, index, (datatype, shape)).map(Data::Read);
        }
        let bookmark = scanner.clone();
        scanner.skip_value()?;
        Ok(Data::At(bookmark))
    }

    fn tensor(
        &self,
        scanner: &mut Scanner<'_>,
        index: usize,
        (datatype, shape): (DataType, Shape),
    ) -> Result<Tensor, ProtocolError> {
        let spec = &self.signature.inputs[index];
        if spec.datatype != datatype {
            let name = spec.name.clone();
            return Err(TensorError::WrongDataType { name, expected: spec.datatype, found: datatype }.into());
        }
        read_tensor(scanner, datatype, shape)
            .map_err(|source| ProtocolError::Input { name: spec.name.clone(), source: Box::new(source) })
    }

    fn finish(mut self) -> Result<(usize, Tensor), ProtocolError> {
        let missing = |key| ProtocolError::MissingKey { key, place: PLACE };
        let index = self.index.ok_or_else(|| missing("name"))?;
        let name_it =
            |source| ProtocolError::Input { name: self.signature.inputs[index].name.clone(), source: Box::new(source) };
        let datatype = self.datatype.ok_or_else(|| name_it(missing("datatype")))?;
        let shape = self.shape.ok_or_else(|| name_it(missing("shape")))?;
        match self.data.take() {
            Some(Data::Read(tensor)) => Ok((index, tensor)),
            Some(Data::At(mut scanner)) => Ok((index, self.tensor(&mut scanner, index, (datatype, shape))?)),
            None => Err(name_it(missing("data"))),
        }
    }
}

fn read_shape(scanner: &mut Scanner<'_>) -> Result<Shape, ProtocolError> {
    let mut shape = Shape::default();
    scanner.list("a shape: a list of sizes", |scanner| {
        // Sizes are unsigned 64-bit integers on the wire; one that this machine cannot address is out of range too.
        const SIZE: &str = "a size: a whole number from 0 on";
        if scanner.peek() == Some(b'-') {
            return Err(scanner.unexpected(SIZE).into());
        }
        let size = scanner.whole_number(SIZE)?.to_integer(DataType::Uint64)?;
        Ok::<(), ProtocolError>(shape.try_push(size)?)
    })?;
    Ok(shape)
}
