//! Both engines, run on the same models. What needs ONNX Runtime stands here and nowhere else, because a process has one:
//! `TIDEGATE_TEST_ORT` says where its library is, else the Python environment `target/python` is looked at, else those
//! parts say why they are left out.

use super::onnx::samples::{
    Attribute, Dim, FLOAT, Folder, INT64, Model, STRING, affine, identity, scaler, tensor_type, zipped_classifier,
};
use super::*;
use crate::error::{Blamed, Fault};
use crate::tensor::{ByteStrings, Shape, TensorData};
use std::path::{Path, PathBuf};

/// Where the tests look for ONNX Runtime.
fn test_search() -> RuntimeSearch {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python");
    RuntimeSearch {
        explicit: std::env::var_os("TIDEGATE_TEST_ORT").map(PathBuf::from),
        python_environments: vec![environment],
        ..RuntimeSearch::default()
    }
}

/// Both engines, where both are there.
fn engines() -> (Engines, Vec<EngineChoice>) {
    let engines = Engines::discover(&test_search());
    let mut choices = vec![EngineChoice::Tract];
    if engines.onnx_runtime().is_some() {
        choices.push(EngineChoice::OnnxRuntime);
    } else {
        println!("without ONNX Runtime: set TIDEGATE_TEST_ORT to its library ({:?})", engines.report());
    }
    (engines, choices)
}

/// Engines without ONNX Runtime, whatever the process has loaded.
fn tract_alone() -> Engines {
    Engines::discover(&RuntimeSearch::default())
}

fn load(engines: &Engines, model: &Model, choice: EngineChoice) -> Result<LoadedGraph, EngineError> {
    let folder = Folder::new();
    let path = folder.write("model.onnx", &model.bytes());
    engines.load(&path, choice, &LoadOptions::default())
}

fn refusal(engines: &Engines, model: &Model, choice: EngineChoice) -> String {
    load(engines, model, choice).unwrap_err().to_string()
}

/// Runs one instance of `model` on `inputs` with each engine and hands over the outputs.
fn with_each_engine(model: &Model, inputs: &[Tensor], mut check: impl FnMut(&LoadedGraph, &[Tensor])) {
    let (engines, choices) = engines();
    for choice in choices {
        let graph = load(&engines, model, choice).unwrap();
        graph.signature().check(inputs).unwrap();
        let mut outputs = Vec::new();
        graph.instance().unwrap().run(inputs, &mut outputs).unwrap();
        check(&graph, &outputs);
    }
}

fn tensor(shape: &[usize], data: TensorData) -> Tensor {
    Tensor::try_new(Shape::try_new(shape).unwrap(), data).unwrap()
}

fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    tensor(shape, TensorData::Fp32(values.to_vec()))
}

fn strings(shape: &[usize], values: &[&[u8]]) -> Tensor {
    tensor(shape, TensorData::Bytes(values.iter().collect::<ByteStrings>()))
}

/// Two values of every datatype but BF16, at the edges of their ranges, with the number of their element type.
fn edge_values() -> Vec<(u64, TensorData)> {
    vec![
        (1, TensorData::Fp32(vec![f32::NEG_INFINITY, f32::MIN_POSITIVE / 2.0])),
        (2, TensorData::Uint8(vec![0, u8::MAX])),
        (3, TensorData::Int8(vec![i8::MIN, i8::MAX])),
        (4, TensorData::Uint16(vec![0, u16::MAX])),
        (5, TensorData::Int16(vec![i16::MIN, i16::MAX])),
        (6, TensorData::Int32(vec![i32::MIN, i32::MAX])),
        (7, TensorData::Int64(vec![i64::MIN, i64::MAX])),
        (8, TensorData::Bytes([b"".as_slice(), "Größe ✓".as_bytes()].into_iter().collect())),
        (9, TensorData::Bool(vec![true, false])),
        (10, TensorData::Fp16(vec![half::f16::MIN, half::f16::INFINITY])),
        (11, TensorData::Fp64(vec![f64::MIN, f64::EPSILON])),
        (12, TensorData::Uint32(vec![0, u32::MAX])),
        (13, TensorData::Uint64(vec![0, u64::MAX])),
    ]
}

