//! Subresources that are objects of their own: `scale`, and a Pod's `binding` and `eviction`.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::dispatch::{Reply, json as json_reply};
use crate::request::Request;
use crate::schema::{FieldError, FieldReason};
use crate::shared::Shared;
use crate::status::{Answer, ApiError, success};
use crate::write::{self, At, DeleteOptions, Patch, Proposed, WriteOptions, scale_of};
use crate::{bodies, events, meta};

pub(crate) fn get(shared: &Shared, at: &At) -> Answer<Reply> {
    let location = at.location();
    let stored = shared
        .store
        .get(&location.collection, &location.key)
        .ok_or_else(|| at.not_found())?;
    let scale = at.resource.scale.as_ref().ok_or_else(ApiError::no_route)?;
    Ok(json_reply(
        StatusCode::OK,
        &scale_of(at, scale, &events::shown(&at.resource, &stored)),
    ))
}

/// Changes the number of replicas by an update or a patch of the Scale.
pub(crate) fn change(
    shared: &Shared,
    request: &Request,
    at: &At,
    body: &Bytes,
    options: &WriteOptions,
) -> Answer<Reply> {
    let scale = at.resource.scale.as_ref().ok_or_else(ApiError::no_route)?;
    // The real server loses the time on the way from the Scale to the object.
    let mut options = options.clone();
    options.writer.time.clear();
    let options = &options;
    let patch = match request.verb() {
        "update" => None,
        _ => Some(bodies::patch(request, &at.resource, body)?),
    };
    let whole = match patch {
        None => Some(bodies::object(request, body)?),
        Some(_) => None,
    };
    if let Some(whole) = &whole {
        check_scale(at, whole)?;
    }
    let written = write::update(shared, at, options, &mut |live| {
        let mut wanted = scale_of(at, scale, live);
        match (&whole, &patch) {
            (Some(whole), _) => wanted = whole.clone(),
            (None, Some(Patch::Json(operations))) => {
                json_patch::patch(&mut wanted, operations)
                    .map_err(|error| ApiError::bad_request(error.to_string()))?;
            }
            (
                None,
                Some(
                    Patch::Merge(change)
                    | Patch::Strategic(change)
                    | Patch::Apply { config: change, .. },
                ),
            ) => json_patch::merge(&mut wanted, change),
            (None, None) => {}
        }
        let replicas = wanted
            .pointer("/spec/replicas")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if replicas < 0 {
            let errors = [FieldError {
                field: scale.replicas.replace('/', "."),
                reason: FieldReason::Invalid,
                detail: format!("Invalid value: {replicas}: should be a non-negative integer"),
            }];
            let (kind, group) = (&at.resource.kind, &at.resource.group);
            return Err(ApiError::invalid(kind, group, &at.name, &errors));
        }
        let mut object = live.clone();
        set(&mut object, &scale.replicas, json!(replicas));
        let revision = wanted.pointer("/metadata/resourceVersion").cloned();
        if revision
            .as_ref()
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
        {
            meta::set_metadata(&mut object, "resourceVersion", revision);
        }
        Ok(Proposed {
            object,
            applied: false,
            patch: None,
            conditional: false,
        })
    })?;
    Ok(json_reply(
        StatusCode::OK,
        &scale_of(at, scale, &written.object),
    ))
}

/// Checks that what is sent is the Scale of the object that the path names.
fn check_scale(at: &At, scale: &Value) -> Answer<()> {
    let kind = meta::text(scale, "/kind");
    if !matches!(kind, "" | "Scale") {
        let version = meta::text(scale, "/apiVersion");
        let version = version.rsplit('/').next().unwrap_or_default();
        return Err(ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a Scale: converting \
             ({version}.{kind}) to (autoscaling.Scale): unknown conversion"
        )));
    }
    let replicas = scale.pointer("/spec/replicas");
    if replicas.is_some_and(|replicas| !replicas.is_i64() && !replicas.is_u64()) {
        let held = match replicas {
            Some(Value::String(_)) => "string",
            Some(Value::Bool(_)) => "bool",
            Some(Value::Array(_)) => "array",
            Some(Value::Object(_)) => "object",
            _ => "number",
        };
        return Err(ApiError::bad_request(format!(
            "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal {held} into \
             Go struct field ScaleSpec.spec.replicas of type int32"
        )));
    }
    let name = meta::name(scale);
    if !name.is_empty() && name != at.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            at.name
        )));
    }
    Ok(())
}

/// Writes at a JSON pointer of fields, making the maps on the way.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for field in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[field];
    }
    *place = value;
}

/// `binding` puts a Pod on a node; `eviction` deletes it, unless a disruption budget forbids that.
pub(crate) fn pod(
    shared: &Arc<Shared>,
    request: &Request,
    at: &At,
    subresource: &str,
    body: &Bytes,
) -> Answer<Reply> {
    let object = bodies::object(request, body)?;
    if subresource == "eviction" {
        let name = meta::name(&object);
        if !name.is_empty() && name != at.name {
            return Err(ApiError::bad_request(
                "name in URL does not match name in Eviction object",
            ));
        }
        check_budgets(shared, at)?;
        let options = DeleteOptions::read(object.get("deleteOptions"), &request.query)?;
        write::delete(shared, at, &options)?;
    } else {
        let node = meta::text(&object, "/target/name").to_owned();
        let options = WriteOptions::internal(shared, &at.resource, "");
        write::update(shared, at, &options, &mut |live| {
            let mut pod = live.clone();
            let held = meta::text(live, "/spec/nodeName");
            if !held.is_empty() {
                let why = format!("pod {} is already assigned to node {held:?}", at.name);
                return Err(ApiError::conflict("pods/binding", "", &at.name, &why));
            }
            set(&mut pod, "/spec/nodeName", json!(node));
            Ok(Proposed {
                object: pod,
                applied: false,
                patch: None,
                conditional: false,
            })
        })?;
    }
    let mut status = success("pods", "", &at.name, "");
    meta::remove(&mut status, "details");
    status["code"] = StatusCode::CREATED.as_u16().into();
    Ok(json_reply(StatusCode::CREATED, &status))
}

fn check_budgets(shared: &Shared, at: &At) -> Answer<()> {
    let location = at.location();
    let pod = shared
        .store
        .get(&location.collection, &location.key)
        .ok_or_else(|| at.not_found())?;
    // A Pod that does not run, or is on its way out, breaks no budget.
    let phase = meta::text(&pod, "/status/phase");
    if meta::deleting(&pod) || matches!(phase, "Pending" | "Succeeded" | "Failed") {
        return Ok(());
    }
    let budgets = Arc::from("policy/poddisruptionbudgets");
    for budget in shared.store.all(&budgets, Some(&at.namespace)) {
        let selector = budget.pointer("/spec/selector").unwrap_or(&Value::Null);
        let text = crate::selector::print_selector(selector);
        let selects = crate::selector::Selector::parse(&text, "", &at.resource)
            .is_ok_and(|selector| selector.matches(&pod));
        let allowed = budget
            .pointer("/status/disruptionsAllowed")
            .and_then(Value::as_i64);
        if selects && allowed.unwrap_or(0) <= 0 {
            let count = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
            return Err(ApiError::disruption_budget(&format!(
                "The disruption budget {} needs {} healthy pods and has {} currently",
                meta::name(&budget),
                count("desiredHealthy"),
                count("currentHealthy")
            )));
        }
    }
    Ok(())
}
