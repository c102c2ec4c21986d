//! How often at a time and in what batches a `config.pbtxt` wants a model to run.
//!
//! `dynamic_batching` puts waiting requests together into calls of up to `max_batch_size` rows, or of the largest
//! preferred size, which is what Triton makes of requests that have piled up; a model with `max_batch_size` 0 is not
//! batched there, whatever else is said. Instances are those of all groups: one on a graphics card becomes one on the
//! processor, and that is said. What is not understood here costs speed at most and no answer, so it is listed and not
//! refused as elsewhere in the file.
//!
//! Invariant: a field within either key has an effect or is listed.

use super::{message, whole_number, wrong_kind};
use crate::catalog::TritonExecution;
use crate::registry::pbtxt::{Field, Message, Problem, Value};
use std::num::NonZeroU32;
use std::time::Duration;

/// The longest delay that is taken over, as `execution.batch_delay` has it.
const DELAY_LIMIT: Duration = Duration::from_secs(60);
/// The most instances that are taken over, as `execution.instances` has it.
const INSTANCES_LIMIT: u32 = 64;

/// What the keys `dynamic_batching` and `instance_group` say; what of them has no effect goes to `not_used`.
///
/// # Errors
/// A [`Problem`] when a field that is used has a value of another kind.
pub(super) fn execution(
    file: &Message,
    max_batch_size: Option<NonZeroU32>,
    not_used: &mut Vec<String>,
) -> Result<TritonExecution, Problem> {
    let mut wanted = TritonExecution::default();
    if let Some(field) = file.single("dynamic_batching")? {
        match max_batch_size {
            Some(limit) => batching(message(field)?, limit, &mut wanted, not_used)?,
            None => not_used.push("dynamic_batching without max_batch_size".to_owned()),
        }
    }
    let mut count = 0_u32;
    for field in file.fields.iter().filter(|field| field.name == "instance_group") {
        for group in field.values() {
            let Value::Message(group) = group else { return Err(wrong_kind(field, "messages in braces", group)) };
            count = count.saturating_add(instances(group, not_used)?);
        }
    }
    wanted.instances = NonZeroU32::new(count.min(INSTANCES_LIMIT));
    Ok(wanted)
}

fn batching(
    message: &Message,
    limit: NonZeroU32,
    wanted: &mut TritonExecution,
    not_used: &mut Vec<String>,
) -> Result<(), Problem> {
    let mut preferred: Option<NonZeroU32> = None;
    for field in &message.fields {
        match field.name.as_str() {
            "preferred_batch_size" => {
                for value in field.values() {
                    let size = u32::try_from(whole_number(field, value)?).ok().and_then(NonZeroU32::new);
                    let size = size.filter(|size| *size <= limit).ok_or_else(|| {
                        field.problem(format!("expected preferred_batch_size from 1 to max_batch_size, {limit}"))
                    })?;
                    preferred = preferred.max(Some(size));
                }
            }
            "max_queue_delay_microseconds" => {
                let delay = u64::try_from(whole_number(field, &field.value)?);
                let delay = delay.map_err(|_not| field.problem("expected a delay from 0 to 2^64 - 1".to_owned()))?;
                wanted.batch_delay = Some(Duration::from_micros(delay).min(DELAY_LIMIT));
            }
            name => list(not_used, format!("dynamic_batching.{name}")),
        }
    }
    wanted.max_batch = Some(preferred.unwrap_or(limit));
    Ok(())
}

/// Instances of a group; none if it does not say how many.
fn instances(group: &Message, not_used: &mut Vec<String>) -> Result<u32, Problem> {
    let mut count = 0;
    for field in &group.fields {
        match field.name.as_str() {
            "name" => {}
            "count" => {
                count = u32::try_from(whole_number(field, &field.value)?)
                    .map_err(|_not| field.problem("expected a count from 0 to 2^32 - 1".to_owned()))?;
            }
            "kind" => kind(field, not_used)?,
            name => list(not_used, format!("instance_group.{name}")),
        }
    }
    Ok(count)
}

