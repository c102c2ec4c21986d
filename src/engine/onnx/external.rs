//! Weights that lie in files beside the model, and whether they may be read from there.
//!
//! Where a weight lies is text in the model, and whoever wrote the model chose it: an engine that believes it would read
//! any file of the machine into an answer (the advisory GHSA-538c-55jv-c5g9 is about that). So every location is looked at
//! before an engine sees the model.
//!
//! Source of the field numbers: `onnx.proto3` of ONNX 1.19 (`TensorProto.external_data`, `data_location`); of the keys:
//! ONNX, "External Data".
//!
//! Invariant: a location that passes is a regular file within the model's folder that has all the bytes it is said to have.

use super::graph::number;
use super::wire::{Fields, WireError};
use std::path::{Component, Path};

/// How deep graphs may be within each other's nodes.
const DEEPEST: usize = 64;

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: u64 = 1;

/// Where a weight lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ExternalData<'a> {
    /// The weight.
    pub(super) tensor: &'a str,
    pub(super) location: &'a str,
    offset: &'a str,
    length: &'a str,
}

/// Every weight of a `ModelProto` that lies elsewhere.
pub(super) fn of_model(model: &[u8]) -> Result<Vec<ExternalData<'_>>, WireError> {
    let mut found = Vec::new();
    for field in Fields::of(model) {
        let field = field?;
        match field.number {
            number::MODEL_GRAPH => of_graph(field.fields()?, DEEPEST, &mut found)?,
            // ModelProto.functions, and FunctionProto.node
            25 => of_nodes(field.fields()?, 7, DEEPEST, &mut found)?,
            _ => {}
        }
    }
    Ok(found)
}

fn of_graph<'a>(graph: Fields<'a>, depth: usize, found: &mut Vec<ExternalData<'a>>) -> Result<(), WireError> {
    for field in graph.clone() {
        let field = field?;
        match field.number {
            5 => found.extend(of_tensor(field.fields()?)?),
            15 => of_sparse(field.fields()?, found)?,
            _ => {}
        }
    }
    of_nodes(graph, number::GRAPH_NODE, depth, found)
}

fn of_nodes<'a>(
    owner: Fields<'a>,
    node: u64,
    depth: usize,
    found: &mut Vec<ExternalData<'a>>,
) -> Result<(), WireError> {
    let depth = depth.checked_sub(1).ok_or(WireError("its graphs are nested too deeply"))?;
    for field in owner {
        let field = field?;
        if field.number != node {
            continue;
        }
        for attribute in field.fields()? {
            let attribute = attribute?;
            // NodeProto.attribute
            if attribute.number == 5 {
                of_attribute(attribute.fields()?, depth, found)?;
            }
        }
    }
    Ok(())
}

/// `AttributeProto`: t, g, tensors, graphs, sparse_tensor, sparse_tensors.
fn of_attribute<'a>(attribute: Fields<'a>, depth: usize, found: &mut Vec<ExternalData<'a>>) -> Result<(), WireError> {
    for field in attribute {
        let field = field?;
        match field.number {
            5 | 10 => found.extend(of_tensor(field.fields()?)?),
            6 | 11 => of_graph(field.fields()?, depth, found)?,
            22 | 23 => of_sparse(field.fields()?, found)?,
            _ => {}
        }
    }
    Ok(())
}

/// `SparseTensorProto`: values, indices.
fn of_sparse<'a>(sparse: Fields<'a>, found: &mut Vec<ExternalData<'a>>) -> Result<(), WireError> {
    for field in sparse {
        let field = field?;
        if matches!(field.number, 1 | 2) {
            found.extend(of_tensor(field.fields()?)?);
        }
    }
    Ok(())
}

