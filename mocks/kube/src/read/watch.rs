use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use gatewright_seams::Clock;
use http::{HeaderValue, Response, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::format::{self, Format, Include};
use super::{place, selector};
use crate::bell::Listener;
use crate::dispatch::Reply;
use crate::request::{Query, Request};
use crate::schema::FieldError;
use crate::selector::Selector;
use crate::service::ResponseBody;
use crate::shared::Shared;
use crate::status::{Answer, ApiError};
use crate::store::{Change, Event, Object, Wanted};
use crate::write::At;
use crate::{events, meta};

/// How long a watch lasts that names no time: between this and twice this, as in the real server.
const DEFAULT_SECONDS: u64 = 1_800;

/// How often a watch that wants bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_mins(1);

/// How many changes are sent in one piece.
const BATCH: usize = 256;

struct Watch {
    shared: Arc<Shared>,
    at: At,
    only: Option<String>,
    selector: Selector,
    format: Format,
    /// Changes up to this revision are sent.
    cursor: u64,
    /// What to show before the first change.
    initial: VecDeque<Arc<Object>>,
    /// A bookmark that says that the initial objects are all sent.
    initial_end: bool,
    bookmarks: bool,
    next_bookmark: Timestamp,
    deadline: Timestamp,
    changed: Listener,
    cuts: Listener,
    columns_shown: bool,
    ended: bool,
}

/// Starts a watch on a collection, or on one object of it.
pub(crate) fn watch(
    shared: &Arc<Shared>,
    request: &Request,
    at: &At,
    only: Option<&str>,
) -> Answer<Reply> {
    let query = &request.query;
    let selector = selector(request, at)?;
    let only = only.or(selector.name()).map(str::to_owned);
    let bookmarks = query.flag("allowWatchBookmarks");
    let send_initial = query.get("sendInitialEvents").map(|value| value == "true");
    check_watch(query)?;
    let wanted = watched_from(query.get("resourceVersion"))?;
    let changed = shared.store.subscribe(&at.resource.collection);
    let current = shared.store.revision();
    // A watch from a version that is still to come waits for it; first objects cannot.
    if wanted > current && send_initial == Some(true) {
        return Err(ApiError::too_large_version(wanted, current));
    }
    let synthetic = match send_initial {
        Some(asked) => asked,
        None => wanted == 0,
    };
    let (cursor, initial) = if synthetic {
        let wanted = Wanted {
            namespace: place(at),
            ..Wanted::default()
        };
        let page = shared.store.page(&at.resource.collection, &wanted);
        let page = page.map_err(|expired| too_old(current, expired.oldest))?;
        (page.revision, page.objects.into())
    } else {
        // When the history does not reach back, the stream begins with the error, as the real
        // server's watch cache has it: clients list anew only for an error inside of a watch.
        let from = if wanted == 0 { current } else { wanted };
        (from, VecDeque::new())
    };
    let now = shared.clock.now();
    let seconds = match query
        .number("timeoutSeconds")?
        .filter(|seconds| *seconds > 0)
    {
        Some(seconds) => seconds,
        None => DEFAULT_SECONDS + shared.random.below(DEFAULT_SECONDS),
    };
    let watch = Watch {
        shared: shared.clone(),
        at: at.clone(),
        only,
        selector,
        format: Format::of(request)?,
        cursor,
        initial,
        initial_end: synthetic && send_initial == Some(true) && bookmarks,
        bookmarks,
        next_bookmark: later(now, BOOKMARK_EVERY),
        deadline: later(now, Duration::from_secs(seconds)),
        changed,
        cuts: shared.faults.cuts(),
        columns_shown: false,
        ended: false,
    };
    let stream = futures::stream::unfold(watch, |mut watch| async move {
        watch.next().await.map(|bytes| (bytes, watch))
    });
    let mut reply = Response::new(ResponseBody::stream(stream));
    let headers = reply.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    Ok(reply)
}

/// The revision after which a watch begins. One that is none is a failure of the real server's cache.
fn watched_from(text: Option<&str>) -> Answer<u64> {
    text.map_or(Ok(0), |text| {
        text.parse().map_err(|_| {
            ApiError::plain(format!(
                "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
                 invalid syntax"
            ))
        })
    })
}

fn later(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

fn too_old(wanted: u64, oldest: u64) -> ApiError {
    ApiError::expired(format!("too old resource version: {wanted} ({oldest})"))
}

/// How the options of a watch may be combined (`ValidateListOptions` of `meta/internalversion`).
fn check_watch(query: &Query) -> Answer<()> {
    const FIELD: &str = "resourceVersionMatch";
    let named = query.get(FIELD);
    let sends = query.get("sendInitialEvents").is_some();
    let fits = named == Some("NotOlderThan");
    let mut errors = Vec::new();
    if sends && !fits {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(FIELD, why));
    }
    if named.is_some() && !sends {
        let why =
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        errors.push(FieldError::forbidden(FIELD, why));
    }
    if let Some(named) = named.filter(|_| !fits) {
        errors.push(FieldError::not_supported(
            FIELD,
            &named.into(),
            &["NotOlderThan"],
        ));
    }
    if (sends || named.is_some()) && query.get("continue").is_some() {
        let why = "resourceVersionMatch is forbidden when continue is provided";
        errors.push(FieldError::forbidden(FIELD, why));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid("ListOptions", "meta.k8s.io", "", &errors))
}

/// Waits for the first of three things; the order of the arms decides when several are there.
async fn wait(clock: Clock, changed: &mut Listener, cuts: &mut Listener, until: Timestamp) -> bool {
    let cut = std::pin::pin!(cuts.changed());
    let change = std::pin::pin!(changed.changed());
    let timer = std::pin::pin!(clock.sleep_until(until));
    let rest = select(change, timer);
    matches!(select(cut, rest).await, Either::Left(_))
}

impl Watch {
    /// The next piece of the answer, none at its end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        loop {
            if self.ended || self.shared.tasks.is_cancelled() {
                return None;
            }
            self.show_initial(&mut out);
            if out.is_empty() {
                self.show_changes(&mut out);
            }
            if !out.is_empty() {
                return Some(out.into());
            }
            let now = self.shared.clock.now();
            if now >= self.deadline {
                self.ended = true;
                if self.bookmarks {
                    self.bookmark(&mut out, false);
                    return Some(out.into());
                }
                return None;
            }
            if self.bookmarks && now >= self.next_bookmark {
                self.next_bookmark = later(now, BOOKMARK_EVERY);
                self.bookmark(&mut out, false);
                return Some(out.into());
            }
            let until = if self.bookmarks {
                self.deadline.min(self.next_bookmark)
            } else {
                self.deadline
            };
            let clock = self.shared.clock;
            if wait(clock, &mut self.changed, &mut self.cuts, until).await {
                self.ended = true;
            }
        }
    }

    fn show_initial(&mut self, out: &mut Vec<u8>) {
        for _ in 0..BATCH {
            let Some(stored) = self.initial.pop_front() else {
                break;
            };
            let object = events::shown(&self.at.resource, &stored);
            if self.wants(&object) {
                self.emit(out, "ADDED", &object);
            }
        }
        if self.initial.is_empty() && self.initial_end {
            self.initial_end = false;
            self.bookmark(out, true);
        }
    }

    fn show_changes(&mut self, out: &mut Vec<u8>) {
        // Marks the current value as seen before reading, so that a later change wakes.
        self.changed.look();
        loop {
            match self
                .shared
                .store
                .events(&self.at.resource.collection, self.cursor, BATCH)
            {
                Err(expired) => {
                    let error = too_old(self.cursor, expired.oldest);
                    let line = json!({"type": "ERROR", "object": error.to_value()});
                    put_line(out, &line);
                    self.ended = true;
                    return;
                }
                Ok(found) => {
                    let all = found.len() < BATCH;
                    for event in found {
                        self.cursor = event.revision;
                        self.show_change(out, &event);
                    }
                    if all || !out.is_empty() {
                        return;
                    }
                }
            }
        }
    }

    fn show_change(&mut self, out: &mut Vec<u8>, event: &Event) {
        if place(&self.at).is_some_and(|namespace| namespace != event.key.namespace) {
            return;
        }
        if self
            .only
            .as_deref()
            .is_some_and(|only| only != event.key.name)
        {
            return;
        }
        let object = events::shown(&self.at.resource, &event.object);
        let before = event
            .previous
            .as_ref()
            .map(|p| events::shown(&self.at.resource, p));
        let was = before.as_ref().is_some_and(|before| self.wants(before));
        let is = event.change != Change::Deleted && self.wants(&object);
        match (was, is) {
            (false, false) => {}
            (false, true) => self.emit(out, "ADDED", &object),
            (true, true) => self.emit(out, "MODIFIED", &object),
            (true, false) => {
                // The last state that was selected, with the revision of the change.
                let last = match (&before, event.change) {
                    (Some(before), Change::Added | Change::Modified) => {
                        let mut last = Value::clone(before);
                        let revision = Value::String(event.revision.to_string());
                        meta::set_metadata(&mut last, "resourceVersion", Some(revision));
                        Object::new(last)
                    }
                    _ => object,
                };
                self.emit(out, "DELETED", &last);
            }
        }
    }

    fn wants(&self, object: &Value) -> bool {
        self.only
            .as_deref()
            .is_none_or(|only| only == meta::name(object))
            && self.selector.matches(object)
    }

    fn emit(&mut self, out: &mut Vec<u8>, kind: &str, object: &Arc<Object>) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        match self.format {
            Format::Object => out.extend_from_slice(object.text()),
            Format::Partial => format::put_partial(out, object),
            Format::Table(include) => {
                let objects = std::slice::from_ref(object);
                let mut table =
                    format::Table::of(&self.shared, &self.at.resource, objects, include);
                table.columns = !std::mem::replace(&mut self.columns_shown, true);
                table.put(out);
            }
        }
        out.extend_from_slice(b"}\n");
    }

    /// An event that carries only a revision: everything up to it was sent.
    fn bookmark(&mut self, out: &mut Vec<u8>, initial_end: bool) {
        // Nothing of this collection is between the cursor and what may be shown: changes were read just before.
        if !initial_end {
            self.cursor = self.cursor.max(self.shown_up_to());
        }
        let mut metadata = json!({
            "resourceVersion": self.cursor.to_string(),
        });
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.format {
            Format::Object => json!({
                "kind": self.at.resource.kind,
                "apiVersion": self.at.resource.api_version(),
                "metadata": metadata,
            }),
            Format::Partial => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            }),
            Format::Table(include) => {
                let mut table = json!({
                    "kind": "Table",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"resourceVersion": self.cursor.to_string()},
                    "columnDefinitions": null,
                    "rows": [],
                });
                let object = json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata,
                });
                if include != Include::Nothing {
                    table["rows"] = json!([{"cells": [], "object": object}]);
                }
                table
            }
        };
        put_line(out, &json!({"type": "BOOKMARK", "object": object}));
    }

    fn shown_up_to(&self) -> u64 {
        let store = &self.shared.store;
        let visible = store.visible();
        match store.events(&self.at.resource.collection, self.cursor, 1) {
            // A change came in between; it is sent next.
            Ok(events) if !events.is_empty() => self.cursor,
            Ok(_) => visible,
            Err(_) => self.cursor,
        }
    }
}

fn put_line(out: &mut Vec<u8>, line: &Value) {
    format::put(out, line);
    out.push(b'\n');
}
