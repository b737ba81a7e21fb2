//! The JSON schema of a tool's arguments: completed where OpenAI refuses an incomplete one, and made strict where
//! `strict` is set.
//!
//! A schema that OpenAI refuses makes it refuse every request of every call, so it is checked when it is loaded. A
//! schema that needs no change is sent as it was written, without its white space.

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::json_text::compact;

/// The maximum number of tools in a request. OpenAI refuses one with more.
pub(crate) const MAX_TOOLS: usize = 128;

/// A schema as it is sent.
#[derive(Debug)]
pub(crate) struct ToolSchema {
    /// The schema, an object without white space.
    pub(crate) json: Box<RawValue>,
    /// Whether OpenAI enforces it; if `None`, the Responses API decides.
    pub(crate) strict: Option<bool>,
    /// The names of the arguments that it declares.
    pub(crate) declared: Vec<String>,
    /// A keyword for which OpenAI refuses the tool, and every request that contains it.
    pub(crate) refused_keyword: Option<&'static str>,
    /// What the author probably did not intend.
    pub(crate) warnings: Vec<String>,
}

/// Parses the schema of a tool. A tool without arguments needs none.
pub(crate) fn parse(parameters: Option<&RawValue>, strict: Option<bool>) -> Result<ToolSchema, &'static str> {
    let text = parameters.map_or("{}", RawValue::get);
    if !text.starts_with('{') {
        return Err("the parameters of a tool must be a JSON schema, an object");
    }
    let mut schema: Value = serde_json::from_str(text).map_err(|_| "the parameters of a tool are not JSON")?;
    let written = schema.clone();
    complete_root(&mut schema)?;
    let mut warnings = Vec::new();
    let refused: Vec<_> = TOP_LEVEL_REFUSED.into_iter().filter(|keyword| schema.get(keyword).is_some()).collect();
    warnings.extend(refused.iter().map(|keyword| {
        format!("OpenAI refuses a tool whose schema has {keyword} at the top level, and every request that contains it")
    }));
    let mut strict = strict;
    if strict == Some(true) {
        let mut as_strict = schema.clone();
        match make_strict(&mut as_strict, &Path::Root) {
            Ok(()) => schema = as_strict,
            Err(reason) => {
                strict = Some(false);
                warnings.push(format!("strict is switched off, since a strict schema cannot have {reason}"));
            }
        }
    }
    let declared = schema["properties"].as_object().map(|properties| properties.keys().cloned().collect());
    let json = if schema == written {
        RawValue::from_string(compact(text)).map_err(|_| "the parameters of a tool are not JSON")?
    } else {
        to_raw_value(&schema).expect("a JSON value serializes")
    };
    Ok(ToolSchema {
        json,
        strict,
        declared: declared.unwrap_or_default(),
        refused_keyword: refused.first().copied(),
        warnings,
    })
}

/// Keywords that OpenAI refuses at the top level of a tool's schema.
const TOP_LEVEL_REFUSED: [&str; 5] = ["anyOf", "oneOf", "allOf", "enum", "not"];

/// The keywords that OpenAI's strict schemas may have. Others are refused, or not known to be taken.
const STRICT_KEYWORDS: [&str; 23] = [
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "definitions",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "multipleOf",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
];

/// The formats that OpenAI's strict schemas may have.
const STRICT_FORMATS: [&str; 9] =
    ["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"];

/// The place of a schema within the schema of a tool.
enum Path<'a> {
    Root,
    Within(&'a Path<'a>, &'a str),
}

impl Path<'_> {
    fn is_root(&self) -> bool {
        matches!(self, Self::Root)
    }

    /// The place in a sentence: empty at the root, else such as ` (at properties.address.items)`.
    fn to_note(&self) -> String {
        let mut steps = Vec::new();
        let mut path = self;
        while let Self::Within(outer, step) = path {
            steps.push(*step);
            path = outer;
        }
        steps.reverse();
        if steps.is_empty() { String::new() } else { format!(" (at {})", steps.join(".")) }
    }
}

