//! Requests put together into one call, and its answer taken apart.
//!
//! Rows are laid one behind the other in the order of the requests; an answer's rows belong to the requests in the same
//! order. That holds for tensors whose first dimension counts rows, in all inputs and outputs, and all inner dimensions
//! alike.
//!
//! Invariant: taking apart what was put together gives each request its own rows, values and bits.

use crate::tensor::{ByteStrings, Shape, Tensor, TensorData};

/// Whether two requests can be rows of one call: as many inputs, of the same types and inner dimensions.
pub(super) fn fit_together(first: &[Tensor], second: &[Tensor]) -> bool {
    let inner = |tensor: &Tensor| tensor.shape().dimensions().get(1..).map(<[usize]>::to_vec);
    first.len() == second.len()
        && first.iter().zip(second).all(|(first, second)| {
            first.datatype() == second.datatype() && inner(first).is_some() && inner(first) == inner(second)
        })
}

/// Rows of a request, if all its inputs have as many.
pub(super) fn rows(inputs: &[Tensor]) -> Option<usize> {
    let rows = *inputs.first()?.shape().dimensions().first()?;
    inputs.iter().all(|input| input.shape().dimensions().first() == Some(&rows)).then_some(rows)
}

/// The inputs of a call of all these requests, which fit together.
pub(super) fn join(requests: &[&[Tensor]]) -> Option<Vec<Tensor>> {
    let first = requests.first()?;
    (0..first.len())
        .map(|index| join_tensors(&requests.iter().map(|inputs| &inputs[index]).collect::<Vec<_>>()))
        .collect()
}

/// Each request's part of the outputs of a call, by its rows; none if an output does not have as many rows as all of them.
pub(super) fn part(outputs: &[Tensor], rows: &[usize]) -> Option<Vec<Vec<Tensor>>> {
    let all: usize = rows.iter().sum();
    let has_rows = |output: &Tensor| output.shape().dimensions().first() == Some(&all);
    if !outputs.iter().all(has_rows) {
        return None;
    }
    let mut start = 0;
    rows.iter()
        .map(|&rows| {
            let of_request = outputs.iter().map(|output| slice(output, start, rows)).collect();
            start += rows;
            of_request
        })
        .collect()
}

fn join_tensors(tensors: &[&Tensor]) -> Option<Tensor> {
    let mut shape = Shape::default();
    shape.try_push(tensors.iter().map(|tensor| tensor.shape().rows()).sum()).ok()?;
    for &dimension in tensors.first()?.shape().dimensions().get(1..)? {
        shape.try_push(dimension).ok()?;
    }
    macro_rules! joined {
        ($($variant:ident),*) => {
            match tensors.first()?.data() {
                $(TensorData::$variant(_) => {
                    let mut values = Vec::with_capacity(shape.element_count().ok()?);
                    for tensor in tensors {
                        let TensorData::$variant(more) = tensor.data() else { return None };
                        values.extend_from_slice(more);
                    }
                    TensorData::$variant(values)
                })*
                TensorData::Bytes(_) => {
                    let mut values = ByteStrings::default();
                    for tensor in tensors {
                        let TensorData::Bytes(more) = tensor.data() else { return None };
                        more.iter().for_each(|text| values.push(text));
                    }
                    TensorData::Bytes(values)
                }
            }
        };
    }
    let data = joined!(Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Fp16, Bf16, Fp32, Fp64);
    Tensor::try_new(shape, data).ok()
}

fn slice(tensor: &Tensor, start: usize, rows: usize) -> Option<Tensor> {
    let mut shape = Shape::default();
    shape.try_push(rows).ok()?;
    let inner = tensor.shape().dimensions().get(1..)?.to_vec();
    for &dimension in &inner {
        shape.try_push(dimension).ok()?;
    }
    let width: usize = inner.iter().product();
    let range = start * width..(start + rows) * width;
    macro_rules! sliced {
        ($($variant:ident),*) => {
            match tensor.data() {
                $(TensorData::$variant(values) => TensorData::$variant(values.get(range)?.to_vec()),)*
                TensorData::Bytes(values) => {
                    TensorData::Bytes(range.map(|index| values.get(index)).collect::<Option<ByteStrings>>()?)
                }
            }
        };
    }
    let data = sliced!(Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Fp16, Bf16, Fp32, Fp64);
    Tensor::try_new(shape, data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn floats(rows: usize, width: usize, from: f32) -> Tensor {
        let values = (0..rows * width).map(|index| from + index as f32).collect();
        Tensor::try_new(Shape::matrix(rows, width), TensorData::Fp32(values)).unwrap()
    }

    fn texts(rows: usize, from: usize) -> Tensor {
        let values = (0..rows).map(|index| format!("{}", from + index)).collect::<Vec<_>>();
        let values = values.iter().map(String::as_bytes).collect::<ByteStrings>();
        Tensor::try_new(Shape::vector(rows), TensorData::Bytes(values)).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_put_together_and_taken_apart_is_what_it_was(sizes in prop::collection::vec(0_usize..5, 1..6), width in 1_usize..4) {
            let requests: Vec<Vec<Tensor>> = sizes
                .iter()
                .enumerate()
                .map(|(index, &rows)| vec![floats(rows, width, 100.0 * index as f32), texts(rows, 50 * index)])
                .collect();
            let borrowed: Vec<&[Tensor]> = requests.iter().map(Vec::as_slice).collect();
            prop_assert!(borrowed.iter().all(|request| fit_together(borrowed[0], request)));
            let rows: Vec<usize> = borrowed.iter().map(|request| super::rows(request).unwrap()).collect();
            let joined = join(&borrowed).unwrap();
            prop_assert_eq!(part(&joined, &rows).unwrap(), requests);
        }
    }

    #[test]
    fn other_widths_types_and_numbers_of_rows_do_not_fit() {
        let request = [floats(2, 3, 0.0)];
        assert!(!fit_together(&request, &[floats(2, 4, 0.0)]));
        assert!(!fit_together(&request, &[texts(2, 0)]));
        assert!(!fit_together(&request, &[floats(2, 3, 0.0), texts(2, 0)]));
        assert_eq!(rows(&[floats(2, 3, 0.0), texts(3, 0)]), None);
        assert_eq!(part(&[floats(3, 1, 0.0)], &[1, 1]), None, "an answer of other rows belongs to nobody");
        let scalar = Tensor::try_new(Shape::default(), TensorData::Fp32(vec![1.0])).unwrap();
        assert_eq!(rows(std::slice::from_ref(&scalar)), None);
        assert!(!fit_together(std::slice::from_ref(&scalar), std::slice::from_ref(&scalar)));
    }
}