#[test]
fn a_loaded_graph_is_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let graph = load(&tract_alone(), &affine(), EngineChoice::Auto).unwrap();
    shared(&graph);
    assert_eq!((graph.engine_name(), graph.platform()), ("tract", "tract_onnx"));
}

#[test]
fn every_datatype_goes_in_and_comes_out_unchanged() {
    for (element_type, data) in edge_values() {
        for shape in [vec![2], vec![1, 2, 1]] {
            let dims: Vec<Dim> = shape.iter().map(|_| Dim::Unset).collect();
            let input = tensor(&shape, data.clone());
            with_each_engine(&identity(element_type, &dims), std::slice::from_ref(&input), |graph, outputs| {
                assert_eq!(outputs, std::slice::from_ref(&input), "{}", graph.engine_name());
            });
        }
    }
}

#[test]
fn no_rows_give_no_rows() {
    for (element_type, data) in edge_values() {
        let input = tensor(&[0, 2], TensorData::with_capacity(data.datatype(), 0));
        with_each_engine(
            &identity(element_type, &[Dim::Unset, Dim::Of(2)]),
            std::slice::from_ref(&input),
            |_, outputs| {
                assert_eq!(outputs, std::slice::from_ref(&input));
            },
        );
    }
    with_each_engine(&affine(), &[floats(&[0, 3], &[])], |_, outputs| assert_eq!(outputs, [floats(&[0, 2], &[])]));
}

#[test]
fn brain_floats_need_onnx_runtime() {
    let model = identity(16, &[Dim::Unset]);
    assert!(refusal(&tract_alone(), &model, EngineChoice::Auto).contains("input \"x\" cannot be served"));
    let (engines, choices) = engines();
    if choices.contains(&EngineChoice::OnnxRuntime) {
        let graph = load(&engines, &model, EngineChoice::Auto).unwrap();
        let input = tensor(&[2], TensorData::Bf16(vec![half::bf16::MIN, half::bf16::EPSILON]));
        let mut outputs = Vec::new();
        graph.instance().unwrap().run(std::slice::from_ref(&input), &mut outputs).unwrap();
        assert_eq!(outputs, [input]);
    }
}

#[test]
fn an_affine_model_gives_exact_values_for_any_number_of_rows() {
    let (engines, choices) = engines();
    for choice in choices {
        let graph = load(&engines, &affine(), choice).unwrap();
        let mut instance = graph.instance().unwrap();
        let mut outputs = Vec::new();
        for rows in [1, 3, 64, 2, 1] {
            let input: Vec<f32> = (0..rows).flat_map(|row| [row as f32, 2.0, 4.0]).collect();
            let expected: Vec<f32> = (0..rows).flat_map(|row| [row as f32 + 4.5, -2.5]).collect();
            instance.run(&[floats(&[rows, 3], &input)], &mut outputs).unwrap();
            assert_eq!(outputs, [floats(&[rows, 2], &expected)]);
        }
    }
}

#[test]
fn inputs_and_outputs_of_several_datatypes_keep_their_order() {
    let model = Model::new()
        .input("b", INT64, &[Dim::Named("N")])
        .input("a", FLOAT, &[Dim::Named("N"), Dim::Of(2)])
        .node("Relu", &["a"], &["z"])
        .node("Neg", &["b"], &["y"])
        .node("Shape", &["a"], &["x"])
        .output("z", FLOAT, &[Dim::Named("N"), Dim::Of(2)])
        .output("y", INT64, &[Dim::Named("N")])
        .output("x", INT64, &[Dim::Of(2)]);
    let inputs = [tensor(&[2], TensorData::Int64(vec![1, -7])), floats(&[2, 2], &[1.0, -2.0, -3.0, 4.0])];
    let expected = [
        floats(&[2, 2], &[1.0, 0.0, 0.0, 4.0]),
        tensor(&[2], TensorData::Int64(vec![-1, 7])),
        tensor(&[2], TensorData::Int64(vec![2, 2])),
    ];
    with_each_engine(&model, &inputs, |graph, outputs| assert_eq!(outputs, expected, "{}", graph.engine_name()));
}

