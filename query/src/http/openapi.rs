//! The OpenAPI 3.1 document, made from the list of routes and the schemas of the API's types.

use query_api::ErrorAnswer;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::routes::{Answer, Param, ROUTES, Route};

/// The document of all routes.
pub(super) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in ROUTES {
        let methods = route
            .methods
            .iter()
            .map(|method| (method.to_lowercase(), operation(route, method, &mut schemas)));
        paths.insert(route.path.to_owned(), Value::Object(methods.collect()));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "silmari query API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Times are RFC 3339 with nanoseconds; durations are whole nanoseconds in fields that end \
                            in _nano. A field is only ever added within v1.",
        },
        "paths": paths,
        "components": { "schemas": schemas.take_definitions(true) },
    })
}

fn operation(route: &Route, method: &str, schemas: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = path_names(route.path).map(path_parameter).collect();
    let mut operation = Map::new();
    if method == "GET" {
        parameters.extend(route.params.iter().map(query_parameter));
    } else if let Some(schema) = route.body {
        let content = json!({ "application/json": { "schema": schema(schemas) } });
        operation.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    } else {
        let content = json!({ "application/x-www-form-urlencoded": { "schema": form(route.params) } });
        operation.insert("requestBody".to_owned(), json!({ "content": content }));
    }
    operation.insert("summary".to_owned(), route.about.into());
    operation.insert("parameters".to_owned(), parameters.into());
    operation.insert("responses".to_owned(), responses(route, schemas));
    Value::Object(operation)
}

fn responses(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let content = match &route.answer {
        Answer::Json(schema) => json!({ "application/json": { "schema": schema(schemas) } }),
        Answer::Lines(schema) => json!({ "application/x-ndjson": { "schema": schema(schemas) } }),
        Answer::Text => json!({ "text/plain": { "schema": { "type": "string" } } }),
    };
    let error = match route.path.starts_with("/prometheus/") {
        true => schemas.subschema_for::<query_api::MetricsAnswer>(),
        false => schemas.subschema_for::<ErrorAnswer>(),
    };
    json!({
        "200": { "description": "Success", "content": content },
        "default": { "description": "Error", "content": { "application/json": { "schema": error } } },
    })
}

/// The names in braces of a path.
fn path_names(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn path_parameter(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}

fn query_parameter(param: &Param) -> Value {
    json!({
        "name": param.name,
        "in": "query",
        "required": param.is_required,
        "description": param.about,
        "schema": value_schema(param),
    })
}

fn value_schema(param: &Param) -> Value {
    match param.is_repeatable {
        true => json!({ "type": "array", "items": { "type": "string" } }),
        false => json!({ "type": "string" }),
    }
}

fn form(params: &[Param]) -> Value {
    let property = |param: &Param| {
        let mut schema = value_schema(param);
        schema["description"] = param.about.into();
        (param.name.to_owned(), schema)
    };
    let required: Vec<&str> =
        params.iter().filter(|param| param.is_required).map(|param| param.name).collect();
    let properties: Map<String, Value> = params.iter().map(property).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}