/// Completes the schema of a tool, which must describe an object.
fn complete_root(schema: &mut Value) -> Result<(), &'static str> {
    let Some(members) = schema.as_object_mut() else { return Err("the parameters of a tool must be an object") };
    match members.get("type") {
        None | Some(Value::Null) => drop(members.insert("type".to_owned(), json!("object"))),
        Some(kind) if kind == "object" => {}
        Some(_) => return Err("the parameters of a tool must have the type object"),
    }
    complete(schema)
}

/// Adds what OpenAI requires: the `properties` of an object, the `items` of an array.
fn complete(schema: &mut Value) -> Result<(), &'static str> {
    let Some(members) = schema.as_object_mut() else { return Ok(()) };
    for (kind, keyword) in [("object", "properties"), ("array", "items")] {
        if has_type(members, kind) && members.get(keyword).is_none_or(Value::is_null) {
            members.insert(keyword.to_owned(), json!({}));
        }
    }
    if members.get("properties").is_some_and(|properties| !properties.is_object()) {
        return Err("properties must be an object");
    }
    children(members).into_iter().try_for_each(|(_, child)| complete(child))
}

/// Rewrites a schema by OpenAI's rules for strict ones: each object has only the declared properties, and all of them;
/// what may be left out may be null instead. The error names what a strict schema cannot have.
fn make_strict(schema: &mut Value, path: &Path<'_>) -> Result<(), String> {
    let note = || path.to_note();
    let Some(members) = schema.as_object_mut() else { return Err(format!("a value in place of a schema{}", note())) };
    if let Some(keyword) = members.keys().find(|keyword| !STRICT_KEYWORDS.contains(&keyword.as_str())) {
        return Err(format!("{keyword}{}", note()));
    }
    if let Some(format) = members.get("format").filter(|format| STRICT_FORMATS.iter().all(|known| *format != known)) {
        return Err(format!("the format {format}{}", note()));
    }
    if ["type", "anyOf", "$ref"].iter().all(|keyword| !members.contains_key(*keyword)) {
        return Err(format!("a value of any type{}", note()));
    }
    if path.is_root() && members.contains_key("anyOf") {
        return Err("anyOf at the top level".to_owned());
    }
    if has_type(members, "object") {
        close_object(members, path)?;
    }
    for (step, child) in children(members) {
        make_strict(child, &Path::Within(path, &step))?;
    }
    Ok(())
}

/// Makes all properties of an object required, and forbids others.
fn close_object(members: &mut Map<String, Value>, path: &Path<'_>) -> Result<(), String> {
    let is_open = match members.get("additionalProperties") {
        None => members["properties"] == json!({}) && !path.is_root(),
        Some(additional) => *additional != Value::Bool(false),
    };
    if is_open {
        return Err(format!("an object with any properties{}", path.to_note()));
    }
    let required: Vec<Value> = members.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = Vec::new();
    if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            let name = Value::from(name.as_str());
            if !required.contains(&name) {
                make_nullable(property);
            }
            all.push(name);
        }
    }
    members.insert("required".to_owned(), Value::Array(all));
    members.insert("additionalProperties".to_owned(), Value::Bool(false));
    Ok(())
}

/// Lets a property be null, the form of a property that may be left out in a strict schema.
fn make_nullable(property: &mut Value) {
    const SCALARS: [&str; 4] = ["string", "number", "integer", "boolean"];
    let Some(members) = property.as_object_mut() else { return };
    if has_type(members, "null") {
        return;
    }
    let is_scalar = SCALARS.iter().any(|kind| members.get("type").is_some_and(|own| own == kind));
    if is_scalar && !members.contains_key("const") {
        let kind = members["type"].take();
        members.insert("type".to_owned(), json!([kind, "null"]));
        if let Some(values) = members.get_mut("enum").and_then(Value::as_array_mut)
            && !values.contains(&Value::Null)
        {
            values.push(Value::Null);
        }
        return;
    }
    *property = json!({ "anyOf": [property.take(), { "type": "null" }] });
}

