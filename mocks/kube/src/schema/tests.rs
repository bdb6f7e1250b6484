#![expect(
    clippy::needless_pass_by_value,
    reason = "json!(…) reads better in place"
)]

use serde_json::{Value, json};

use super::{FieldReason, ListKind, NodeKind, Schema, SchemaNode};

/// A schema whose `spec` has these properties.
fn schema(properties: Value) -> Schema {
    let root = json!({
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": properties}},
    });
    Schema::compile(&root).expect("the schema is structural")
}

/// The errors of `spec`, as `field: message`.
fn errors(schema: &Schema, spec: Value, old: Option<Value>) -> Vec<String> {
    let old = old.map(|spec| json!({"spec": spec}));
    let errors = schema.validate(&json!({"spec": spec}), old.as_ref());
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn values_are_checked_in_the_words_of_the_real_server() {
    let cases = [
        (
            json!({"type": "integer", "maximum": 65535}),
            json!(70000),
            "spec.x: Invalid value: 70000: spec.x in body should be less than or equal to 65535",
        ),
        (
            json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true}),
            json!(1),
            "spec.x: Invalid value: 1: spec.x in body should be greater than 1",
        ),
        (
            json!({"type": "number", "minimum": 0.5}),
            json!(0.25),
            "spec.x: Invalid value: 0.25: spec.x in body should be greater than or equal to 0.5",
        ),
        (
            json!({"type": "integer", "multipleOf": 5}),
            json!(7),
            "spec.x: Invalid value: 7: spec.x in body should be a multiple of 5",
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("x"),
            "spec.x: Unsupported value: \"x\": supported values: \"a\", \"b\"",
        ),
        (
            json!({"type": "integer"}),
            json!("x"),
            "spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "string"}),
            json!(5),
            "spec.x: Invalid value: \"integer\": spec.x in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "boolean"}),
            json!(null),
            "spec.x: Invalid value: \"null\": spec.x in body must be of type boolean: \"null\"",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!([]),
            "spec.x: Invalid value: \"array\": spec.x in body must be of type integer,string: \"array\"",
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(3_000_000_000_u64),
            "<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in spec.x",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("yesterday"),
            "spec.x: Invalid value: \"yesterday\": spec.x in body must be of type date-time: \"yesterday\"",
        ),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("äöü"),
            "spec.x: Too long: may not be more than 2 bytes",
        ),
        (
            json!({"type": "string", "minLength": 1}),
            json!(""),
            "spec.x: Invalid value: \"\": spec.x in body should be at least 1 chars long",
        ),
        (
            json!({"type": "string", "pattern": "^[a-z]+$"}),
            json!("A\"b"),
            "spec.x: Invalid value: \"A\\\"b\": spec.x in body should match '^[a-z]+$'",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!(["a", "b"]),
            "spec.x: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
            json!([]),
            "spec.x: Invalid value: 0: spec.x in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
            json!(["a", "b", "a", "a"]),
            "spec.x[2]: Duplicate value: \"a\"",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            json!({"k": "v"}),
            "spec.x.k: Invalid value: \"string\": spec.x.k in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "object", "required": ["y"], "properties": {"y": {"type": "string"}}}),
            json!({}),
            "spec.x.y: Required value",
        ),
        (
            json!({"type": "object", "properties": {"y": {"type": "string"}}, "not": {"required": ["y"]}}),
            json!({"y": "a"}),
            "<nil>: Invalid value: \"\": \"spec.x\" must not validate the schema (not)",
        ),
    ];
    for (schema_of_x, value, expected) in cases {
        let schema = schema(json!({"x": schema_of_x}));
        assert_eq!(errors(&schema, json!({"x": value}), None), [expected]);
    }
}

#[test]
fn one_of_reports_the_count_and_the_nearest_alternative() {
    let schema = schema(json!({"x": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
    }}));
    assert!(errors(&schema, json!({"x": {"a": "1"}}), None).is_empty());
    let both = errors(&schema, json!({"x": {"a": "1", "b": "2"}}), None);
    let message =
        "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). ";
    assert_eq!(both, [format!("{message}Found 2 valid alternatives")]);
    let none = errors(&schema, json!({"x": {}}), None);
    assert_eq!(
        none,
        [
            format!("{message}Found none valid"),
            "spec.x.a: Required value".to_owned()
        ]
    );
}

