//! What a model takes and gives: names, datatypes and shapes, with free dimensions.
//!
//! Free dimensions keep the name that the model gives them (`N`, `batch`), because two inputs that share a name must
//! agree; a plain -1 would let such a request through to fail inside an engine, where it would look like our fault.
//! Converters often leave the names out: skl2onnx writes one input `[None, 1]` per column. An outermost dimension without
//! a name is therefore taken for the rows of the request and must agree with the other inputs'. A model whose inputs
//! really have independent lengths says so by names that differ; one that leaves them unnamed is rare, and is refused.
//!
//! Invariant: inputs that pass [`Signature::check`] differ from what the model declares in nothing that a declaration
//! can say.

use super::{DataType, Shape, Tensor, TensorError};
use std::fmt::Write;

/// One dimension of a declared shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Always this size.
    Fixed(usize),
    /// Any size; dimensions of the same name must agree within one request. An empty name agrees with anything, unless it
    /// is outermost: then it counts the rows.
    Free(String),
}

/// A declared input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The tensor's name.
    pub name: String,
    /// The datatype of its values.
    pub datatype: DataType,
    /// Its dimensions, outermost first.
    pub shape: Vec<Dimension>,
}

/// What a model takes and gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Inputs in the model's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs in the model's order.
    pub outputs: Vec<TensorSpec>,
}

impl TensorSpec {
    /// The declared shape with -1 for free dimensions, as the protocols write it.
    #[must_use]
    pub fn wire_shape(&self) -> Vec<i64> {
        self.shape
            .iter()
            .map(|dimension| match dimension {
                Dimension::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
                Dimension::Free(_) => -1,
            })
            .collect()
    }

    /// Whether the outermost dimension is free, so that a request may carry any number of rows.
    #[must_use]
    pub fn is_batched(&self) -> bool {
        matches!(self.shape.first(), Some(Dimension::Free(_)))
    }

    /// How many values one row has, if every dimension but a free outermost one is fixed.
    #[must_use]
    pub fn row_width(&self) -> Option<usize> {
        let inner = if self.is_batched() { &self.shape[1..] } else { &self.shape[..] };
        inner.iter().try_fold(1_usize, |product, dimension| match dimension {
            Dimension::Fixed(size) => product.checked_mul(*size),
            Dimension::Free(_) => None,
        })
    }

    fn accepts(&self, shape: &Shape) -> bool {
        shape.rank() == self.shape.len()
            && self.shape.iter().zip(shape.dimensions()).all(|(declared, &found)| match declared {
                Dimension::Fixed(size) => *size == found,
                Dimension::Free(_) => true,
            })
    }

    fn wrong_shape(&self, found: Shape) -> TensorError {
        TensorError::WrongShape { name: self.name.clone(), expected: format!("{:?}", self.wire_shape()), found }
    }
}

impl Signature {
    /// Whether `inputs`, in the model's order, fit the declaration.
    ///
    /// # Errors
    /// What differs first: [`TensorError::MissingInput`], [`TensorError::WrongDataType`], [`TensorError::WrongShape`],
    /// [`TensorError::DimensionConflict`] or [`TensorError::RowConflict`].
    pub fn check(&self, inputs: &[Tensor]) -> Result<(), TensorError> {
        for (index, spec) in self.inputs.iter().enumerate() {
            let Some(input) = inputs.get(index) else {
                return Err(TensorError::MissingInput { name: spec.name.clone(), expected: self.describe_inputs() });
            };
            if input.datatype() != spec.datatype {
                return Err(TensorError::WrongDataType {
                    name: spec.name.clone(),
                    expected: spec.datatype,
                    found: input.datatype(),
                });
            }
            if !spec.accepts(&input.shape()) {
                return Err(spec.wrong_shape(input.shape()));
            }
        }
        if self.inputs.len() > 1 {
            self.check_named_dimensions(inputs)?;
            self.check_rows(inputs)?;
        }
        Ok(())
    }

