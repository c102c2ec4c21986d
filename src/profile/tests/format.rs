//! The written format: what the schema says, what format 1 is read as, and what a model refuses.

use super::*;
use serde_json::Value;

/// A column that has every optional field of its kind.
fn full() -> Profile {
    let mut builder = ProfileBuilder::new(ProfileOptions {
        hours: true,
        source: Source::Parquet,
        created: Some("2026-11-24T21:00:00Z".to_owned()),
        critical: ["a".to_owned()].into(),
        categorical: ["c".to_owned()].into(),
        ..ProfileOptions::default()
    });
    let texts: Vec<String> = (0..300).map(|text| format!("t{text}")).collect();
    let a = builder.add_column(spec("a", DataType::Fp32));
    let b = builder.add_column(ColumnSpec { tensor: "y".into(), ..spec("b", DataType::Bytes) });
    let c = builder.add_column(ColumnSpec { side: Side::Output, ..spec("c", DataType::Int64) });
    let codes = || (0..300).map(f64::from);
    builder.absorb_numbers(a, spread(300)).unwrap();
    builder.absorb_strings(b, texts.iter().map(|text| Some(text.as_bytes()))).unwrap();
    builder.absorb_numbers(c, codes()).unwrap();
    let mut counter = builder.into_counter().unwrap();
    counter.absorb_numbers(a, spread(300), &[5; 300]).unwrap();
    counter.absorb_strings(b, texts.iter().map(|text| Some(text.as_bytes())), &[5; 300]).unwrap();
    counter.absorb_numbers(c, codes(), &[5; 300]).unwrap();
    counter.finish().unwrap()
}

