//! Schemas of custom resources: what they refuse, take away and fill in, which of them are refused themselves, and that no
//! schema and no object, however made, is more than an answer.

use proptest::prelude::*;
use serde_json::{Value, json};
use supple_apiserver::custom::schema::Schema;
use supple_apiserver::custom::{definition, naming, prune, rules, validate};

fn spec_of(schema: Value) -> Schema {
    Schema::read(&json!({"type": "object", "properties": {"spec": schema}}))
}

/// What is wrong with `spec`, as clients read it.
#[track_caller]
fn check(schema: Value, spec: Value, expected: &[&str]) {
    let read = spec_of(schema.clone());
    let object = json!({"spec": spec});
    let mut errors = validate::object(&read, &object, None);
    errors.extend(validate::lists(&read, &object));
    errors.extend(rules::check(&read, &object, None));
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts, expected, "{schema} of {spec}");
}

#[test]
fn every_keyword_has_its_sentence() {
    let text = |more: Value| {
        let mut schema = json!({"type": "string"});
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        schema
    };
    check(
        json!({"type": "string"}),
        json!(1),
        &["spec: Invalid value: \"integer\": spec in body must be of type string: \"integer\""],
    );
    check(
        json!({"type": "string"}),
        json!(null),
        &["spec: Invalid value: \"null\": spec in body must be of type string: \"null\""],
    );
    check(json!({"type": "string", "nullable": true}), json!(null), &[]);
    check(
        json!({"type": "integer"}),
        json!(1.5),
        &["spec: Invalid value: \"number\": spec in body must be of type integer: \"number\""],
    );
    check(json!({"type": "integer"}), json!(2.0), &[]);
    check(json!({"type": "number"}), json!(2), &[]);
    check(
        json!({"type": "boolean"}),
        json!("true"),
        &["spec: Invalid value: \"string\": spec in body must be of type boolean: \"string\""],
    );
    check(
        text(json!({"minLength": 3})),
        json!("ab"),
        &["spec: Invalid value: \"ab\": spec in body should be at least 3 chars long"],
    );
    check(text(json!({"maxLength": 3})), json!("abcd"), &["spec: Too long: may not be more than 3 bytes"]);
    check(
        text(json!({"pattern": "^a+$"})),
        json!("b"),
        &["spec: Invalid value: \"b\": spec in body should match '^a+$'"],
    );
    check(
        text(json!({"enum": ["a", "b"]})),
        json!("c"),
        &["spec: Unsupported value: \"c\": supported values: \"a\", \"b\""],
    );
    check(
        text(json!({"format": "date-time"})),
        json!("now"),
        &["spec: Invalid value: \"now\": spec in body must be of type date-time: \"now\""],
    );
    let number = |name: &str, limit: i64, exclusive: bool| json!({"type": "integer", name: limit, format!("exclusive{}", if name == "minimum" { "Minimum" } else { "Maximum" }): exclusive});
    check(
        number("minimum", 3, false),
        json!(2),
        &["spec: Invalid value: 2: spec in body should be greater than or equal to 3"],
    );
    check(number("minimum", 3, true), json!(3), &["spec: Invalid value: 3: spec in body should be greater than 3"]);
    check(
        number("maximum", 3, false),
        json!(4),
        &["spec: Invalid value: 4: spec in body should be less than or equal to 3"],
    );
    check(number("maximum", 3, true), json!(3), &["spec: Invalid value: 3: spec in body should be less than 3"]);
    check(
        json!({"type": "integer", "multipleOf": 5}),
        json!(7),
        &["spec: Invalid value: 7: spec in body should be a multiple of 5"],
    );
    check(
        json!({"type": "integer", "format": "int32"}),
        json!(3_000_000_000_u64),
        &["spec: Invalid value: 3000000000: spec in body must be of type int32: \"3000000000\""],
    );
    let list = |more: Value| {
        let mut schema = json!({"type": "array", "items": {"type": "integer"}});
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        schema
    };
    check(
        list(json!({"minItems": 2})),
        json!([1]),
        &["spec: Invalid value: 1: spec in body should have at least 2 items"],
    );
    check(list(json!({"maxItems": 2})), json!([1, 2, 3]), &["spec: Too many: 3: must have at most 2 items"]);
    check(list(json!({"x-kubernetes-list-type": "set"})), json!([1, 1]), &["spec[1]: Duplicate value: 1"]);
    check(
        list(json!({})),
        json!([1, "x"]),
        &["spec[1]: Invalid value: \"string\": spec[1] in body must be of type integer: \"string\""],
    );
    let map = |more: Value| {
        let mut schema = json!({"type": "object", "additionalProperties": {"type": "integer"}});
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        schema
    };
    check(
        map(json!({"minProperties": 1})),
        json!({}),
        &["spec: Invalid value: 0: spec in body should have at least 1 properties"],
    );
    check(map(json!({"maxProperties": 1})), json!({"a": 1, "b": 2}), &["spec: Too many: 2: must have at most 1 item"]);
    check(
        map(json!({})),
        json!({"a": "x"}),
        &["spec.a: Invalid value: \"string\": spec.a in body must be of type integer: \"string\""],
    );
    check(json!({"x-kubernetes-int-or-string": true}), json!("50%"), &[]);
}

