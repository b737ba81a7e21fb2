//! The HTTP API of Sync. Lists are paged in small pages, newest first where there is no key.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::{ScriptedSync, ScriptedSyncService, SyncAccount, SyncEntries, put_entry};

/// The maximum size of a document or an item, in bytes.
const MAX_DATA_BYTES: usize = 16 * 1024;

/// The number of entries on a page, whatever `PageSize` is, so that every list of more than two has several pages.
const PAGE_SIZE: usize = 2;

/// The maximum size of a request body, in bytes. URL encoding takes up to three bytes for one.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// A refusal: the HTTP status and Twilio's code.
type SyncRefusal = (u16, u32);

struct SyncRequest {
    method: Method,
    path: String,
    host: String,
    query: BTreeMap<String, String>,
    form: BTreeMap<String, String>,
}

pub(super) fn router(sync: ScriptedSync) -> Router {
    Router::new()
        .route("/v1/Services", get(handle_services).post(handle_services))
        .route("/v1/Services/{service}/Maps", post(handle_maps))
        .route("/v1/Services/{service}/Maps/{map}/Items", get(handle_items).post(handle_items))
        .route("/v1/Services/{service}/Maps/{map}/Items/{key}", post(handle_item).delete(handle_item))
        .route("/v1/Services/{service}/Documents", post(handle_documents))
        .route("/v1/Services/{service}/Documents/{name}", get(handle_document).post(handle_document))
        .with_state(sync)
}

async fn handle_services(State(sync): State<ScriptedSync>, request: Request) -> Response {
    let told = |(at, service): (usize, &ScriptedSyncService)| {
        let date = format!("2026-11-{:02}T10:00:00Z", at + 1);
        json!({ "sid": service.sid, "friendly_name": service.friendly_name, "unique_name": null, "date_created": date })
    };
    sync.serve(request, &["FriendlyName"], |account, asked| {
        if asked.method == Method::POST {
            account.add_service(asked.field("FriendlyName")?);
            return Ok(created_response(
                &account.services.iter().enumerate().map(told).next_back().unwrap_or_default(),
            ));
        }
        asked.page("services", &account.services.iter().enumerate().map(told).rev().collect::<Vec<_>>())
    })
    .await
}

async fn handle_maps(State(sync): State<ScriptedSync>, Path(service): Path<String>, request: Request) -> Response {
    sync.serve(request, &["UniqueName"], |account, asked| {
        let name = asked.field("UniqueName")?;
        let maps = &mut account.service(&service)?.maps;
        if maps.contains_key(name) {
            return Err((409, 54301));
        }
        maps.insert(name.to_owned(), SyncEntries::new());
        Ok(created_response(&json!({ "sid": "MP00000000000000000000000000000001", "unique_name": name })))
    })
    .await
}

async fn handle_items(
    State(sync): State<ScriptedSync>,
    Path((service, map)): Path<(String, String)>,
    request: Request,
) -> Response {
    sync.serve(request, &["Key", "Data"], |account, asked| {
        let items = account.map(&service, &map)?;
        if asked.method == Method::GET {
            return asked.page("items", &items.iter().map(|(key, entry)| entry_json(key, entry)).collect::<Vec<_>>());
        }
        let (key, data) = (asked.field("Key")?, asked.data()?);
        if items.contains_key(key) {
            return Err((409, 54208));
        }
        Ok(created_response(&entry_json(key, put_entry(items, key, data))))
    })
    .await
}

