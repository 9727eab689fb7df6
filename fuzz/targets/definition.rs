//! Definitions of custom resources, and objects of them: a definition that is accepted has rules that can be read, and any
//! object is pruned, filled in and judged by them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use supple_apiserver::custom::schema::Schema;
use supple_apiserver::custom::{columns::Columns, definition, prune, rules, validate};

// The schema (JSON), a line break, and an object (JSON) of it.
fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let Ok(source) = serde_json::from_slice::<Value>(&data[..end]) else { return };
    let mut whole = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.x.example"},
        "spec": {"group": "x.example", "scope": "Namespaced", "names": {"plural": "as", "kind": "A"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": source},
                "subresources": source.get("subresources"), "additionalPrinterColumns": source.get("columns")}]},
    });
    definition::default(&mut whole);
    definition::prepare_create(&mut whole);
    let errors = definition::create(&whole);
    let columns = Columns::read(&whole["spec"]["versions"][0]);
    let Ok(mut object) = serde_json::from_slice::<Value>(data.get(end..).unwrap_or_default()) else { return };
    if !errors.is_empty() || !object.is_object() {
        return;
    }
    let schema = Schema::read(&source);
    let _ = prune::metadata(&mut object);
    prune::prune(&mut object, &schema);
    prune::default(&mut object, &schema);
    let pruned = object.clone();
    prune::prune(&mut object, &schema);
    prune::default(&mut object, &schema);
    assert_eq!(object, pruned, "pruned and filled in a second time it is another");
    let mut wrong = validate::object(&schema, &object, None);
    wrong.extend(validate::lists(&schema, &object));
    if wrong.is_empty() {
        wrong.extend(rules::check(&schema, &object, Some(&pruned)));
    }
    let _ = wrong.iter().map(ToString::to_string).count();
    let _ = (columns.definitions(), columns.cells(&object, jiff::Timestamp::UNIX_EPOCH));
});