#[test]
fn combinations_hold_together() {
    let either = |keyword: &str| json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, keyword: [{"required": ["a"]}, {"required": ["b"]}]});
    let none = |what: &str| {
        vec!["spec.a: Required value".to_owned(), format!("<nil>: Invalid value: \"\": \"spec\" must {what}")]
    };
    let strs =
        |texts: &[String]| texts.iter().map(|it| Box::leak(it.clone().into_boxed_str()) as &str).collect::<Vec<_>>();
    check(either("oneOf"), json!({"a": 1}), &[]);
    check(either("oneOf"), json!({}), &strs(&none("validate one and only one schema (oneOf). Found none valid")));
    check(
        either("oneOf"),
        json!({"a": 1, "b": 1}),
        &[
            "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ],
    );
    check(either("anyOf"), json!({"a": 1, "b": 1}), &[]);
    check(either("anyOf"), json!({}), &strs(&none("validate at least one schema (anyOf)")));
    check(
        either("allOf"),
        json!({"b": 1}),
        &["spec.a: Required value", "<nil>: Invalid value: \"\": \"spec\" must validate all the schemas (allOf)"],
    );
    let not = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "not": {"required": ["a"]}});
    check(not.clone(), json!({}), &[]);
    check(not, json!({"a": 1}), &["<nil>: Invalid value: \"\": \"spec\" must not validate the schema (not)"]);
}