fn kind(field: &Field, not_used: &mut Vec<String>) -> Result<(), Problem> {
    match &field.value {
        Value::Name(kind) if kind == "KIND_GPU" => {
            list(not_used, "instance_group.kind KIND_GPU (runs on the CPU)".to_owned());
        }
        Value::Name(kind) if ["KIND_CPU", "KIND_AUTO", "KIND_MODEL"].contains(&kind.as_str()) => {}
        value => return Err(wrong_kind(field, "KIND_AUTO, KIND_CPU, KIND_GPU or KIND_MODEL", value)),
    }
    Ok(())
}

fn list(not_used: &mut Vec<String>, name: String) {
    if !not_used.contains(&name) {
        not_used.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(TritonExecution, Vec<String>), String> {
        let read = |file: Message| super::super::interpret(&file, "m");
        let config = text.parse().and_then(read).map_err(|problem: Problem| problem.to_string())?;
        Ok((config.execution, config.not_used))
    }

    fn wanted(max_batch: u32, delay: Option<u64>, instances: u32) -> TritonExecution {
        TritonExecution {
            max_batch: NonZeroU32::new(max_batch),
            batch_delay: delay.map(Duration::from_micros),
            instances: NonZeroU32::new(instances),
        }
    }

    /// As the tutorials of Triton write it.
    const WHOLE: &str = r#"
name: "m"
platform: "onnxruntime_onnx"
max_batch_size: 32
input [ { name: "x" data_type: TYPE_FP32 dims: [ 30 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] } ]
dynamic_batching {
  preferred_batch_size: [ 4, 16 ]
  max_queue_delay_microseconds: 100
  preserve_ordering: true
  default_queue_policy { timeout_action: REJECT }
}
instance_group [
  { count: 2 kind: KIND_CPU },
  { count: 1 kind: KIND_GPU gpus: [ 0 ] }
]
"#;

    #[test]
    fn a_whole_file_says_how_the_model_runs() {
        let (execution, not_used) = read(WHOLE).unwrap();
        assert_eq!(execution, wanted(16, Some(100), 3));
        let expected = [
            "dynamic_batching.preserve_ordering",
            "dynamic_batching.default_queue_policy",
            "instance_group.kind KIND_GPU (runs on the CPU)",
            "instance_group.gpus",
        ];
        assert_eq!(not_used, expected);
    }

    #[test]
    fn what_is_not_said_is_left_open() {
        assert_eq!(read("max_batch_size: 8").unwrap(), (wanted(0, None, 0), Vec::new()));
        assert_eq!(read("max_batch_size: 8 dynamic_batching {}").unwrap(), (wanted(8, None, 0), Vec::new()));
        let without = "dynamic_batching { max_queue_delay_microseconds: 5 }";
        let expected = (wanted(0, None, 0), vec!["dynamic_batching without max_batch_size".to_owned()]);
        assert_eq!(read(without).unwrap(), expected);
        assert_eq!(read("instance_group [{ kind: KIND_AUTO name: \"a\" }]").unwrap(), (wanted(0, None, 0), Vec::new()));
        let repeated = "instance_group { count: 60 } instance_group { count: 60 }";
        assert_eq!(read(repeated).unwrap(), (wanted(0, None, INSTANCES_LIMIT), Vec::new()));
    }

    #[test]
    fn values_of_other_kinds_are_problems_with_their_line() {
        for (text, expected) in [
            ("max_batch_size: 8\ndynamic_batching: true", "line 2: expected a message in braces for dynamic_batching"),
            (
                "max_batch_size: 8 dynamic_batching {\npreferred_batch_size: [4, 9]}",
                "line 2: expected preferred_batch_size from 1 to max_batch_size, 8",
            ),
            (
                "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: -1 }",
                "line 1: expected a delay from 0 to 2^64 - 1",
            ),
            ("instance_group: 2", "line 1: expected messages in braces for instance_group, found a whole number"),
            ("instance_group [{ count: -1 }]", "line 1: expected a count from 0 to 2^32 - 1"),
            ("instance_group [{ kind: KIND_TPU }]", "line 1: expected KIND_AUTO, KIND_CPU, KIND_GPU or KIND_MODEL"),
        ] {
            let problem = read(text).unwrap_err();
            assert!(problem.starts_with(expected), "{text}: {problem}");
        }
    }
}
