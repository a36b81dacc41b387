//! The OpenAPI 3.1 document: made from the handlers and their types, then told what the types cannot say.
//!
//! The patterns and limits are those of the draft's checks: what the document allows is accepted. Of durations and
//! times it gives the usual forms; more are understood.

use serde_json::{Map, Value, json};
use sortie_engine::{MAX_LABELS, StateName};
use sortie_wire::draft::{MAX_COUNT, MAX_NAME_CHARS, MAX_RETRIES, RESERVED_ENV};

use crate::key::MAX_KEY_BYTES;

/// Text for a place where the system takes none with a NUL.
const NO_NUL: &str = r"^[^\u0000]*$";
/// The same, with something to see in it: neither white space nor a control character.
const VISIBLE: &str =
    r"^[^\u0000]*[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\u0000]*$";
const LABEL_KEY: &str = "^[A-Za-z0-9._/-]{1,63}$";
const LABEL_VALUE: &str = "^[A-Za-z0-9._/-]{0,63}$";
/// `90s`, `1h 30m`, `7days`: up to a year, the largest unit first.
const DURATION: &str = concat!(
    "^(([1-9][0-9]?|[12][0-9]{2}|3[0-5][0-9])(d|days?)( ?[0-9]{1,2}h)?( ?[0-9]{1,2}m)?( ?[0-9]{1,2}s)?",
    "|[1-9][0-9]{0,2}(h|hours?)( ?[0-9]{1,2}m)?( ?[0-9]{1,2}s)?",
    "|[1-9][0-9]{0,4}(m|min)( ?[0-9]{1,2}s)?",
    "|[1-9][0-9]{0,6}s( ?[0-9]{1,3}ms)?|[1-9][0-9]{0,8}ms)$",
);
/// How long one request may wait.
const WAIT: &str = "^(0|[1-9][0-9]{0,4}ms|[1-9][0-9]{0,2}s|[1-5]m)$";
/// Visible ASCII.
const KEY: &str = "^[!-~]+$";
/// A moment of this century, in UTC.
const TIME: &str = concat!(
    "^20([0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)",
    "|02-(0[1-9]|1[0-9]|2[0-8]))|([02468][048]|[13579][26])-02-29)",
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,3})?Z$",
);
const JOB_ID: &str = "^[0-9]{1,18}$";
const TASK_ID: &str = r"^[0-9]{1,18}(\.[0-9]{1,9})?$";

/// Adds to the document what the types cannot say.
pub(super) fn refine(document: utoipa::openapi::OpenApi) -> Value {
    // A document that cannot be written is told from a finished one by the test below.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let schemas = &mut document["components"]["schemas"];
    let mut task = schemas["Spec"].clone();
    refine_spec(&mut task);
    schemas["SubmitRetry"] = retry(&schemas["Retry"]);
    schemas["SubmitJob"] = job(&task);
    schemas["SubmitTask"] = task;
    for (path, schema) in [("/tasks", "SubmitTask"), ("/v1/tasks", "SubmitTask"), ("/v1/jobs", "SubmitJob")] {
        let reference = json!({ "$ref": format!("#/components/schemas/{schema}") });
        document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"] = reference;
    }
    refine_queries(&mut document["paths"]);
    tell_when_to_retry(&mut document["paths"]);
    document
}

/// What is asked for is held to more than what is told: a duration that is told may be written in many ways.
fn refine_spec(spec: &mut Value) {
    spec["title"] = json!("SubmitTask");
    let fields = &mut spec["properties"];
    merge(&mut fields["cmd"], json!({ "pattern": VISIBLE }));
    merge(&mut fields["script"], json!({ "pattern": r"^#![^\u0000]*$" }));
    let argument = json!({ "type": "string", "pattern": NO_NUL });
    let program = json!({ "type": "string", "minLength": 1, "pattern": NO_NUL });
    merge(&mut fields["argv"], json!({ "prefixItems": [program], "items": argument, "minItems": 1 }));
    merge(&mut fields["name"], json!({ "pattern": NO_NUL, "maxLength": MAX_NAME_CHARS }));
    merge(&mut fields["cwd"], json!({ "pattern": r"^/[^\u0000]*$" }));
    for duration in ["timeout", "kill_grace", "queue_timeout"] {
        merge(&mut fields[duration], json!({ "pattern": DURATION }));
    }
    let policy = json!({ "$ref": "#/components/schemas/SubmitRetry" });
    let count = json!({ "type": "integer", "minimum": 0, "maximum": MAX_RETRIES });
    fields["retry"] = json!({
        "anyOf": [{ "type": "null" }, count, policy],
        "default": null,
        "description": "What is done about a command that failed, or ran into its timeout; nothing if absent. A bare \
                        number stands for an object with that `count`.",
    });
    merge(&mut fields["max_lost"], json!({ "maximum": MAX_RETRIES }));
    merge(&mut fields["priority"], json!({ "minimum": i32::MIN, "maximum": i32::MAX }));
    merge(&mut fields["selector"], json!({ "pattern": selector() }));
    let key = json!({ "pattern": r"^[^=\u0000]+$", "not": { "enum": RESERVED_ENV } });
    let value = json!({ "type": "string", "pattern": NO_NUL });
    merge(&mut fields["env"], json!({ "propertyNames": key, "additionalProperties": value }));
    let (key, value) = (json!({ "pattern": LABEL_KEY }), json!({ "type": "string", "pattern": LABEL_VALUE }));
    let labels = json!({ "propertyNames": key, "additionalProperties": value, "maxProperties": MAX_LABELS });
    merge(&mut fields["labels"], labels);
    spec["oneOf"] = ["cmd", "argv", "script"].into_iter().map(only_command).collect();
}

