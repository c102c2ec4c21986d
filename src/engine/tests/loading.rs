//! Which engine gets a model, and what is said when none can.

use super::*;

#[test]
fn a_loaded_graph_is_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let graph = load(&tract_alone(), &affine(), EngineChoice::Auto).unwrap();
    shared(&graph);
    assert_eq!((graph.engine_name(), graph.platform()), ("tract", "tract_onnx"));
}

/// Every engine runs the model on a row of ones, with these weights beside it.
fn assert_scales_ones_by(model: &Model, weights: &[f32]) {
    let (engines, choices) = engines();
    for choice in choices {
        let folder = Folder::new();
        folder.write("weights.bin", &weights.iter().flat_map(|weight| weight.to_le_bytes()).collect::<Vec<u8>>());
        let path = folder.write("model.onnx", &model.bytes());
        let graph = engines.load(&path, choice, &LoadOptions::default()).unwrap();
        let (width, mut outputs) = (weights.len(), Vec::new());
        graph.instance().unwrap().run(&[floats(&[1, width], &vec![1.0; width])], &mut outputs).unwrap();
        assert_eq!(outputs, [floats(&[1, width], weights)]);
    }
}

#[test]
fn a_model_answers_the_same_however_its_sessions_are_made() {
    use std::num::NonZeroUsize;
    let (engines, choices) = engines();
    for choice in choices {
        for optimization in [Optimization::Off, Optimization::Basic, Optimization::Extended, Optimization::All] {
            for (threads, parallel) in [(1, 1), (2, 1), (2, 3)] {
                let [threads, parallel] = [threads, parallel].map(|count| NonZeroUsize::new(count).unwrap());
                let folder = Folder::new();
                let path = folder.write("model.onnx", &affine().bytes());
                let options = LoadOptions { threads, parallel, optimization, ..LoadOptions::default() };
                let graph = engines.load(&path, choice, &options).unwrap();
                let inputs = synthesize_inputs(graph.signature(), 3).unwrap();
                let (mut outputs, mut usual) = (Vec::new(), Vec::new());
                graph.instance().unwrap().run(&inputs, &mut outputs).unwrap();
                let plain = engines.load(&path, choice, &LoadOptions::default()).unwrap();
                plain.instance().unwrap().run(&inputs, &mut usual).unwrap();
                assert_eq!(outputs, usual, "{choice:?} {options:?}");
            }
        }
    }
}

#[test]
fn weights_in_another_file_are_found() {
    let model = Model::new()
        .input("x", FLOAT, &[Dim::Named("N"), Dim::Of(3)])
        .external_floats("w", &[3], "weights.bin")
        .node("Mul", &["x", "w"], &["y"])
        .output("y", FLOAT, &[Dim::Named("N"), Dim::Of(3)]);
    assert_scales_ones_by(&model, &[1.0, 10.0, 100.0]);
}

#[test]
fn weights_in_another_file_are_found_for_an_edited_model_too() {
    let zip = [("classlabels_int64s", Attribute::Ints(vec![0, 1]))];
    let model = Model::new()
        .input("x", FLOAT, &[Dim::Unset, Dim::Of(2)])
        .external_floats("w", &[2], "weights.bin")
        .node("Mul", &["x", "w"], &["p"])
        .node_in("ai.onnx.ml", "ZipMap", (&["p"], &["y"]), &zip)
        .typed_output("y", &sequence_of_maps());
    assert_scales_ones_by(&model, &[1.0, 10.0]);
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
fn trees_that_tract_labels_wrongly_are_refused_for_two_classes_alone() {
    for (classes, is_refused) in [(vec![0, 1], true), (vec![0, 1, 2], false)] {
        let leaf = || Attribute::Ints(vec![0]);
        let attributes = [
            ("nodes_treeids", leaf()),
            ("nodes_nodeids", leaf()),
            ("nodes_featureids", leaf()),
            ("nodes_truenodeids", leaf()),
            ("nodes_falsenodeids", leaf()),
            ("nodes_values", Attribute::Floats(vec![0.0])),
            ("nodes_modes", Attribute::Strings(vec!["LEAF"])),
            ("class_treeids", leaf()),
            ("class_nodeids", leaf()),
            ("class_ids", leaf()),
            ("class_weights", Attribute::Floats(vec![0.8])),
            ("classlabels_int64s", Attribute::Ints(classes)),
        ];
        let model = Model::new()
            .input("x", FLOAT, &[Dim::Unset, Dim::Of(2)])
            .node_in("ai.onnx.ml", "TreeEnsembleClassifier", (&["x"], &["label", "scores"]), &attributes)
            .output("label", INT64, &[Dim::Unset]);
        match load(&tract_alone(), &model, EngineChoice::Auto) {
            Ok(_) => assert!(!is_refused),
            Err(error) => {
                assert!(is_refused, "{error}");
                assert!(
                    error.to_string().contains("its labels of two classes are wrong; install ONNX Runtime"),
                    "{error}"
                );
            }
        }
    }
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
    assert!(text.contains(&format!("passed over: {} (setting, version 1.10.0) is older than 1.18.0", old.display())));
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

/// `y = x + w`, 1,024 ones in a file beside it for `w`.
fn sum_with_weights_beside(folder: &Folder) -> PathBuf {
    folder.write("data/weights.bin", &[1.0_f32; 2048].map(f32::to_le_bytes).concat());
    let text = |key: &str, value: &str| Message::default().bytes(1, key.as_bytes()).bytes(2, value.as_bytes());
    let mut weight = Message::default().varint(1, 1024).varint(2, FLOAT).bytes(8, b"w").varint(14, 1);
    for (key, value) in [("location", "./data/weights.bin"), ("offset", "4096"), ("length", "4096")] {
        weight = weight.message(13, &text(key, value));
    }
    let shape = [Dim::Named("N"), Dim::Of(1024)];
    let model = Model::new().input("x", FLOAT, &shape).field(5, &weight);
    folder.write("model.onnx", &model.node("Add", &["x", "w"], &["y"]).output("y", FLOAT, &shape).bytes())
}

#[test]
fn weights_beside_a_model_that_others_may_write_to_are_not_mapped() {
    let (engines, choices) = engines();
    for choice in choices {
        let folder = Folder::new();
        let path = sum_with_weights_beside(&folder);
        let weights = folder.path().join("data/weights.bin");
        // A run on a mapping that is cut off would end this process, so the mapping itself is looked for.
        let is_mapped = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
            maps.contains(weights.to_str().unwrap())
        };
        let (x, expected, mut outputs) =
            ([floats(&[1, 1024], &[0.5; 1024])], [floats(&[1, 1024], &[1.5; 1024])], vec![]);
        let options = LoadOptions { files_are_sealed: true, ..LoadOptions::default() };
        let mut sealed = engines.load(&path, choice, &options).unwrap().instance().unwrap();
        sealed.run(&x, &mut outputs).unwrap();
        assert_eq!(outputs, expected);
        assert_eq!(is_mapped(), choice == EngineChoice::OnnxRuntime && cfg!(target_os = "linux"));
        drop(sealed);
        let graph = engines.load(&path, choice, &LoadOptions::default()).unwrap();
        let mut instances = [graph.instance().unwrap(), graph.instance().unwrap()];
        assert!(!is_mapped());
        std::fs::write(&weights, [7; 10]).unwrap();
        drop(graph);
        for instance in &mut instances {
            instance.run(&x, &mut outputs).unwrap();
            assert_eq!(outputs, expected);
        }
    }
}