#[test]
fn inputs_whose_rows_have_no_name_can_be_combined() {
    let table = [Dim::Unset, Dim::Of(2)];
    let model = Model::new()
        .input("a", FLOAT, &table)
        .input("b", FLOAT, &table)
        .node_in("", "Concat", (&["a", "b"], &["wide"]), &[("axis", Attribute::Int(1))])
        .output("wide", FLOAT, &[Dim::Unset, Dim::Of(4)]);
    let inputs = [floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), floats(&[2, 2], &[5.0, 6.0, 7.0, 8.0])];
    let expected = floats(&[2, 4], &[1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0]);
    with_each_engine(&model, &inputs, |_, outputs| assert_eq!(outputs, std::slice::from_ref(&expected)));
}

#[test]
fn shapes_left_over_from_an_export_with_a_fixed_batch_do_not_matter() {
    let model = affine().note("product", &[Dim::Of(1), Dim::Of(2)]);
    with_each_engine(&model, &[floats(&[2, 3], &[0.0; 6])], |_, outputs| {
        assert_eq!(outputs, [floats(&[2, 2], &[0.5, -0.5, 0.5, -0.5])]);
    });
}

#[test]
fn a_zipped_classifier_gives_a_label_and_a_probability_for_each_class() {
    let model = zipped_classifier(Attribute::Ints(vec![10, 20, 30]));
    with_each_engine(&model, &[floats(&[2, 2], &[2.0, 0.0, 0.0, 0.0])], |graph, outputs| {
        assert_eq!(graph.signature().outputs[1].name, "output_probability");
        assert_eq!(outputs[0], tensor(&[2], TensorData::Int64(vec![2, 0])));
        let TensorData::Fp32(probabilities) = outputs[1].data() else { panic!("{outputs:?}") };
        assert_eq!(outputs[1].shape().dimensions(), [2, 3]);
        let weights = [0.0_f32, 2.0, 4.0].map(f32::exp);
        let total: f32 = weights.iter().sum();
        let expected = weights.map(|weight| weight / total).into_iter().chain([1.0 / 3.0; 3]);
        for (found, expected) in probabilities.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{probabilities:?}");
        }
    });
}

#[test]
fn strings_must_be_text() {
    let (engines, choices) = engines();
    for choice in choices {
        let mut instance = load(&engines, &identity(STRING, &[Dim::Unset]), choice).unwrap().instance().unwrap();
        let mut outputs = Vec::new();
        for bytes in [b"\xff".as_slice(), b"a\0b"] {
            let error = instance.run(&[strings(&[1], &[bytes])], &mut outputs).unwrap_err();
            assert_eq!(error.fault(), Fault::InvalidRequest);
        }
        let input = strings(&[1], &[b"still works"]);
        instance.run(std::slice::from_ref(&input), &mut outputs).unwrap();
        assert_eq!(outputs, [input]);
    }
}

#[test]
fn a_run_that_fails_tells_the_caller_no_detail_and_leaves_the_instance_usable() {
    let (engines, choices) = engines();
    for choice in choices {
        let mut instance = load(&engines, &affine(), choice).unwrap().instance().unwrap();
        let mut outputs = Vec::new();
        let good = floats(&[4, 3], &[0.0; 12]);
        instance.run(std::slice::from_ref(&good), &mut outputs).unwrap();
        let bad = [vec![floats(&[5, 2], &[0.0; 10])], Vec::new(), vec![good.clone(), good.clone()]];
        for inputs in bad {
            let error = instance.run(&inputs, &mut outputs).unwrap_err();
            assert!(matches!(error, EngineError::RunFailed { .. }), "{error}");
            assert_eq!(error.public_text(), "the model failed on this request; the server's log has the cause");
            assert!(outputs.is_empty());
        }
        instance.run(std::slice::from_ref(&good), &mut outputs).unwrap();
        assert_eq!(outputs[0].shape().dimensions(), [4, 2]);
    }
}

