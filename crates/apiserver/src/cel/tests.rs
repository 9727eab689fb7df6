//! What expressions come to, what is refused before it runs, and that no expression runs for ever.

use serde_json::{Value as Json, json};

use super::{Budget, CALL_LIMIT, EvalError, Program, from_json};

fn run(source: &str, this: &Json) -> Result<bool, String> {
    let program = Program::compile(source, &["self", "oldSelf"]).map_err(|error| error.to_string())?;
    program.test(&[("self", from_json(this))], &mut Budget::new(CALL_LIMIT)).map_err(|error| error.to_string())
}

#[track_caller]
fn check(source: &str, this: Json, expected: bool) {
    assert_eq!(run(source, &this), Ok(expected), "{source}");
}

#[track_caller]
fn fails(source: &str, this: Json, error: &str) {
    let found = run(source, &this);
    assert!(found.as_ref().is_err_and(|found| found.contains(error)), "{source}: {found:?} instead of {error:?}");
}

#[test]
fn expressions_have_the_outcome_the_language_says() {
    let pod = json!({
        "name": "web-é", "replicas": 3, "ratio": 0.5, "on": true, "none": null, "big": u64::MAX,
        "labels": {"a": "1", "b/c": "2"},
        "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        "metadata": {"namespace": "x"},
    });
    for source in [
        "self.replicas == 3 && self.ratio < 1.0 && self.on",
        "self.replicas > 2 ? true : self.missing",
        "size(self.name) == 5 && self.name.size() == 5",
        "self.name.startsWith('web') && !self.name.endsWith('x') && self.name.contains('b-')",
        "self.name.matches('^web-.$')",
        "has(self.labels) && !has(self.absent)",
        "self.labels['b/c'] == '2' && 'a' in self.labels && !('z' in self.labels)",
        "self.ports.all(p, p.port > 0) && self.ports.exists(p, p.name == 'dns')",
        "self.ports.exists_one(p, has(p.protocol))",
        "self.ports.map(p, p.port) == [80, 53]",
        "self.ports.filter(p, p.port < 80).map(p, p.name) == ['dns']",
        "self.ports.map(p, p.port > 60, p.port) == [80]",
        "self.labels.all(k, k.size() > 0) && self.labels.exists(k, self.labels[k] == '2')",
        "self.ports.all(i, p, p.port > i) && self.labels.exists(k, v, v == '2')",
        "self.ports.transformList(i, p, p.port + i) == [80, 54]",
        "self.ports.transformMap(i, p, p.port)[1] == 53",
        // Either operand may decide, whatever became of the other.
        "self.missing == 1 || self.on",
        "!(self.missing == 1 && !self.on)",
        "self.ports.exists(p, p.protocol == 'UDP')",
        "self.?missing.orValue(7) == 7 && self.?replicas.orValue(7) == 3",
        "!self.?a.b.c.hasValue() && self.?labels.a.hasValue()",
        "self.?labels[?'a'].orValue('') == '1'",
        "self.?replicas.optMap(r, r * 2).orValue(0) == 6",
        "optional.none().or(optional.of(1)).value() == 1",
        "cel.bind(n, self.replicas, n + n == 6)",
        "[?self.?missing, 1] == [1] && {?'a': self.?missing} == {}",
        "type(self.replicas) == int && type(self.name) == string && type(self.none) == null_type",
        "type(self.ports) == list && dyn(self.labels) == {'a': '1', 'b/c': '2'}",
        "self.metadata.namespace == 'x'",
        "int('5') + 1 == 6 && string(5) == '5' && double(2) == 2.0 && uint(3) == 3u && bool('true')",
        "7 / 2 == 3 && -7 % 3 == -1 && 2 * 3 - 1 == 5 && -self.replicas == -3",
        "1 < 1.5 && 2u > 1 && 1 == 1.0 && self.big > 1",
        "duration('1h30m') > duration('89m') && timestamp('2024-01-02T00:00:00Z').getFullYear() == 2024",
        "timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')",
        "quantity('500m').isLessThan(quantity('1')) && isQuantity('1Gi') && !isQuantity('x')",
        "quantity('1Gi').add(quantity('1Gi')).compareTo(quantity('2Gi')) == 0",
        "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3')",
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && 'Ab'.lowerAscii() == 'ab'",
        "sets.contains([1, 2], [1]) && [1, 2, 2].isSorted() && [3, 4].sum() == 7",
        "math.greatest(1, 5, 3) == 5",
        "'x%d'.format([3]) == 'x3'",
        "semver('1.2.3').isGreaterThan(semver('1.2.0'))",
        "self != null && self.none == null",
    ] {
        check(source, pod.clone(), true);
    }
}