#[test]
fn rules_see_values_as_their_types() {
    let with = |properties: Value, rule: Value| json!({"type": "object", "properties": properties, "x-kubernetes-validations": [rule]});
    let times = json!({"at": {"type": "string", "format": "date-time"}, "every": {"type": "string", "format": "duration"}, "data": {"type": "string", "format": "byte"}});
    let spec = json!({"at": "2024-01-02T03:04:05Z", "every": "90m", "data": "aGk="});
    for rule in [
        "self.at > timestamp('2024-01-01T00:00:00Z') && self.at.getFullYear() == 2024",
        "self.every == duration('1h30m')",
        "self.data == b'hi' && size(self.data) == 2",
    ] {
        check(with(times.clone(), json!({"rule": rule})), spec.clone(), &[]);
    }
    let odd = json!({"a-b": {"type": "integer"}, "c.d": {"type": "integer"}, "namespace": {"type": "string"}, "x__y": {"type": "integer"}, "ratio": {"type": "number"}});
    let spec = json!({"a-b": 1, "c.d": 2, "namespace": "n", "x__y": 3, "ratio": 2});
    check(
        with(
            odd,
            json!({"rule": "self.a__dash__b == 1 && self.c__dot__d == 2 && self.__namespace__ == 'n' && self.x__underscores__y == 3 && self.ratio / 4.0 == 0.5"}),
        ),
        spec,
        &[],
    );
    let port = json!({"port": {"x-kubernetes-int-or-string": true}});
    check(
        with(port.clone(), json!({"rule": "type(self.port) == int ? self.port > 0 : self.port == 'http'"})),
        json!({"port": 80}),
        &[],
    );
    check(
        with(port, json!({"rule": "type(self.port) == int ? self.port > 0 : self.port == 'http'"})),
        json!({"port": "x"}),
        &["spec: Invalid value: \"object\": failed rule: type(self.port) == int ? self.port > 0 : self.port == 'http'"],
    );
    let n = json!({"n": {"type": "integer"}});
    let fails = |rule: Value, expected: &str| check(with(n.clone(), rule), json!({"n": 0}), &[expected]);
    fails(json!({"rule": "self.n > 0", "message": "n is positive"}), "spec: Invalid value: \"object\": n is positive");
    fails(
        json!({"rule": "self.n > 0", "message": "no", "reason": "FieldValueRequired", "fieldPath": ".n"}),
        "spec.n: Required value: no",
    );
    fails(
        json!({"rule": "self.n > 0", "messageExpression": "'n is ' + string(self.n)"}),
        "spec: Invalid value: \"object\": n is 0",
    );
    fails(
        json!({"rule": "self.n > 0", "message": "said", "messageExpression": "string(1 / self.n)"}),
        "spec: Invalid value: \"object\": said",
    );
    fails(
        json!({"rule": "1 / self.n > 0"}),
        "spec: Invalid value: \"object\": division by zero evaluating rule: 1 / self.n > 0",
    );
    // A rule about a change says nothing of a beginning, unless it asks for it.
    check(with(n.clone(), json!({"rule": "self.n > oldSelf.n"})), json!({"n": 0}), &[]);
    fails(
        json!({"rule": "oldSelf.hasValue() || self.n > 0", "optionalOldSelf": true}),
        "spec: Invalid value: \"object\": failed rule: oldSelf.hasValue() || self.n > 0",
    );
}

#[test]
fn a_change_is_seen_from_where_it_was() {
    let schema = spec_of(json!({"type": "object", "properties": {
        "n": {"type": "integer", "maximum": 5, "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "it only grows"}]},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
            "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.size >= oldSelf.size", "message": "parts only grow"}],
        }},
    }}));
    let errors = |new: Value, old: Value| -> Vec<String> {
        let (new, old) = (json!({"spec": new}), json!({"spec": old}));
        let mut errors = validate::object(&schema, &new, Some(&old));
        errors.extend(rules::check(&schema, &new, Some(&old)));
        errors.iter().map(ToString::to_string).collect()
    };
    assert_eq!(errors(json!({"n": 2}), json!({"n": 1})), [""; 0]);
    assert_eq!(errors(json!({"n": 1}), json!({"n": 2})), ["spec.n: Invalid value: \"integer\": it only grows"]);
    assert_eq!(errors(json!({"n": 9, "parts": []}), json!({"n": 9})), [""; 0], "what has not changed is left alone");
    // Items are followed by their keys, wherever they stand.
    let part = |name: &str, size: i64| json!({"name": name, "size": size});
    let (a, b) = (part("a", 1), part("b", 5));
    assert_eq!(errors(json!({"parts": [b.clone(), a.clone()]}), json!({"parts": [a.clone(), b.clone()]})), [""; 0]);
    assert_eq!(
        errors(json!({"parts": [part("b", 4), a.clone()]}), json!({"parts": [a, b]})),
        ["spec.parts[0]: Invalid value: \"object\": parts only grow"]
    );
}

#[test]
fn costly_rules_end() {
    let schema = spec_of(json!({"type": "array", "items": {"type": "integer"}, "x-kubernetes-validations": [
        {"rule": "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))", "message": "dear"},
        {"rule": "false", "message": "never reached"},
    ]}));
    let object = json!({"spec": (0..1000).collect::<Vec<_>>()});
    let errors: Vec<String> = rules::check(&schema, &object, None).iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "spec: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: dear"
        ]
    );
}