#[test]
fn warming_runs_the_model_on_any_number_of_rows() {
    let (engines, choices) = engines();
    for choice in choices {
        let graph = load(&engines, &affine(), choice).unwrap();
        let mut instance = graph.instance().unwrap();
        for rows in [0, 1, 17] {
            warm(&mut *instance, graph.signature(), rows).unwrap();
        }
    }
}

#[test]
fn instances_of_one_graph_run_side_by_side() {
    let (engines, choices) = engines();
    for choice in choices {
        let graph = load_kept(&engines, &affine(), choice);
        std::thread::scope(|scope| {
            for worker in 0..3_u16 {
                let graph = &graph.1;
                scope.spawn(move || {
                    let mut instance = graph.instance().unwrap();
                    let mut outputs = Vec::new();
                    for call in 0..50_u16 {
                        let first = f32::from(worker * 100 + call);
                        instance.run(&[floats(&[1, 3], &[first, 0.0, 0.0])], &mut outputs).unwrap();
                        assert_eq!(outputs, [floats(&[1, 2], &[first + 0.5, -0.5])]);
                    }
                });
            }
        });
    }
}

/// Loads a model whose file stays.
fn load_kept(engines: &Engines, model: &Model, choice: EngineChoice) -> (Folder, LoadedGraph) {
    let folder = Folder::new();
    let path = folder.write("model.onnx", &model.bytes());
    let graph = engines.load(&path, choice, &LoadOptions::default()).unwrap();
    (folder, graph)
}

#[test]
fn weights_in_another_file_are_found() {
    let weights: Vec<u8> = [1.0_f32, 10.0, 100.0].iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let model = Model::new()
        .input("x", FLOAT, &[Dim::Named("N"), Dim::Of(3)])
        .external_floats("w", &[3], "weights.bin")
        .node("Mul", &["x", "w"], &["y"])
        .output("y", FLOAT, &[Dim::Named("N"), Dim::Of(3)]);
    let (engines, choices) = engines();
    for choice in choices {
        let folder = Folder::new();
        folder.write("weights.bin", &weights);
        let path = folder.write("model.onnx", &model.bytes());
        let graph = engines.load(&path, choice, &LoadOptions::default()).unwrap();
        let mut outputs = Vec::new();
        graph.instance().unwrap().run(&[floats(&[1, 3], &[1.0; 3])], &mut outputs).unwrap();
        assert_eq!(outputs, [floats(&[1, 3], &[1.0, 10.0, 100.0])]);
    }
}

#[test]
fn weights_in_another_file_are_found_for_an_edited_model_too() {
    let weights: Vec<u8> = [1.0_f32, 10.0].iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let zip = [("classlabels_int64s", Attribute::Ints(vec![0, 1]))];
    let model = Model::new()
        .input("x", FLOAT, &[Dim::Unset, Dim::Of(2)])
        .external_floats("w", &[2], "weights.bin")
        .node("Mul", &["x", "w"], &["p"])
        .node_in("ai.onnx.ml", "ZipMap", (&["p"], &["y"]), &zip)
        .typed_output("y", &super::onnx::samples::sequence_of_maps());
    let (engines, choices) = engines();
    for choice in choices {
        let folder = Folder::new();
        folder.write("weights.bin", &weights);
        let path = folder.write("model.onnx", &model.bytes());
        let graph = engines.load(&path, choice, &LoadOptions::default()).unwrap();
        let mut outputs = Vec::new();
        graph.instance().unwrap().run(&[floats(&[1, 2], &[1.0; 2])], &mut outputs).unwrap();
        assert_eq!(outputs, [floats(&[1, 2], &[1.0, 10.0])]);
    }
}