async fn handle_item(
    State(sync): State<ScriptedSync>,
    Path((service, map, key)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    sync.serve(request, &["Data"], |account, asked| {
        let items = account.map(&service, &map)?;
        items.get(&key).ok_or((404, 54201))?;
        if asked.method == Method::DELETE {
            items.remove(&key);
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Ok(Json(entry_json(&key, put_entry(items, &key, asked.data()?))).into_response())
    })
    .await
}

async fn handle_documents(State(sync): State<ScriptedSync>, Path(service): Path<String>, request: Request) -> Response {
    sync.serve(request, &["UniqueName", "Data"], |account, asked| {
        let documents = &mut account.service(&service)?.documents;
        let (name, data) = (asked.field("UniqueName")?, asked.data()?);
        if documents.contains_key(name) {
            return Err((409, 54301));
        }
        Ok(created_response(&entry_json(name, put_entry(documents, name, data))))
    })
    .await
}

async fn handle_document(
    State(sync): State<ScriptedSync>,
    Path((service, name)): Path<(String, String)>,
    request: Request,
) -> Response {
    sync.serve(request, &["Data"], |account, asked| {
        let documents = &mut account.service(&service)?.documents;
        if asked.method == Method::POST && documents.contains_key(&name) {
            put_entry(documents, &name, asked.data()?);
        }
        Ok(Json(entry_json(&name, documents.get(&name).ok_or((404, 54100))?)).into_response())
    })
    .await
}

impl ScriptedSync {
    /// Checks a request and answers it with `work`. The form may have the `allowed` fields only.
    async fn serve(
        &self,
        request: Request,
        allowed: &[&str],
        work: impl FnOnce(&mut SyncAccount, &SyncRequest) -> Result<Response, SyncRefusal>,
    ) -> Response {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
        let fields = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect::<BTreeMap<_, _>>();
        let text =
            |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        let asked = SyncRequest {
            path: head.uri.path().to_owned(),
            host: text(header::HOST).to_owned(),
            query: fields(head.uri.query().unwrap_or_default().as_bytes()),
            form: fields(&body),
            method: head.method,
        };
        let mut account = self.lock();
        if account.is_down {
            return error_response((503, 20503));
        }
        if text(header::AUTHORIZATION) != account.authorization {
            account.violations.push(format!("{} without the right credentials", asked.path));
            return error_response((401, 20003));
        }
        if asked.method == Method::POST && text(header::CONTENT_TYPE) != "application/x-www-form-urlencoded" {
            account.violations.push(format!("the body to {} is not a form", asked.path));
        }
        let unknown = asked.form.keys().filter(|field| !allowed.contains(&field.as_str()));
        let unknown =
            unknown.chain(asked.query.keys().filter(|it| !["PageSize", "Page", "PageToken"].contains(&it.as_str())));
        let unknown: Vec<String> = unknown.map(|field| format!("{} does not know {field}", asked.path)).collect();
        account.violations.extend(unknown);
        if asked.method != Method::GET {
            account.writes.push(format!("{} {}", asked.method, asked.path));
        }
        work(&mut account, &asked).unwrap_or_else(error_response)
    }
}

impl SyncAccount {
    fn service(&mut self, sid: &str) -> Result<&mut ScriptedSyncService, SyncRefusal> {
        self.services.iter_mut().find(|service| service.sid == sid).ok_or((404, 54050))
    }

    fn map(&mut self, service: &str, map: &str) -> Result<&mut SyncEntries, SyncRefusal> {
        self.service(service)?.maps.get_mut(map).ok_or((404, 54200))
    }
}

impl SyncRequest {
    fn field(&self, name: &str) -> Result<&str, SyncRefusal> {
        self.form.get(name).map(String::as_str).filter(|value| !value.is_empty()).ok_or((400, 20001))
    }

    /// The field `Data`: a JSON object of at most [`MAX_DATA_BYTES`].
    fn data(&self) -> Result<Value, SyncRefusal> {
        let text = self.field("Data")?;
        if text.len() > MAX_DATA_BYTES {
            return Err((413, 54006));
        }
        serde_json::from_str(text).ok().filter(Value::is_object).ok_or((400, 54008))
    }

    /// Returns the requested page of a list, with the absolute URL of the next one.
    fn page(&self, key: &str, all: &[Value]) -> Result<Response, SyncRefusal> {
        let number = |name: &str, default| self.query.get(name).map_or(Some(default), |text| text.parse().ok());
        let (Some(size), Some(page)) = (number("PageSize", 50), number("Page", 0)) else { return Err((400, 54453)) };
        let token = |page: usize| format!("PT{page}");
        if !(1..=100).contains(&size) || (page > 0 && self.query.get("PageToken") != Some(&token(page))) {
            return Err((400, 54453));
        }
        let url =
            |page| format!("http://{}{}?PageSize={size}&Page={page}&PageToken={}", self.host, self.path, token(page));
        let shown: Vec<&Value> = all.iter().skip(page * PAGE_SIZE).take(PAGE_SIZE).collect();
        let next = (all.len() > (page + 1) * PAGE_SIZE).then(|| url(page + 1));
        let meta = json!({
            "key": key, "page": page, "page_size": size, "url": url(page), "first_page_url": url(0),
            "previous_page_url": null, "next_page_url": next,
        });
        Ok(Json(json!({ key: shown, "meta": meta })).into_response())
    }
}

fn entry_json(key: &str, (revision, data): &(usize, Value)) -> Value {
    json!({ "key": key, "unique_name": key, "revision": format!("r{revision}"), "data": data, "date_expires": null })
}

fn created_response(body: &Value) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}

fn error_response((status, code): SyncRefusal) -> Response {
    let body = json!({ "code": code, "message": "refused by the simulator", "status": status });
    (StatusCode::from_u16(status).unwrap_or_default(), Json(body)).into_response()
}