#[test]
fn fields_go_and_come_as_the_schema_says() {
    let schema = spec_of(json!({"type": "object", "properties": {
        "kept": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"known": {"type": "object", "properties": {"x": {"type": "integer"}}}}},
        "mode": {"type": "string", "default": "fast"},
        "deep": {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 1}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"q": {"type": "boolean", "default": false}}}},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
        "maybe": {"type": "string", "nullable": true, "default": "x"},
    }}));
    let mut object = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "m", "odd": 1}, "spec": {
        "kept": {"any": 1, "known": {"x": 1, "y": 2}}, "mode": null, "list": [{}, {"p": "UDP", "gone": 1}], "map": {"a": {}, "b": {"gone": 1}},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "gone": 1}, "maybe": null, "gone": {"deep": 1},
    }, "gone": 1});
    let mut found = prune::prune(&mut object, &schema);
    found.sort();
    assert_eq!(
        found,
        ["gone", "spec.gone", "spec.kept.known.y", "spec.list[1].gone", "spec.map.b.gone", "spec.pod.gone"]
            .map(|it| format!("unknown field \"{it}\""))
    );
    prune::default(&mut object, &schema);
    assert_eq!(
        object,
        json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "m", "odd": 1}, "spec": {
            "kept": {"any": 1, "known": {"x": 1}}, "mode": "fast", "deep": {"n": 1}, "list": [{"p": "TCP"}, {"p": "UDP"}],
            "map": {"a": {"q": false}, "b": {"q": false}}, "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}, "maybe": null,
        }})
    );
}

/// A definition of one version with this schema of `spec`.
fn defined(spec: Value) -> Value {
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}],
        },
    })
}

#[track_caller]
fn refused(definition: &Value, expected: &[&str]) {
    let texts: Vec<String> = definition::create(definition).iter().map(ToString::to_string).collect();
    assert_eq!(texts, expected);
}

#[test]
fn a_definition_is_refused_with_the_words_of_the_reference() {
    refused(&defined(json!({"type": "object"})), &[]);
    let change = |path: &str, value: Value, expected: &[&str]| {
        let mut definition = defined(json!({"type": "object"}));
        *definition.pointer_mut(path).expect("it is there") = value;
        refused(&definition, expected);
    };
    change(
        "/metadata/name",
        json!("x"),
        &["metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group"],
    );
    change(
        "/spec/scope",
        json!("Galaxy"),
        &["spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\""],
    );
    change(
        "/spec/names/listKind",
        json!("Widget"),
        &["spec.names.listKind: Invalid value: \"Widget\": kind and listKind may not be the same"],
    );
    change("/spec/names/kind", json!(""), &["spec.names.kind: Required value"]);
    change("/spec/versions", json!([]), &["spec.versions: Required value: must have at least one version"]);
    change(
        "/spec/versions/0/schema",
        json!({}),
        &["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"],
    );
    let mut two = defined(json!({"type": "object"}));
    let mut other = two["spec"]["versions"][0].clone();
    other["name"] = "v2".into();
    two["spec"]["versions"].as_array_mut().unwrap().push(other);
    let texts: Vec<String> = definition::create(&two).iter().map(ToString::to_string).collect();
    assert!(
        texts.len() == 1 && texts[0].ends_with("must have exactly one version marked as storage version"),
        "{texts:?}"
    );
    let mut more = defined(json!({"type": "object"}));
    more["spec"]["versions"][0]["additionalPrinterColumns"] =
        json!([{"name": "A", "type": "word", "jsonPath": "spec"}]);
    let texts: Vec<String> = definition::create(&more).iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert_eq!(
        texts[0],
        "spec.versions[0].additionalPrinterColumns[0].type: Invalid value: \"word\": must be one of boolean,date,integer,number,string"
    );
    assert!(texts[1].starts_with(
        "spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: \"spec\": is an invalid jsonpath"
    ));
    let mut more = defined(json!({"type": "object", "properties": {"a": {"type": "object"}}}));
    more["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.a"}, {"jsonPath": ".spec.b"}]);
    let texts: Vec<String> = definition::create(&more).iter().map(|it| it.field.clone()).collect();
    assert_eq!(
        texts,
        ["spec.versions[0].selectableFields[0].jsonPath", "spec.versions[0].selectableFields[1].jsonPath"]
    );
    let mut more = defined(json!({"type": "object"}));
    more["spec"]["versions"][0]["subresources"] =
        json!({"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": ".status.n"}});
    refused(
        &more,
        &[
            "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: \".status.n\": should be a json path under .spec",
        ],
    );
}