#[test]
fn operators_that_tract_does_not_have_are_listed_with_the_way_to_get_them() {
    let model = scaler().node_in("custom", "Frobnicate", (&["x"], &["unused"]), &[]);
    let text = refusal(&tract_alone(), &model, EngineChoice::Auto);
    assert!(
        text.contains("model.onnx: the embedded engine does not have ai.onnx.ml.Scaler, custom.Frobnicate; "),
        "{text}"
    );
    assert!(text.contains("`pip install onnxruntime`") && text.contains("ORT_DYLIB_PATH"), "{text}");
}

#[test]
fn an_operator_of_a_foreign_domain_is_not_taken_for_the_standard_one() {
    let model = Model::new()
        .importing(&[("", 17), ("custom", 1)])
        .input("x", FLOAT, &[Dim::Unset])
        .node_in("custom", "Neg", (&["x"], &["y"]), &[])
        .output("y", FLOAT, &[Dim::Unset]);
    assert!(refusal(&tract_alone(), &model, EngineChoice::Auto).contains("custom.Neg"));
}

#[test]
fn an_operator_that_tract_cannot_use_is_named_with_its_node() {
    let model = affine().floats("narrow", &[4, 2], &[0.0; 8]).node("MatMul", &["x", "narrow"], &["unfit"]);
    let model = model.output("unfit", FLOAT, &[Dim::Named("N"), Dim::Of(2)]);
    let error = load(&tract_alone(), &model, EngineChoice::Auto).unwrap_err();
    assert_eq!(error.fault(), Fault::Unavailable);
    let text = error.to_string();
    assert!(text.contains("tract cannot use operator MatMul of node \"MatMul_of_x\": "), "{text}");
}

#[test]
fn an_output_of_another_datatype_than_declared_is_refused() {
    let model = Model::new()
        .input("x", FLOAT, &[Dim::Unset])
        .node("Relu", &["x"], &["y"])
        .typed_output("y", &tensor_type(INT64, Some(&[Dim::Unset])));
    let (engines, choices) = engines();
    for choice in choices {
        assert!(matches!(load(&engines, &model, choice), Err(EngineError::LoadFailed { .. })));
    }
}

#[test]
fn onnx_runtime_asked_for_by_name_and_absent_is_an_error_with_the_way_to_get_it() {
    let folder = Folder::new();
    let old = folder.write("libonnxruntime.so.1.10.0", b"text");
    let engines = Engines::discover(&RuntimeSearch { explicit: Some(old.clone()), ..RuntimeSearch::default() });
    let text = refusal(&engines, &affine(), EngineChoice::OnnxRuntime);
    assert!(text.contains("ONNX Runtime was not found; install ONNX Runtime"), "{text}");
    assert!(text.contains(&format!("passed over: {} (setting, version 1.10.0) is older than 1.17.0", old.display())));
    assert_eq!(load(&engines, &affine(), EngineChoice::Auto).unwrap().engine_name(), "tract");
}

#[test]
fn automatic_choice_prefers_onnx_runtime_and_falls_back_with_both_reasons() {
    let (engines, choices) = engines();
    if !choices.contains(&EngineChoice::OnnxRuntime) {
        return;
    }
    let graph = load(&engines, &scaler(), EngineChoice::Auto).unwrap();
    assert_eq!((graph.engine_name(), graph.platform()), ("onnxruntime", "onnxruntime_onnx"));
    let mut outputs = Vec::new();
    graph.instance().unwrap().run(&[floats(&[1, 2], &[2.0, 0.0])], &mut outputs).unwrap();
    assert_eq!(outputs, [floats(&[1, 2], &[2.0, -2.0])]);
    let text = refusal(&engines, &scaler(), EngineChoice::Tract);
    assert!(text.contains("set the engine to \"auto\" to use ONNX Runtime"), "{text}");

    let unknown = affine().node_in("custom", "Frobnicate", (&["x"], &["unused"]), &[]);
    let EngineError::NoEngine { onnx_runtime, tract } = load(&engines, &unknown, EngineChoice::Auto).unwrap_err()
    else {
        panic!("both engines fail");
    };
    assert!(matches!(*onnx_runtime, EngineError::LoadFailed { .. }), "{onnx_runtime}");
    assert!(matches!(*tract, EngineError::UnsupportedOperators { .. }), "{tract}");
}