/// What of JSON Schema the profile's schema uses, and no more: a word that is not known here is an error.
fn violations(schema: &Value, root: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let mut wrong = |what: &str| found.push(format!("{path}: {what}"));
    let number = |word: &Value| word.as_u64().unwrap() as usize;
    let (list, object) = (value.as_array(), value.as_object());
    for (word, says) in schema.as_object().unwrap() {
        match word.as_str() {
            "$schema" | "$defs" | "title" | "description" | "properties" | "items" | "$ref" | "format" => {}
            "type" => {
                let types = says.as_array().cloned().unwrap_or_else(|| vec![says.clone()]);
                if !types.iter().any(|name| has_type(value, name.as_str().unwrap())) {
                    wrong("type");
                }
            }
            "enum" if !says.as_array().unwrap().contains(value) => wrong("enum"),
            "minimum" if value.as_f64().is_some_and(|value| value < says.as_f64().unwrap()) => wrong("minimum"),
            "minLength" if value.as_str().is_some_and(|text| text.len() < number(says)) => wrong("minLength"),
            "minItems" if list.is_some_and(|list| list.len() < number(says)) => wrong("minItems"),
            "maxItems" if list.is_some_and(|list| list.len() > number(says)) => wrong("maxItems"),
            "required" => {
                let absent = |name: &Value| object.is_some_and(|object| !object.contains_key(name.as_str().unwrap()));
                says.as_array()
                    .unwrap()
                    .iter()
                    .filter(|name| absent(name))
                    .for_each(|name| wrong(&format!("no {name}")));
            }
            "additionalProperties" => {
                let known = &schema["properties"];
                let unknown = object.into_iter().flatten().filter(|(name, _)| known.get(name.as_str()).is_none());
                unknown.for_each(|(name, _)| wrong(&format!("unknown {name}")));
            }
            "enum" | "minimum" | "minLength" | "minItems" | "maxItems" => {}
            other => panic!("the test does not know the word {other}"),
        }
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        violations(root.pointer(reference.trim_start_matches('#')).unwrap(), root, value, path, found);
    }
    for (name, inner) in object.into_iter().flatten() {
        if let Some(schema) = schema.pointer(&format!("/properties/{name}")) {
            violations(schema, root, inner, &format!("{path}/{name}"), found);
        }
    }
    if let (Some(schema), Some(list)) = (schema.get("items"), list) {
        for (index, item) in list.iter().enumerate() {
            violations(schema, root, item, &format!("{path}/{index}"), found);
        }
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

fn violations_of(text: &[u8]) -> Vec<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut found = Vec::new();
    violations(&schema, &schema, &serde_json::from_slice(text).unwrap(), "", &mut found);
    found
}

fn learned() -> Profile {
    let spec = spec("a", DataType::Fp32);
    let counts = (0..1028).map(|slot| u64::from(slot % 7 == 0)).collect();
    learn(&[LearnedColumn { spec, counts, critical: false }], 200).unwrap()
}

#[test]
fn every_written_profile_is_as_the_schema_says() {
    for profile in [full(), learned(), reduced(), profile_of(numbers(&[])), profile_of(strings(&[b"x"]))] {
        assert_eq!(violations_of(&profile.to_json().unwrap()), Vec::<String>::new());
    }
    for shipped in ["breast-cancer/1", "churn/1", "diabetes/1", "digits/1"] {
        let path = format!("{}/models/{shipped}/profile.json", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(violations_of(&std::fs::read(path).unwrap()), Vec::<String>::new(), "{shipped}");
    }
    let spoilt = br#"{"format": 3, "rows": -1, "inputs": [{"name": "", "kin": 1}]}"#;
    let found = violations_of(spoilt).join("\n");
    for part in
        ["/format: enum", "/rows: minimum", "no \"outputs\"", "/inputs/0: unknown kin", "/inputs/0/name: minLength"]
    {
        assert!(found.contains(part), "{part} is not in {found}");
    }
}

#[test]
fn the_schema_knows_every_field_and_no_other() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
    let documents = [full(), learned(), reduced()]
        .map(|profile| -> Value { serde_json::from_slice(&profile.to_json().unwrap()).unwrap() });
    let head: std::collections::BTreeSet<String> = documents.iter().flat_map(names).collect();
    assert_eq!(head, names(&schema["properties"]));
    let columns = documents.iter().flat_map(|document| {
        let outputs = document["outputs"].as_array().unwrap();
        document["inputs"].as_array().unwrap().iter().chain(outputs).flat_map(names).collect::<Vec<_>>()
    });
    assert_eq!(columns.collect::<std::collections::BTreeSet<_>>(), names(&schema["$defs"]["column"]["properties"]));
}

#[test]
fn format_1_is_read_as_what_it_did_not_say() {
    let path = format!("{}/models/breast-cancer/1/profile.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap().replace("\"format\": 2", "\"format\": 1");
    let profile = Profile::from_json(text.as_bytes()).unwrap();
    assert_eq!((profile.format, profile.source, profile.frozen_from_traffic), (FORMAT, Source::Csv, false));
    let mut flag = numbers(&[[0.0; 50], [1.0; 50]].concat());
    flag.distinct = None;
    assert_eq!(flag.reference().distinct, Some(2));
    let mut spread = numbers(&spread(500));
    assert_eq!(spread.reference().distinct, Some(500));
    spread.distinct = None;
    assert_eq!((spread.reference().distinct, spread.reference().rows), (None, 500));
    assert!(Profile::from_json(br#"{"format": 0, "rows": 0, "inputs": [], "outputs": []}"#).is_err());
}

#[test]
fn fields_of_the_profile_itself_are_checked() {
    type Change = fn(&mut Profile);
    let changes: [(&str, Change); 5] = [
        ("created is \"yesterday\"", |p| p.created = Some("yesterday".to_owned())),
        ("created is", |p| p.created = Some("2026-11-24T21:00:00".to_owned())),
        ("frozen_from_traffic is true", |p| p.frozen_from_traffic = true),
        ("frozen_from_traffic is false", |p| p.source = Source::Live),
        ("distinct is 301", |p| p.inputs[0].distinct = Some(301)),
    ];
    for (expected, change) in changes {
        let mut changed = full();
        change(&mut changed);
        let error = changed.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
    for created in ["2026-11-24T21:00:00.123Z", "2026-11-24T21:00:00+02:00", "2026-11-24T21:00:00.5-11:30"] {
        let profile = Profile { created: Some(created.to_owned()), ..full() };
        assert_eq!(Profile::from_json(&profile.to_json().unwrap()).unwrap(), profile);
    }
}

#[test]
fn a_profile_that_covers_part_of_a_tensor_does_not_fit() {
    let profile = profile_of(numbers(&spread(500)));
    assert_eq!(
        profile.check(&signature(DataType::Fp32, 3)).unwrap_err().to_string(),
        "input \"x\" has 1 columns in the profile; expected 3 for the values of a row, or the four statistics of a row"
    );
    let mut model = signature(DataType::Fp32, 1);
    model.outputs = vec![TensorSpec { name: "y".into(), ..model.inputs[0].clone() }];
    assert_eq!(
        profile.check(&model).unwrap_err().to_string(),
        "output \"y\" has 0 columns in the profile; expected 1 for its value"
    );
    let mut partial = reduced();
    partial.inputs.pop();
    assert!(matches!(
        partial.check(&signature(DataType::Fp32, 784)),
        Err(ProfileError::IncompleteTensor { found: 3, .. })
    ));
    let mut mixed = reduced();
    mixed.inputs.push(Column { name: "a".to_owned(), ..profile.inputs[0].clone() });
    assert!(matches!(mixed.check(&signature(DataType::Fp32, 1)), Err(ProfileError::IncompleteTensor { found: 5, .. })));
    let mut free = signature(DataType::Fp32, 1);
    free.inputs[0].shape[1] = Dimension::Free("M".into());
    assert!(matches!(profile.check(&free), Err(ProfileError::IncompleteTensor { .. })));
    assert!(reduced().check(&free).is_ok());
    let numeric = numbers(&spread(500));
    let misfit = profile_of(numeric).check(&signature(DataType::Bool, 1)).unwrap_err().to_string();
    assert_eq!(misfit, "column \"a\" is numeric but tensor \"x\" has datatype BOOL");
}
