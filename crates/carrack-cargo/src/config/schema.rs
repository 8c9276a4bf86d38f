//! The JSON schema of `carrack.toml`, made from the table of keys.

use serde_json::{Map, Value, json};

use super::keys::{CACHE_KEYS, FILE_KEYS, HEALTHCHECK_KEYS, KEYS, Key, PACKAGES_KEYS, Shape};
use super::value;

/// The schema of `carrack.toml` and of the `carrack` tables in `Cargo.toml`: JSON Schema draft 2020-12, indented, with a final newline.
///
/// It takes the keys of both levels: an editor does not know whether a file belongs to a workspace or to a member.
pub fn json_schema() -> String {
    let mut schema = table(KEYS, &[]);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Carrack's configuration",
        "description": "carrack.toml, [workspace.metadata.carrack] and [package.metadata.carrack]",
    });
    if let (Some(schema), Value::Object(mut whole)) = (schema.as_object_mut(), head) {
        whole.append(schema);
        *schema = whole;
    }
    format!("{schema:#}\n")
}

fn table(keys: &[Key], required: &[&str]) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let mut property = Map::new();
        property.insert("description".to_owned(), key.doc.into());
        if let Value::Object(mut shape) = shape(key.shape) {
            property.append(&mut shape);
        }
        properties.insert(key.name.to_owned(), property.into());
    }
    let mut table = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

fn shape(shape: Shape) -> Value {
    let texts = || json!({ "type": "array", "items": { "type": "string" } });
    match shape {
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Text | Shape::HostPath => json!({ "type": "string", "minLength": 1 }),
        Shape::TextList => texts(),
        Shape::Command => json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 }),
        Shape::TextMap | Shape::BuildVariables => {
            json!({ "type": "object", "additionalProperties": { "type": ["string", "integer", "boolean"] } })
        }
        Shape::ImageName => json!({ "type": "string", "pattern": value::IMAGE_NAME_PATTERN }),
        Shape::Registry => json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9./:_-]*$" }),
        Shape::Tags => {
            json!({ "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1 })
        }
        Shape::Path => json!({ "type": "string", "pattern": "^/" }),
        Shape::PathList => json!({ "type": "array", "items": { "type": "string", "pattern": "^/" } }),
        Shape::User => {
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$" })
        }
        Shape::Mode => json!({ "type": "string", "pattern": "^[0-7]{3,4}$" }),
        Shape::Ports => json!({
            "type": "array",
            "items": { "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": 65535 },
                { "type": "string", "pattern": "^[0-9]+(/(tcp|udp|sctp))?$" },
            ] },
        }),
        Shape::Files => json!({ "type": "array", "items": table(FILE_KEYS, &["from", "to"]) }),
        Shape::Healthcheck => json!({ "anyOf": [{ "const": "none" }, table(HEALTHCHECK_KEYS, &["cmd"])] }),
        Shape::Packages => table(PACKAGES_KEYS, &[]),
        Shape::Duration => json!({ "type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$" }),
        Shape::Count => json!({ "type": "integer", "minimum": 1 }),
        Shape::Signal => json!({ "type": ["string", "integer"] }),
        Shape::Cache => table(CACHE_KEYS, &[]),
        Shape::Size => json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? ?([KMGTkmgt]i?)?[Bb]?$" }),
        Shape::Age => json!({ "type": "string", "pattern": "^([0-9]+[smhdw])+$" }),
        Shape::Engine => json!({ "type": "string", "pattern": "^(embedded|docker|buildkit(=.+)?)$" }),
    }
}
