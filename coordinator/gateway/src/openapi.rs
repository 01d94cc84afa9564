//! The description of a gateway, as OpenAPI 3.1, made of the table of operations and of the types that they take and bring.

use crate::operation::{Content, Operation};
use crate::problem::Told;
use schemars::SchemaGenerator;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value, json};
use undoubt_platform::access::{Needed, needed};

/// Returns the description of these operations.
pub(crate) fn describe<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Value {
    let mut schemas = Schemas { taken: generator(Contract::Deserialize), told: generator(Contract::Serialize) };
    let mut paths = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.to_lowercase()] = schemas.operation(operation);
    }
    let problem = schemas.told.subschema_for::<Told<'static>>();
    let mut all = schemas.told.take_definitions(true);
    all.extend(schemas.taken.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Undoubt",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Transactions over several services: two-phase commit and sagas. Who submits under an id of its own may repeat the very same at any \
                            time: it is done once, and answered the same.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": all,
            "responses": {
                "Problem": {
                    "description": "It was not done, or that is not known; `code` says why, in a word that stays the same.",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
            },
        },
        // Where no identities are set up, nobody has to say who he is.
        "security": [{}, { "token": [] }, { "certificate": [] }],
    })
}

fn generator(contract: Contract) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.contract = contract;
    });
    settings.into_generator()
}

/// The schemas of what is taken, and of what is told.
struct Schemas {
    taken: SchemaGenerator,
    told: SchemaGenerator,
}

impl Schemas {
    fn operation(&mut self, operation: &Operation) -> Value {
        let mut parameters = path_parameters(operation.path);
        if let Some(query) = operation.query {
            parameters.extend(query_parameters(&query(&mut self.taken).to_value()));
        }
        let mut responses = Map::new();
        for (status, means, content) in &operation.answers {
            let mut response = json!({ "description": means });
            match content {
                Content::Nothing => {}
                Content::Json(shape) => {
                    response["content"] = json!({ "application/json": { "schema": shape(&mut self.told) } });
                }
                Content::Events(shape) => {
                    // What each event brings as `data`; OpenAPI 3.1 has no form of its own for a stream.
                    let event = shape(&mut self.told);
                    response["content"] =
                        json!({ "text/event-stream": { "schema": { "type": "string" }, "x-event-data": event } });
                }
            }
            responses.insert(status.to_string(), response);
        }
        responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
        let mut told = json!({
            "operationId": operation.name,
            "summary": operation.summary,
            "description": roles(operation.asks),
            "parameters": parameters,
            "responses": responses,
        });
        if let Some(body) = operation.body {
            let schema = body(&mut self.taken);
            told["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        }
        if operation.asks.is_none() {
            told["security"] = json!([{}]);
        }
        told
    }
}

/// Says which roles are needed.
fn roles(asks: Option<&str>) -> String {
    match asks.map(needed) {
        None | Some(Needed::Nothing) => "Anybody may ask it.".to_owned(),
        Some(Needed::OneOf(roles)) => {
            let roles: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
            format!("Needs the role {}.", roles.join(" or "))
        }
    }
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let description = match name {
                "id" => "The transaction's id: text of 1 to 64 bytes, or `0x` and hexadecimal digits.",
                _ => "The name of a step.",
            };
            json!({
                "name": name, "in": "path", "required": true, "description": description,
                "schema": { "type": "string", "minLength": 1 },
            })
        })
        .collect()
}

/// Returns the fields of a struct as parameters of a query, none of which is needed.
fn query_parameters(schema: &Value) -> Vec<Value> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .map(|(name, field)| {
            let mut field = field.clone();
            let description = field.as_object_mut().and_then(|field| field.remove("description"));
            let mut parameter = json!({ "name": name, "in": "query", "schema": present(field) });
            if let Some(description) = description {
                parameter["description"] = description;
            }
            parameter
        })
        .collect()
}

/// Returns the schema of a field without `null`: what is absent in a query is not there.
fn present(mut schema: Value) -> Value {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        let some: Vec<&Value> = any.iter().filter(|one| one["type"] != "null").collect();
        if let [only] = some.as_slice() {
            return (*only).clone();
        }
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("default");
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::operations;
    use undoubt_platform::access::action;

    /// Calls `look` with every value within a value.
    fn visit(value: &Value, look: &mut impl FnMut(&Value)) {
        look(value);
        match value {
            Value::Array(items) => items.iter().for_each(|item| visit(item, look)),
            Value::Object(fields) => fields.values().for_each(|field| visit(field, look)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn the_description_is_the_one_that_was_looked_at() {
        let text = format!("{:#}\n", describe(&operations()));
        let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&kept, &text).unwrap();
        }
        assert!(std::fs::read_to_string(&kept).unwrap_or_default() == text, "look at it, with UPDATE_GOLDEN=1");
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_needs_roles_that_are_known() {
        let described = describe(&operations());
        let mut references = 0;
        visit(&described, &mut |value| {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return };
            references += 1;
            let place = reference.strip_prefix('#').unwrap();
            assert!(described.pointer(place).is_some(), "{reference}");
        });
        assert!(references > 20, "{references}");
        for operation in operations() {
            assert!(operation.asks.is_none_or(|asks| action(asks) != "unknown"), "{operation:?}");
        }
    }
}