#[test]
fn a_schema_is_structural_or_refused() {
    const SPEC: &str = "spec.versions[0].schema.openAPIV3Schema.properties[spec]";
    let check = |spec: Value, expected: &[&str]| {
        let expected: Vec<String> = expected.iter().map(|it| format!("{SPEC}{it}")).collect();
        refused(&defined(spec), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    };
    check(json!({}), &[".type: Required value: must not be empty for specified object fields"]);
    check(
        json!({"type": "array", "items": {}}),
        &[".items.type: Required value: must not be empty for specified array items"],
    );
    check(json!({"type": "array"}), &[".items: Required value: must be specified"]);
    check(
        json!({"type": "any"}),
        &[
            ".type: Unsupported value: \"any\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ],
    );
    check(
        json!({"type": "object", "additionalProperties": false}),
        &[".additionalProperties: Forbidden: additionalProperties cannot be set to false"],
    );
    check(
        json!({"type": "object", "additionalProperties": true, "properties": {"a": {"type": "string"}}}),
        &[".additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
    );
    check(
        json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}}),
        &[".uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"],
    );
    check(
        json!({"type": "object", "anyOf": [{"type": "object"}]}),
        &[".anyOf[0].type: Forbidden: must be empty to be structural"],
    );
    check(
        json!({"type": "object", "allOf": [{"properties": {"a": {"minimum": 1}}}]}),
        &[
            ".allOf[0].properties[a]: Required value: because it is defined in spec.versions[0].schema.openAPIV3Schema.properties[spec].allOf[0].properties[a]",
        ],
    );
    check(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}), &[]);
    check(
        json!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}),
        &[".x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"],
    );
    check(
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": {"type": "object", "properties": {"n": {"type": "string"}}}}),
        &[
            ".items.properties[n].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ],
    );
    check(
        json!({"type": "integer", "default": "x"}),
        &[".default: Invalid value: \"string\": <nil> in body must be of type integer: \"string\""],
    );
    check(
        json!({"type": "string", "pattern": "("}),
        &[
            ".pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: regex parse error:\n    (\n    ^\nerror: unclosed group",
        ],
    );
    let rule = |rule: &str| json!({"type": "object", "properties": {"n": {"type": "integer"}}, "x-kubernetes-validations": [{"rule": rule}]});
    let said = |source: &str| -> String {
        definition::create(&defined(rule(source))).iter().map(|it| it.message()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(said("self.n > 0 && has(self.n)"), "");
    assert_eq!(said("self.n > 0 ? has(self.n) : !has(self.n)"), "", "whether a number is there is no number");
    assert!(
        said("self.m > 0").contains("compilation failed: ERROR: <input>:1:6: undefined field 'm'"),
        "{}",
        said("self.m > 0")
    );
    assert!(said("self.n.x > 0").contains("type 'int' does not support field selection"));
    assert!(said("self.n >").contains("compilation failed: ERROR: <input>:1:9: Syntax error"), "{}", said("self.n >"));
    for source in ["self.n", "self.n - 1", "'x'"] {
        assert!(said(source).ends_with("cel expression must evaluate to a bool"), "{source}: {}", said(source));
    }
    assert!(said("nobody.n > 1").contains("undeclared reference to 'nobody' (in container '')"));
    assert!(said("").contains("rule is not specified"));
}

/// Rules that would take too long on some object are refused with their definition, as far as the schema lets them be.
#[test]
fn rules_that_can_cost_too_much_are_refused() {
    #[track_caller]
    fn check(spec: Value, expected: &[&str]) {
        let at = "spec.versions[0].schema.openAPIV3Schema";
        let expected: Vec<String> = expected.iter().map(|it| format!("{at}{it}")).collect();
        refused(&defined(spec), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let with = |mut schema: Value, rule: Value| {
        schema["x-kubernetes-validations"] = json!([rule]);
        schema
    };
    let texts = |items: u64, length: u64| json!({"type": "array", "maxItems": items, "items": {"type": "string", "maxLength": length}});
    const RULE: &str = ".properties[spec].x-kubernetes-validations[0].rule: Forbidden: ";
    const HOW: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and \
                       strings are declared)";
    let share =
        format!("{RULE}contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema");
    let over = |factor: &str| format!("{RULE}estimated rule cost exceeds budget by factor of {factor}x {HOW}");
    let whole = |factor: &str| {
        format!(
            ": Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of {factor}x {HOW}"
        )
    };

    // One that people meet: lists and texts without bound.
    let ports = json!({"type": "array", "items": {"type": "string"}});
    let ranges = json!({"rule": "self.all(p, int(p.split('/')[0]) >= 1 && int(p.split('/')[0]) <= 65535)"});
    check(with(ports, ranges.clone()), &[&over("more than 100"), &share, &whole("more than 100")]);
    check(with(texts(64, 16), ranges), &[]);
    let pairs = json!({"rule": "self.all(x, self.exists_one(y, x == y))"});
    check(with(texts(16, 63), pairs.clone()), &[]);
    check(with(texts(1000, 63), pairs), &[&over("3.0")]);
    let contains = json!({"rule": "self.all(x, x.contains('abc'))"});
    let unbounded_texts = json!({"type": "array", "maxItems": 100, "items": {"type": "string"}});
    check(with(unbounded_texts, contains), &[&over("3.1")]);

    // A rule below lists counts as often as there can be values of its schema.
    let below = |list: Value| json!({"type": "object", "properties": {"list": list}});
    let item = with(json!({"type": "string"}), json!({"rule": "self.contains('abc')"}));
    let at = RULE.replace(".x-k", ".properties[list].items.x-k");
    check(below(json!({"type": "array", "maxItems": 10, "items": item.clone()})), &[]);
    for most in [json!(40), json!(40.0)] {
        check(
            below(json!({"type": "array", "maxItems": most, "items": item.clone()})),
            &[&over("1.258296").replace(RULE, &at)],
        );
    }
    check(
        below(json!({"type": "array", "items": item})),
        &[&over("more than 100").replace(RULE, &at), &share.replace(RULE, &at), &whole("more than 100")],
    );

    // A number as a text is of any length, as far as the reference knows.
    let bounds = json!({"type": "object", "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}}});
    let message =
        json!({"rule": "self.min <= self.max", "messageExpression": "'min (' + string(self.min) + ') is above max'"});
    let at = RULE.replace("rule:", "messageExpression:");
    check(
        with(bounds.clone(), message),
        &[
            &over("more than 100").replace(RULE, &at).replace("rule cost exc", "messageExpression cost exc"),
            &share.replace(RULE, &at),
            &whole("more than 100"),
        ],
    );
    check(with(bounds, json!({"rule": "self.min <= self.max", "messageExpression": "'min is above max'"})), &[]);
    // Optional values, maps, lists made on the way: what is not known is not held against a rule.
    let labels = json!({"type": "object", "additionalProperties": {"type": "string"}});
    check(
        with(labels.clone(), json!({"rule": "self.all(k, k.startsWith('a')) && self[?'x'].orValue('') != 'y'"})),
        &[],
    );
    check(with(labels, json!({"rule": "self == oldSelf", "optionalOldSelf": false})), &[]);
    check(with(texts(10, 10), json!({"rule": "self.map(x, x.size()).filter(n, n > 3).all(n, n < 9)"})), &[]);
}

#[test]
fn names_are_accepted_beside_others() {
    let definition = defined(json!({"type": "object"}));
    let status = naming::status(&definition, &naming::Taken::beside(&definition, std::iter::empty()), "t");
    assert_eq!(status["acceptedNames"]["kind"], "Widget");
    let mut other = definition.clone();
    other["metadata"]["name"] = "gadgets.example.com".into();
    other["status"] = status;
    let status = naming::status(&definition, &naming::Taken::beside(&definition, [&other].into_iter()), "t");
    assert_eq!(status["conditions"][0]["reason"], "PluralConflict");
    assert_eq!(status["conditions"][1]["reason"], "NotAccepted");
}

/// Any JSON, made mostly of words that schemas know.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "type",
        "object",
        "array",
        "string",
        "integer",
        "number",
        "boolean",
        "null",
        "properties",
        "additionalProperties",
        "items",
        "required",
        "default",
        "enum",
        "pattern",
        "format",
        "date-time",
        "duration",
        "byte",
        "minimum",
        "maximum",
        "maxLength",
        "minItems",
        "oneOf",
        "anyOf",
        "allOf",
        "not",
        "nullable",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "map",
        "set",
        "a",
        "b",
        "x-kubernetes-validations",
        "rule",
        "self.a > 0",
        "self.all(x, x == self)",
        "oldSelf == self",
        "messageExpression",
        "fieldPath",
        ".a",
        "x-kubernetes-int-or-string",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "metadata",
        "spec",
        "$ref",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..100).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

/// A schema that is one: random types below fields with the names that objects have.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"type": "integer", "minimum": 0, "default": 3})),
        Just(json!({"type": "string", "nullable": true, "default": "d"})),
        Just(json!({"type": "boolean"})),
        Just(json!({"x-kubernetes-int-or-string": true})),
        Just(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|fields| {
                let names = ["a", "b", "spec", "type"];
                let fields: serde_json::Map<_, _> = names.into_iter().map(str::to_owned).zip(fields).collect();
                json!({"type": "object", "properties": fields})
            }),
            inner.clone().prop_map(|of| json!({"type": "array", "items": of})),
            inner.prop_map(|of| json!({"type": "object", "additionalProperties": of})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_schema_and_no_object_panics(schema in any_json(), object in any_json(), old in any_json()) {
        let definition = defined(schema.clone());
        let _ = definition::create(&definition);
        let _ = definition::update(&definition, &defined(old.clone()));
        let read = Schema::read(&schema);
        let mut pruned = object.clone();
        let _ = prune::prune(&mut pruned, &read);
        prune::default(&mut pruned, &read);
        let _ = validate::object(&read, &pruned, Some(&old));
        let _ = validate::lists(&read, &pruned);
        let _ = rules::check(&read, &pruned, Some(&old));
    }

    #[test]
    fn what_was_pruned_and_defaulted_stays_as_it_is(schema in any_schema(), object in any_json()) {
        let root = Schema::read(&json!({"type": "object", "properties": {"spec": schema}}));
        let mut once = json!({"spec": object});
        prune::prune(&mut once, &root);
        let mut twice = once.clone();
        prop_assert!(prune::prune(&mut twice, &root).is_empty());
        prop_assert_eq!(&once, &twice);
        prune::default(&mut once, &root);
        let mut again = once.clone();
        prune::default(&mut again, &root);
        prop_assert_eq!(&once, &again);
        // What defaults bring, the schema knows.
        prop_assert!(prune::prune(&mut again, &root).is_empty());
        // An object that does not change is not refused.
        prop_assert!(validate::object(&root, &once, Some(&once)).is_empty());
    }
}