/// A retry policy that is asked for.
fn retry(shown: &Value) -> Value {
    let mut policy = shown.clone();
    let fields = &mut policy["properties"];
    merge(&mut fields["count"], json!({ "minimum": 0, "maximum": MAX_RETRIES }));
    merge(&mut fields["backoff"], json!({ "pattern": DURATION }));
    merge(&mut fields["max_backoff"], json!({ "pattern": DURATION }));
    let code = json!({ "type": "integer", "minimum": 1, "maximum": 255 });
    merge(&mut fields["exit_codes"], json!({ "items": code }));
    policy
}

/// A spec whose command is this field, and none of the others.
fn only_command(field: &str) -> Value {
    let others = ["cmd", "argv", "script"].into_iter().filter(|other| *other != field);
    let absent: Map<String, Value> = others.map(|other| (other.to_owned(), json!({ "type": "null" }))).collect();
    json!({ "required": [field], "not": { "properties": { field: { "type": "null" } } }, "properties": absent })
}

/// A job's fields: a task's, and `count`.
fn job(spec: &Value) -> Value {
    let mut job = spec.clone();
    job["title"] = json!("SubmitJob");
    job["description"] = json!("The fields of a task, and how many tasks share them.");
    job["properties"]["count"] = json!({
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": MAX_COUNT,
        "default": null,
        "description": "How many tasks; each has its index in `SORTIE_INDEX`. 1 if absent.",
    });
    job
}

/// Who is told to come again is told when.
fn tell_when_to_retry(paths: &mut Value) {
    for operation in operations(paths) {
        for status in ["429", "503"] {
            if let Some(response) = operation.get_mut("responses").and_then(|responses| responses.get_mut(status)) {
                response["headers"] = json!({ "retry-after": { "schema": { "type": "integer", "minimum": 0 } } });
            }
        }
    }
}

fn operations(paths: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = paths.as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    paths.filter_map(Value::as_object_mut).flat_map(|methods| methods.values_mut())
}

fn refine_queries(paths: &mut Value) {
    for operation in operations(paths) {
        if let Some(parameters) = operation.get_mut("parameters") {
            refine_parameter(parameters, "wait", json!({ "pattern": WAIT }));
            let key = json!({ "type": "string", "pattern": KEY, "minLength": 1, "maxLength": MAX_KEY_BYTES });
            refine_parameter(parameters, "Idempotency-Key", key);
        }
    }
    for (path, cursor) in [("/v1/tasks", TASK_ID), ("/v1/jobs", JOB_ID)] {
        let parameters = &mut paths[path]["get"]["parameters"];
        refine_parameter(parameters, "cursor", json!({ "pattern": cursor }));
        refine_parameter(parameters, "state", json!({ "pattern": states() }));
        refine_parameter(parameters, "label", json!({ "pattern": selector() }));
        refine_parameter(parameters, "job", json!({ "pattern": JOB_ID }));
        for time in ["submitted_from", "submitted_until"] {
            refine_parameter(parameters, time, json!({ "pattern": TIME }));
        }
    }
    refine_parameter(&mut paths["/v1/workers"]["get"]["parameters"], "label", json!({ "pattern": selector() }));
    // Jobs are not chosen by what only their tasks have.
    if let Some(parameters) = paths["/v1/jobs"]["get"]["parameters"].as_array_mut() {
        parameters.retain(|parameter| parameter["name"] != "job" && parameter["name"] != "worker");
    }
}

fn refine_parameter(parameters: &mut Value, name: &str, more: Value) {
    let found = parameters.as_array_mut().into_iter().flatten().find(|parameter| parameter["name"] == name);
    if let Some(parameter) = found {
        merge(&mut parameter["schema"], more);
    }
}

fn states() -> String {
    let state = StateName::ALL.map(StateName::as_str).join("|");
    format!("^({state})(,({state})){{0,9}}$")
}

fn selector() -> String {
    const WORD: &str = "[A-Za-z0-9._/-]";
    let requirement = format!(" *(!{WORD}{{1,63}}|{WORD}{{1,63}}( *!?= *{WORD}{{0,63}})?) *");
    format!("^( *|{requirement}(,{requirement}){{0,63}})$")
}

fn merge(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    /// Every reference in the document, wherever it stands.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn the_document_is_whole() {
        let document = crate::openapi();
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
        assert_eq!(document["paths"].as_object().map(serde_json::Map::len), Some(16));
        assert_eq!(document.pointer("/paths/~1healthz/get/parameters"), None, "what is absent stays absent");
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        assert!(document.pointer("/components/schemas/SubmitJob/properties/count/maximum").is_some());
        assert!(document.pointer("/components/schemas/SubmitTask/oneOf/2").is_some());
        assert!(document.pointer("/components/schemas/SubmitTask/properties/retry/anyOf/2/$ref").is_some());
        assert!(document.pointer("/components/schemas/SubmitRetry/properties/exit_codes/items/maximum").is_some());
        let key = document.pointer("/paths/~1v1~1jobs/post/parameters/1").expect("a second parameter");
        assert_eq!((&key["name"], &key["in"]), (&"Idempotency-Key".into(), &"header".into()));
        assert_eq!(key["schema"]["maxLength"], 255);
    }
}