fn has_type(members: &Map<String, Value>, wanted: &str) -> bool {
    match members.get("type") {
        Some(Value::String(kind)) => kind == wanted,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == wanted),
        _ => false,
    }
}

/// The schemas directly within a schema, each with its place.
fn children(members: &mut Map<String, Value>) -> Vec<(String, &mut Value)> {
    let mut found = Vec::new();
    for (keyword, value) in members {
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(schemas)) => {
                found.extend(schemas.iter_mut().map(|(name, schema)| (format!("{keyword}.{name}"), schema)));
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                found.extend(schemas.iter_mut().map(|schema| (keyword.clone(), schema)));
            }
            ("items" | "additionalProperties" | "not" | "if" | "then" | "else" | "contains", schema)
                if schema.is_object() =>
            {
                found.push((keyword.clone(), schema));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(schema: &str, strict: Option<bool>) -> ToolSchema {
        let raw = RawValue::from_string(schema.to_owned()).unwrap();
        parse(Some(&raw), strict).unwrap()
    }

    /// The schema as it is sent, and what is said of it.
    fn sent(schema: &str, strict: Option<bool>) -> (Value, Option<bool>, Vec<String>) {
        let ToolSchema { json, strict, warnings, .. } = parsed(schema, strict);
        (serde_json::from_str(json.get()).unwrap(), strict, warnings)
    }

    #[test]
    fn an_object_without_properties_is_completed_at_every_depth() {
        let empty = json!({ "type": "object", "properties": {} });
        for schema in ["{}", r#"{"type":"object"}"#, r#"{"type":"object","properties":null}"#, r#"{"properties":{}}"#] {
            assert_eq!(sent(schema, None), (empty.clone(), None, vec![]), "{schema}");
        }
        let nested = r#"{"type":"object","properties":{"a":{"type":["object","null"]},"b":{"type":"array","items":{"type":"object"}},
            "c":{"anyOf":[{"type":"object"},{"type":"array"}]},"d":{"type":"object","additionalProperties":{"type":"object"}}}}"#;
        let a = json!({ "type": ["object", "null"], "properties": {} });
        let expected = json!({ "type": "object", "properties": {
            "a": a,
            "b": { "type": "array", "items": empty },
            "c": { "anyOf": [empty, { "type": "array", "items": {} }] },
            "d": { "type": "object", "properties": {}, "additionalProperties": empty } } });
        assert_eq!(sent(nested, Some(false)), (expected, Some(false), vec![]));
        assert!(parse(None, None).unwrap().json.get().contains("properties"));
    }

    #[test]
    fn a_complete_schema_is_sent_as_it_was_written() {
        let schema = r#"{ "type": "object", "required": ["b"], "properties": { "b": { "type": "string" }, "a": { "type": "number" } } }"#;
        let compacted =
            r#"{"type":"object","required":["b"],"properties":{"b":{"type":"string"},"a":{"type":"number"}}}"#;
        assert_eq!(parsed(schema, None).json.get(), compacted);
    }

    #[test]
    fn a_strict_schema_requires_every_property_and_lets_optional_ones_be_null() {
        let schema = r##"{"type":"object","properties":{
            "to":{"type":"string","enum":["a","b"]}, "count":{"type":"integer","minimum":1}, "who":{"$ref":"#/$defs/who"},
            "list":{"type":"array","items":{"type":"object","properties":{"x":{"type":"number"}}}}, "none":{"type":["string","null"]} },
            "required":["count"], "$defs":{"who":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}}}"##;
        let list = json!({ "type": "array", "items": { "type": "object", "additionalProperties": false, "required": ["x"],
            "properties": { "x": { "type": ["number", "null"] } } } });
        let expected = json!({ "type": "object", "additionalProperties": false,
            "required": ["count", "list", "none", "to", "who"],
            "properties": {
                "to": { "type": ["string", "null"], "enum": ["a", "b", null] },
                "count": { "type": "integer", "minimum": 1 },
                "who": { "anyOf": [{ "$ref": "#/$defs/who" }, { "type": "null" }] },
                "list": { "anyOf": [list, { "type": "null" }] },
                "none": { "type": ["string", "null"] } },
            "$defs": { "who": { "type": "object", "additionalProperties": false, "required": ["name"],
                "properties": { "name": { "type": "string" } } } } });
        assert_eq!(sent(schema, Some(true)), (expected.clone(), Some(true), vec![]));
        assert_eq!(sent(&expected.to_string(), Some(true)).0, expected, "a strict schema stays as it is");
        let closed = json!({ "type": "object", "additionalProperties": false, "properties": {}, "required": [] });
        assert_eq!(sent("{}", Some(true)), (closed, Some(true), vec![]));
    }

    #[test]
    fn strict_is_switched_off_with_the_reason_where_it_is_impossible() {
        for (property, reason) in [
            (r#"{"type":"string","minLength":2}"#, "minLength (at properties.a)"),
            (r#"{"type":"integer","default":1}"#, "default (at properties.a)"),
            (r#"{"oneOf":[{"type":"string"}]}"#, "oneOf (at properties.a)"),
            (r#"{"type":"object"}"#, "an object with any properties (at properties.a)"),
            (r#"{"type":"array"}"#, "a value of any type (at properties.a.items)"),
            (
                r#"{"type":"object","properties":{},"additionalProperties":true}"#,
                "an object with any properties (at properties.a)",
            ),
            (r#"{"description":"anything"}"#, "a value of any type (at properties.a)"),
            (r#"{"type":"string","format":"uri"}"#, "the format \"uri\" (at properties.a)"),
            ("true", "a value in place of a schema (at properties.a)"),
        ] {
            let schema = format!(r#"{{"type":"object","properties":{{"a":{property}}},"required":["a"]}}"#);
            let (json, strict, warnings) = sent(&schema, Some(true));
            assert_eq!(warnings, [format!("strict is switched off, since a strict schema cannot have {reason}")]);
            assert_eq!((strict, json.get("additionalProperties")), (Some(false), None), "the schema stays open");
        }
    }

    #[test]
    fn what_openai_refuses_at_the_top_level_is_reported() {
        let (_, _, warnings) = sent(r#"{"type":"object","properties":{},"anyOf":[{"required":[]}]}"#, None);
        assert!(warnings[0].contains("anyOf at the top level"), "{warnings:?}");
        for (schema, why) in [(r#"{"type":"string"}"#, "type object"), (r#"{"properties":[]}"#, "properties must be")] {
            let raw = RawValue::from_string(schema.to_owned()).unwrap();
            assert!(parse(Some(&raw), None).unwrap_err().contains(why), "{schema}");
        }
    }

    /// A random schema, or something that is none.
    fn any_schema() -> impl Strategy<Value = Value> {
        let keyword = prop::sample::select(vec![
            "type",
            "properties",
            "items",
            "anyOf",
            "additionalProperties",
            "required",
            "enum",
            "a",
            "$defs",
            "const",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            prop::sample::select(vec!["object", "string", "array", "null", "a"]).prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(keyword.clone().prop_map(str::to_owned), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_schema_panics_and_a_second_pass_changes_nothing(schema in any_schema(), strict in any::<Option<bool>>()) {
            let raw = to_raw_value(&schema).unwrap();
            if let Ok(once) = parse(Some(&raw), strict) {
                let twice = parse(Some(&once.json), once.strict).unwrap();
                prop_assert_eq!(twice.json.get(), once.json.get());
                prop_assert_eq!(twice.strict, once.strict);
            }
        }
    }
}