    /// Whether `outputs`, in the model's order, are what the model says that it gives for `inputs`: as many, of the types and
    /// dimensions that are declared, a dimension being as long as that of its name in the inputs. Allocates nothing.
    #[must_use]
    pub fn gives(&self, inputs: &[Tensor], outputs: &[Tensor]) -> bool {
        let fits = |(spec, output): (&TensorSpec, &Tensor)| {
            output.datatype() == spec.datatype
                && spec.accepts(&output.shape())
                && spec.shape.iter().zip(output.shape().dimensions()).all(|(dimension, &found)| match dimension {
                    Dimension::Free(symbol) => self.size_of(symbol, inputs).is_none_or(|size| size == found),
                    Dimension::Fixed(_) => true,
                })
        };
        outputs.len() == self.outputs.len() && self.outputs.iter().zip(outputs).all(fits)
    }

    /// The size of the dimension of this name, if an input has it.
    fn size_of(&self, symbol: &str, inputs: &[Tensor]) -> Option<usize> {
        let is_it = |dimension: &Dimension| matches!(dimension, Dimension::Free(name) if name == symbol);
        let place = |spec: &TensorSpec| spec.shape.iter().position(is_it);
        let mut sizes = self.inputs.iter().zip(inputs).filter_map(|(spec, input)| Some((place(spec)?, input.shape())));
        let (place, shape) = sizes.next().filter(|_| !symbol.is_empty())?;
        shape.dimensions().get(place).copied()
    }

    /// How many rows a request of these inputs has: the longest outermost dimension of those that are free; 1 if none
    /// is, as the model then takes one row at a time.
    #[must_use]
    pub fn rows(&self, inputs: &[Tensor]) -> usize {
        let batched = self.inputs.iter().zip(inputs).filter(|(spec, _)| spec.is_batched());
        batched.map(|(_, input)| input.shape().rows()).max().unwrap_or(1)
    }

    /// The inputs as text, for errors: `"features" FP32 [-1, 30]`.
    #[must_use]
    pub fn describe_inputs(&self) -> String {
        describe(&self.inputs)
    }

    /// The outputs as text, for errors.
    #[must_use]
    pub fn describe_outputs(&self) -> String {
        describe(&self.outputs)
    }

    /// Whether the inputs have as many rows as the first one with rows, where one of both does not name them.
    fn check_rows(&self, inputs: &[Tensor]) -> Result<(), TensorError> {
        let mut batched = self.inputs.iter().zip(inputs).filter_map(|(spec, input)| match spec.shape.first() {
            Some(Dimension::Free(symbol)) => Some((spec, symbol.is_empty(), input.shape().rows())),
            _ => None,
        });
        let Some((first, first_unnamed, first_rows)) = batched.next() else { return Ok(()) };
        match batched.find(|&(_, unnamed, rows)| (unnamed || first_unnamed) && rows != first_rows) {
            Some((second, _, second_rows)) => Err(TensorError::RowConflict {
                first: first.name.clone(),
                first_rows,
                second: second.name.clone(),
                second_rows,
            }),
            None => Ok(()),
        }
    }

    fn check_named_dimensions(&self, inputs: &[Tensor]) -> Result<(), TensorError> {
        let named = self.inputs.iter().zip(inputs).flat_map(|(spec, input)| {
            let sizes = input.shape().dimensions().to_vec();
            spec.shape.iter().zip(sizes).filter_map(move |(dimension, size)| match dimension {
                Dimension::Free(symbol) if !symbol.is_empty() => Some((spec, symbol, size)),
                _ => None,
            })
        });
        let mut seen: Vec<(&str, usize)> = Vec::new();
        for (spec, symbol, second) in named {
            match seen.iter().find(|(name, _)| *name == symbol.as_str()) {
                Some(&(_, first)) if first != second => {
                    return Err(TensorError::DimensionConflict {
                        symbol: symbol.clone(),
                        first,
                        name: spec.name.clone(),
                        second,
                    });
                }
                Some(_) => {}
                None => seen.push((symbol, second)),
            }
        }
        Ok(())
    }
}

fn describe(specs: &[TensorSpec]) -> String {
    let mut text = String::new();
    for (index, spec) in specs.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}\"{}\" {} {:?}", spec.name, spec.datatype, spec.wire_shape());
    }
    text
}