fn of_tensor(tensor: Fields<'_>) -> Result<Option<ExternalData<'_>>, WireError> {
    let (mut data, mut is_external) = (ExternalData::default(), false);
    for field in tensor {
        let field = field?;
        match field.number {
            8 => data.tensor = field.text()?,
            13 => {
                is_external = true;
                let (mut key, mut value) = ("", "");
                for entry in field.fields()? {
                    let entry = entry?;
                    match entry.number {
                        1 => key = entry.text()?,
                        2 => value = entry.text()?,
                        _ => {}
                    }
                }
                match key {
                    "location" => data.location = value,
                    "offset" => data.offset = value,
                    "length" => data.length = value,
                    _ => {}
                }
            }
            14 => is_external |= field.varint()? == EXTERNAL,
            _ => {}
        }
    }
    Ok(is_external.then_some(data))
}

impl ExternalData<'_> {
    /// Whether the weight may be read from where it lies, in files beside the model in `folder`.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn check(&self, folder: &Path) -> Result<(), String> {
        let location = Path::new(self.location);
        let is_within = location.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if self.location.is_empty() || !is_within || self.location.contains(['\\', '\0']) {
            return Err("expected a path within the version's directory".to_owned());
        }
        let path = folder.join(location);
        let failed = |cause: std::io::Error| format!("it cannot be read: {cause}");
        let (real, home) = (path.canonicalize().map_err(failed)?, folder.canonicalize().map_err(failed)?);
        if !real.starts_with(home) {
            return Err("it is a link that leads out of the version's directory".to_owned());
        }
        let file = real.metadata().map_err(failed)?;
        if !file.is_file() {
            return Err("it is no file".to_owned());
        }
        let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
        let end = number(self.offset).zip(number(self.length)).and_then(|(offset, length)| offset.checked_add(length));
        match end {
            None => Err(format!("offset {:?} and length {:?} are no numbers of bytes", self.offset, self.length)),
            Some(end) if end > file.len() => Err(format!("it should have at least {end} bytes and has {}", file.len())),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::onnx::wire::Message;
    use std::fs;

    fn tensor(name: &str, entries: &[(&str, &str)]) -> Message {
        let mut tensor = Message::default().bytes(8, name.as_bytes()).varint(14, EXTERNAL);
        for (key, value) in entries {
            tensor = tensor.message(13, &Message::default().bytes(1, key.as_bytes()).bytes(2, value.as_bytes()));
        }
        tensor
    }

    fn graph(tensor: &Message) -> Message {
        Message::default().message(5, tensor)
    }

    /// A node with an attribute.
    fn node(field: u64, value: &Message) -> Message {
        Message::default().message(5, &Message::default().message(field, value))
    }

    #[test]
    fn weights_are_found_wherever_a_model_can_have_them() {
        let weight = |name| tensor(name, &[("location", "w")]);
        let sparse = |name| Message::default().message(1, &weight(name));
        let inner = graph(&weight("body"));
        let main = graph(&weight("initializer"))
            .message(15, &sparse("sparse"))
            .message(1, &node(5, &weight("constant")))
            .message(1, &node(10, &weight("constants")))
            .message(1, &node(6, &inner))
            .message(1, &node(11, &inner))
            .message(1, &node(22, &sparse("sparse constant")));
        let function = Message::default().message(7, &node(5, &weight("function")));
        let model = Message::default().message(number::MODEL_GRAPH, &main).message(25, &function).into_bytes();
        let mut names: Vec<&str> = of_model(&model).unwrap().iter().map(|data| data.tensor).collect();
        names.sort_unstable();
        let expected =
            ["body", "body", "constant", "constants", "function", "initializer", "sparse", "sparse constant"];
        assert_eq!(names, expected);
    }

    #[test]
    fn graphs_within_graphs_without_end_are_refused() {
        let mut inner = Message::default();
        for _ in 0..=DEEPEST {
            inner = Message::default().message(1, &node(6, &inner));
        }
        let model = Message::default().message(number::MODEL_GRAPH, &inner).into_bytes();
        assert_eq!(of_model(&model), Err(WireError("its graphs are nested too deeply")));
    }

    #[test]
    fn only_whole_files_within_the_folder_pass() {
        let folder = tempfile::tempdir().unwrap();
        let version = folder.path().join("1");
        fs::create_dir_all(version.join("data")).unwrap();
        fs::write(folder.path().join("secret"), [1; 64]).unwrap();
        fs::write(version.join("data/w"), [0; 64]).unwrap();
        std::os::unix::fs::symlink("../secret", version.join("out")).unwrap();
        std::os::unix::fs::symlink("data/w", version.join("in")).unwrap();
        let check = |location, offset, length| ExternalData { tensor: "w", location, offset, length }.check(&version);
        for (offset, length) in [("", ""), ("0", "64"), ("32", "32"), ("64", "0")] {
            assert_eq!(check("data/w", offset, length), Ok(()));
        }
        assert_eq!(check("in", "", ""), Ok(()), "a link within the directory, as volumes of Kubernetes have them");
        let absolute = folder.path().join("secret");
        for location in ["", "../secret", "data/../../secret", absolute.to_str().unwrap(), "a\\b"] {
            assert!(check(location, "", "").unwrap_err().contains("within the version's directory"), "{location:?}");
        }
        assert!(check("out", "", "").unwrap_err().contains("leads out"));
        assert!(check("absent", "", "").unwrap_err().contains("cannot be read"));
        assert!(check("data", "", "").unwrap_err().contains("no file"));
        assert!(check("data/w", "33", "32").unwrap_err().contains("at least 65 bytes and has 64"));
        for (offset, length) in [("-1", ""), ("x", "1"), ("18446744073709551615", "1")] {
            assert!(check("data/w", offset, length).unwrap_err().contains("no numbers"), "{offset}");
        }
    }
}