#[test]
fn list_maps_name_the_repeated_key() {
    let schema = schema(json!({"x": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
    }}));
    let found = errors(&schema, json!({"x": [{"name": "a"}, {"name": "a"}]}), None);
    assert_eq!(found, ["spec.x[1]: Duplicate value: {\"name\":\"a\"}"]);
}

#[test]
fn unchanged_invalid_values_pass_an_update() {
    let schema = schema(json!({
        "x": {"type": "integer", "maximum": 10},
        "y": {"type": "integer", "maximum": 10},
    }));
    let old = json!({"x": 50, "y": 1});
    assert!(errors(&schema, json!({"x": 50, "y": 2}), Some(old.clone())).is_empty());
    let changed = errors(&schema, json!({"x": 51, "y": 2}), Some(old));
    assert_eq!(
        changed,
        ["spec.x: Invalid value: 51: spec.x in body should be less than or equal to 10"]
    );
}

#[test]
fn unknown_fields_are_named_and_pruned() {
    let schema = schema(json!({
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "embedded": {
            "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
        },
    }));
    let mut object = json!({
        "apiVersion": "v1", "kind": "X", "metadata": {"name": "n", "nom": 1},
        "spec": {
            "foo": 1,
            "list": [{"a": "1", "bar": 2}],
            "free": {"anything": {"goes": 1}},
            "map": {"k": {"a": "1", "b": "2"}},
            "embedded": {"apiVersion": "v1", "kind": "Y", "metadata": {"name": "m"}, "data": {}},
        },
    });
    let found = schema.unknown_fields(&object);
    assert_eq!(
        found,
        [
            "metadata.nom",
            "spec.foo",
            "spec.list[0].bar",
            "spec.map.k.b"
        ]
    );
    schema.prune(&mut object);
    assert!(schema.unknown_fields(&object).is_empty());
    assert_eq!(object["spec"]["free"], json!({"anything": {"goes": 1}}));
    assert_eq!(object["spec"]["list"], json!([{"a": "1"}]));
}

#[test]
fn defaults_fill_from_the_outside_to_the_inside() {
    let schema = schema(json!({
        "a": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 7}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "string", "default": "d"}}}},
        "gone": {"type": "string"},
        "may": {"type": "string", "nullable": true},
    }));
    let mut object = json!({"spec": {"list": [{}, {"c": "e"}], "gone": null, "may": null}});
    schema.default(&mut object);
    let expected = json!({"spec": {"list": [{"c": "d"}, {"c": "e"}], "may": null, "a": {"b": 7}}});
    assert_eq!(object, expected);
}

#[test]
fn rules_run_and_report_as_the_real_server_does() {
    let cases = [
        (
            json!({"rule": "self.min <= self.max"}),
            "spec: Invalid value: failed rule: self.min <= self.max",
        ),
        (
            json!({"rule": "self.min <= self.max", "message": "min must not exceed max"}),
            "spec: Invalid value: min must not exceed max",
        ),
        (
            json!({"rule": "self.min <= self.max", "fieldPath": ".min", "reason": "FieldValueForbidden",
                "messageExpression": "'min %d is above max'.format([self.min])"}),
            "spec.min: Forbidden: min 5 is above max",
        ),
        (
            json!({"rule": "self.min <= self.other"}),
            "spec: Invalid value: \"object\": no such key: other evaluating rule: self.min <= self.other",
        ),
    ];
    for (rule, expected) in cases {
        let root = json!({"type": "object", "properties": {"spec": {
            "type": "object",
            "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}, "other": {"type": "integer"}},
            "x-kubernetes-validations": [rule],
        }}});
        let schema = Schema::compile(&root).expect("the schema is structural");
        assert!(
            !errors(&schema, json!({"min": 1, "max": 2, "other": 3}), None)
                .iter()
                .any(|e| e != expected)
        );
        assert_eq!(
            errors(&schema, json!({"min": 5, "max": 2}), None),
            [expected]
        );
    }
}