#[test]
fn failures_have_stable_words() {
    let this = json!({"n": 3, "s": "x", "l": [1]});
    for (source, error) in [
        ("self.missing == 1", "no such key: missing"),
        ("self.n.x == 1", "no such overload"),
        ("self.l[5] == 1", "index out of bounds: 5"),
        ("self.n / 0 == 1", "division by zero"),
        ("self.n % 0 == 1", "modulus by zero"),
        ("self.n + self.s == 1", "no such overload"),
        ("self.s > self.n", "no such overload"),
        ("self.s && true", "no such overload"),
        ("9223372036854775807 + self.n > 0", "overflow"),
        ("quantity(self.s).isLessThan(quantity('1'))", ""),
        ("self.s.matches('(')", "regex"),
        ("b'a'.contains(b'')", "failed on these values"),
        ("oldSelf == 1", "no such attribute: oldSelf"),
        ("self.n", "evaluated to a int, not to a bool"),
    ] {
        fails(source, this.clone(), error);
    }
}

#[test]
fn what_cannot_run_is_refused_before() {
    let refused = |source: &str, error: &str| fails(source, json!({}), error);
    refused("self ==", "compilation failed: ERROR: <input>:1:8: Syntax error");
    refused(
        "other > 1",
        "compilation failed: ERROR: <input>:1:1: undeclared reference to 'other' (in container '')\n | other > 1\n | ^",
    );
    refused("self.x.frobnicate()", "undeclared reference to 'frobnicate'");
    refused("self.l.all(i, j > 1)", "undeclared reference to 'j'");
    refused("Pod{name: 'x'} == self", "undeclared reference to 'Pod'");
    refused("self.l.all(i.j, true)", "argument must be a simple name");
    refused(&"1 + ".repeat(5_000), "bytes, at most");
    let wrong = |source| Program::condition(source, &["self"]).map(|_| ()).map_err(|error| error.to_string());
    for source in ["1", "'x'", "self.a + 'x'", "[true]", "size(self)", "self.map(x, x)", "true ? 1 : 2"] {
        assert_eq!(wrong(source), Err("cel expression must evaluate to a bool".to_owned()), "{source}");
    }
    for source in ["true", "self.a", "self.all(x, x)", "self == 1", "has(self.x) ? self.y : true"] {
        assert_eq!(wrong(source), Ok(()), "{source}");
    }
    assert!(Program::message("1 + 1 == 2", &["self"]).is_err());
    assert!(Program::message("'n is ' + string(self.n)", &["self"]).is_ok());
}

/// However a source is nested, it is refused or runs, on the stack of a worker thread and in a debug build.
#[test]
fn nesting_does_not_end_the_process() {
    let small_stack = || {
        let this = json!({"a": [[1]]});
        for depth in [10, 60, 90, 120, 240, 400, 2000] {
            for (open, middle, close) in [
                ("(", "true", ")"),
                ("[", "1", "]"),
                ("!", "true", ""),
                ("-", "1", ""),
                ("true ? true : ", "true", ""),
                ("1 + ", "1", ""),
                ("true && ", "true", ""),
                ("true || ", "true", ""),
                ("size(", "'x'", ")"),
                ("{1: ", "1", "}"),
                ("", "self", ".a"),
                ("", "self", "[0]"),
                ("[1].all(x, ", "true", ")"),
                ("[1].map(x, ", "true", ")"),
            ] {
                let source = format!("{}{middle}{}", open.repeat(depth), close.repeat(depth));
                let outcome = run(&source, &this);
                // What is nested as people nest has an outcome.
                let refused = outcome.is_err_and(|error| error.starts_with("compilation failed"));
                assert!(!refused || depth > 10, "{source}");
            }
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(small_stack).unwrap().join().unwrap();
}

#[test]
fn a_budget_ends_every_evaluation() {
    let items: Vec<u32> = (0..2000).collect();
    let this = json!({ "l": items });
    let program = Program::compile("self.l.all(a, self.l.all(b, self.l.all(c, a + b + c >= 0)))", &["self"]).unwrap();
    let mut budget = Budget::new(CALL_LIMIT);
    assert_eq!(program.test_json(&[("self", &this)], &mut budget), Err(EvalError::TooCostly));
    assert_eq!(budget.left(), 0);
    // An error of the budget is never taken for one that does not matter.
    let program = Program::compile("true || self.l.all(a, self.l.all(b, a + b >= 0))", &["self"]).unwrap();
    assert_eq!(program.test_json(&[("self", &this)], &mut Budget::new(100)), Ok(true));
    let program = Program::compile("self.l.all(a, self.l.all(b, a + b >= 0)) || true", &["self"]).unwrap();
    assert_eq!(program.test_json(&[("self", &this)], &mut Budget::new(100)), Err(EvalError::TooCostly));
}

#[test]
fn programs_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Program>();
}