#[test]
fn a_model_that_onnx_runtime_refuses_and_tract_runs_is_served() {
    let (engines, choices) = engines();
    if !choices.contains(&EngineChoice::OnnxRuntime) {
        return;
    }
    // ONNX Runtime knows no such operator set; tract does not look.
    let model = affine().importing(&[("", 9_999)]);
    assert!(load(&engines, &model, EngineChoice::OnnxRuntime).is_err());
    assert_eq!(load(&engines, &model, EngineChoice::Auto).unwrap().engine_name(), "tract");
}

#[test]
fn a_replaced_file_is_not_mixed_with_the_loaded_one() {
    let (engines, choices) = engines();
    for choice in choices {
        let (folder, graph) = load_kept(&engines, &affine(), choice);
        let mut first = graph.instance().unwrap();
        folder.write("model.onnx", &identity(FLOAT, &[Dim::Unset, Dim::Of(3)]).bytes());
        let second = graph.instance();
        if choice == EngineChoice::OnnxRuntime {
            assert!(matches!(second, Err(EngineError::Replaced { .. })));
        } else {
            assert!(second.is_ok(), "tract has all of it in memory");
        }
        let mut outputs = Vec::new();
        first.run(&[floats(&[1, 3], &[0.0; 3])], &mut outputs).unwrap();
        assert_eq!(outputs, [floats(&[1, 2], &[0.5, -0.5])]);
    }
}

#[test]
fn a_second_discovery_shares_the_runtime_and_another_library_is_passed_over() {
    let (first, choices) = engines();
    let Some(info) = first.onnx_runtime().filter(|_| choices.len() > 1) else { return };
    let again = RuntimeSearch { ort_dylib_path: Some(info.path.clone()), ..RuntimeSearch::default() };
    assert_eq!(Engines::discover(&again).onnx_runtime(), Some(info));

    let folder = Folder::new();
    let copy = folder.path().join("libonnxruntime.so");
    std::fs::copy(&info.path, &copy).unwrap();
    let other = Engines::discover(&RuntimeSearch { explicit: Some(copy), ..RuntimeSearch::default() });
    assert_eq!(other.onnx_runtime(), None);
    let report = &other.report()[0];
    assert_eq!(report.version, Some(info.version), "read from the bytes, since the name has none");
    assert!(report.to_string().contains("this process already uses"), "{report}");
}

#[test]
fn control_flow_is_run_by_both_engines() {
    let branch = |operator: &str, output: &str| {
        Model::new().node(operator, &["x"], &[output]).output(output, FLOAT, &[Dim::Named("N")]).graph()
    };
    let branches =
        [("then_branch", Attribute::Body(branch("Neg", "t"))), ("else_branch", Attribute::Body(branch("Relu", "e")))];
    let model = Model::new()
        .input("c", 9, &[])
        .input("x", FLOAT, &[Dim::Named("N")])
        .node_in("", "If", (&["c"], &["y"]), &branches)
        .output("y", FLOAT, &[Dim::Named("N")]);
    let inputs = [tensor(&[], TensorData::Bool(vec![true])), floats(&[2], &[1.0, -1.0])];
    with_each_engine(&model, &inputs, |_, outputs| assert_eq!(outputs, [floats(&[2], &[-1.0, 1.0])]));
}
