//! What goes into a model and what comes out, the same with both engines.

use super::*;

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
fn shapes_that_come_again_in_any_order_get_their_own_answers() {
    let (engines, choices) = engines();
    for choice in choices {
        let graph = load(&engines, &affine(), choice).unwrap();
        let (mut instance, mut outputs) = (graph.instance().unwrap(), Vec::new());
        // More shapes than are kept, some often and some seldom.
        for step in 0..300_usize {
            let rows = if step % 3 == 0 { 1 } else { 1 + step * step % 13 };
            let input: Vec<f32> = (0..rows).flat_map(|row| [(row + step) as f32, 2.0, 4.0]).collect();
            let expected: Vec<f32> = (0..rows).flat_map(|row| [(row + step) as f32 + 4.5, -2.5]).collect();
            instance.run(&[floats(&[rows, 3], &input)], &mut outputs).unwrap();
            assert_eq!(outputs, [floats(&[rows, 2], &expected)], "step {step}");
        }
    }
}

#[test]
fn outputs_whose_shape_depends_on_values_are_as_long_as_they_should_be() {
    let model = Model::new().input("x", FLOAT, &[Dim::Named("N")]).node("NonZero", &["x"], &["y"]).output(
        "y",
        INT64,
        &[Dim::Of(1), Dim::Unset],
    );
    let (engines, choices) = engines();
    for choice in choices {
        let graph = load(&engines, &model, choice).unwrap();
        let (mut instance, mut outputs) = (graph.instance().unwrap(), Vec::new());
        for step in 0..12_usize {
            let values: Vec<f32> = (0..4).map(|index| f32::from(u8::from(step >> index & 1 == 1))).collect();
            let expected: Vec<i64> = (0..4).filter(|index| step >> index & 1 == 1).collect();
            instance.run(&[floats(&[4], &values)], &mut outputs).unwrap();
            assert_eq!(outputs, [tensor(&[1, expected.len()], TensorData::Int64(expected))], "step {step}");
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