#[test]
fn kubernetes_functions_are_there_for_rules() {
    let holds = [
        "isURL('https://example.com:8443/a') && url('https://example.com:8443/a').getPort() == '8443'",
        "url('http://[::1]:80/x?k=v').getHostname() == '::1' && url('http://h/x?k=v').getQuery()['k'] == ['v']",
        "quantity('1500m').isGreaterThan(quantity('1')) && quantity('1Ki').asInteger() == 1024",
        "quantity('1').add(quantity('500m')).compareTo(quantity('1.5')) == 0 && !isQuantity('1x')",
        "isIP('10.0.0.1') && ip('::1').family() == 6 && ip('127.0.0.1').isLoopback() && ip.isCanonical('::1')",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsCIDR('11.0.0.0/16')",
        "isCIDR('10.0.0.0/8') && cidr('10.1.0.0/8').masked().prefixLength() == 8 && string(cidr('10.0.0.0/8').ip()) == '10.0.0.0'",
        "[1, 2, 3].isSorted() && [1, 2].sum() == 3 && [3, 1].min() == 1 && [3, 1].max() == 3 && [1, 2, 1].lastIndexOf(1) == 2",
        "'abc 123'.find('[0-9]+') == '123' && 'a1b2'.findAll('[0-9]') == ['1', '2']",
        "!format.dns1123Label().validate('abc').hasValue() && format.dns1123Label().validate('A').hasValue()",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-a').compareTo(semver('1.0.0')) == -1",
        "self.name.startsWith('a') && self.name.matches('^a+$') && size(self.name) == 3 && self.name.lowerAscii() == 'aaa'",
        "self.when < timestamp('2030-01-01T00:00:00Z') && self.wait <= duration('1h')",
        "self.list.all(x, x > 0) && self.list.exists(x, x == 2) && self.list.filter(x, x > 1).size() == 2",
        "has(self.name) && !has(self.missing) && self.?missing.orValue('d') == 'd'",
        "self.__namespace__ == 'ns' && self.a__dash__b == 1",
    ];
    for rule in holds {
        let root = json!({"type": "object", "properties": {"spec": {
            "type": "object",
            "properties": {
                "name": {"type": "string"}, "missing": {"type": "string"},
                "when": {"type": "string", "format": "date-time"}, "wait": {"type": "string", "format": "duration"},
                "list": {"type": "array", "items": {"type": "integer"}},
                "namespace": {"type": "string"}, "a-b": {"type": "integer"},
            },
            "x-kubernetes-validations": [{"rule": rule}],
        }}});
        let schema = Schema::compile(&root).expect("the rule compiles");
        let spec = json!({
            "name": "aaa", "when": "2026-01-01T00:00:00Z", "wait": "30m", "list": [1, 2, 3], "namespace": "ns", "a-b": 1,
        });
        assert_eq!(errors(&schema, spec, None), [""; 0], "{rule}");
    }
}

#[test]
fn transition_rules_need_an_old_value() {
    let root = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "x": {"type": "string", "x-kubernetes-validations": [
            {"rule": "self == oldSelf", "message": "x is immutable"},
        ]},
        "y": {"type": "string", "x-kubernetes-validations": [
            {"rule": "oldSelf.hasValue() || self == 'new'", "optionalOldSelf": true, "message": "must start as new"},
        ]},
    }}}});
    let schema = Schema::compile(&root).expect("the schema is structural");
    assert!(errors(&schema, json!({"x": "a"}), None).is_empty());
    assert_eq!(
        errors(&schema, json!({"x": "b"}), Some(json!({"x": "a"}))),
        ["spec.x: Invalid value: \"b\": x is immutable"]
    );
    assert_eq!(
        errors(&schema, json!({"y": "old"}), None),
        ["spec.y: Invalid value: \"old\": must start as new"]
    );
    assert!(errors(&schema, json!({"y": "old"}), Some(json!({"y": "x"}))).is_empty());
}

#[test]
fn rules_wait_until_the_object_has_the_right_types() {
    let root = json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "properties": {"x": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.x > 1"}],
    }}});
    let schema = Schema::compile(&root).expect("the schema is structural");
    assert_eq!(
        errors(&schema, json!({"x": "a"}), None),
        [
            "spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\"",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; \
             correct the existing errors to complete validation",
        ]
    );
}

#[test]
fn schemas_that_are_not_structural_are_refused() {
    let cases = [
        (
            json!({"properties": {}}),
            "openAPIV3Schema.type: Required value: must not be empty at the root",
        ),
        (
            json!({"type": "object", "properties": {"a": {"description": "no type"}}}),
            "openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            "openAPIV3Schema.properties[a].items: Required value: must be specified",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            "openAPIV3Schema.additionalProperties: Forbidden: must not be used at the root",
        ),
        (
            json!({"type": "object", "anyOf": [{"type": "object"}]}),
            "openAPIV3Schema.anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"},
                "x-kubernetes-list-type": "map"}}}),
            "openAPIV3Schema.properties[a].x-kubernetes-list-map-keys: Required value: \
             must not be empty if x-kubernetes-list-type is map",
        ),
        (
            json!({"type": "object", "x-kubernetes-validations": [{"rule": " "}]}),
            "openAPIV3Schema.x-kubernetes-validations[0].rule: Required value: rule is not specified",
        ),
    ];
    for (root, expected) in cases {
        let errors = Schema::compile(&root).expect_err("the schema is not structural");
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, [expected]);
    }
    let broken = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.a ++"}]});
    let errors = Schema::compile(&broken).expect_err("the rule does not parse");
    assert_eq!(
        errors[0].field,
        "openAPIV3Schema.x-kubernetes-validations[0].rule"
    );
    assert_eq!(errors[0].reason, FieldReason::Invalid);
    assert!(
        errors[0]
            .detail
            .contains(": compilation failed: ERROR: <input>:1:"),
        "{}",
        errors[0].detail
    );
}

#[test]
fn go_patterns_mean_what_they_mean_in_go() {
    for (pattern, text, fits) in [
        (r"^\d+$", "١", false),
        (r"^\d+$", "12", true),
        (r"^[\w.-]+$", "a_b.c-d", true),
        (r"^[[a]+$", "[a", true),
        (r"^[a&&b]+$", "a&b", true),
        (r"^(?P<x>a)\/b$", "a/b", true),
        (r"^[]a]+$", "]a", true),
        (r"^[[:alpha:]]+$", "abc", true),
    ] {
        let regex = super::formats::go_regex(pattern).expect(pattern);
        assert_eq!(regex.is_match(text), fits, "{pattern} on {text}");
    }
    assert!(super::formats::go_regex("(").is_err());
}

#[test]
fn merge_kinds_follow_the_schema() {
    let schema = schema(json!({
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
            "items": {"type": "object", "required": ["a"], "properties": {
                "a": {"type": "string"}, "b": {"type": "string", "default": "d"}}}},
        "list": {"type": "array", "items": {"type": "string"}},
        "atomic": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
        "leaf": {"type": "string"},
    }));
    let spec = schema.node().field("spec").expect("spec is known");
    let kind = |name: &str| spec.field(name).expect("the field is known").kind();
    assert_eq!(kind("set"), NodeKind::List(ListKind::Set));
    assert_eq!(
        kind("map"),
        NodeKind::List(ListKind::Map(vec!["a".into(), "b".into()]))
    );
    assert_eq!(kind("list"), NodeKind::List(ListKind::Atomic));
    assert_eq!(kind("atomic"), NodeKind::Atomic);
    assert_eq!(kind("leaf"), NodeKind::Scalar);
    assert!(spec.field("unknown").is_none());
    let key = spec
        .field("map")
        .and_then(SchemaNode::items)
        .and_then(|i| i.field("b"));
    assert_eq!(key.and_then(SchemaNode::default_value), Some(&json!("d")));
    let owners = schema
        .node()
        .field("metadata")
        .and_then(|m| m.field("ownerReferences"));
    let owners = owners.expect("metadata is an ObjectMeta");
    assert_eq!(
        owners.kind(),
        NodeKind::List(ListKind::Map(vec!["uid".into()]))
    );
}

#[test]
fn quantities_compare_and_refuse_as_in_go() {
    let read = |text: &str| super::Quantity::parse(text);
    for (left, right) in [
        ("1", "1000m"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("1e3", "1k"),
        ("0.5", "500m"),
    ] {
        assert_eq!(read(left), read(right), "{left} {right}");
    }
    assert!(read("-1").expect("a quantity") < read("0").expect("a quantity"));
    for text in ["", "x", "1.2.3", "1Zi", "--1"] {
        assert!(read(text).is_err(), "{text}");
    }
}
