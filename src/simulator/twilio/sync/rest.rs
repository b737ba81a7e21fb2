//! What Sync is asked over HTTP, and how it answers. Lists come in small pages, newest first where there is no key.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::{Account, Entries, Service, Sync, put};

/// The most that a document or an item may hold, in bytes.
const MAX_DATA: usize = 16 * 1024;

/// Entries on a page, however many are asked for: every list of more than two is read page by page.
const PAGE: usize = 2;

/// The longest body of a request that is read: a form takes up to three bytes for one.
const MAX_BODY: usize = 256 * 1024;

/// A refusal: the HTTP status and Twilio's code.
type Refused = (u16, u32);

struct Asked {
    method: Method,
    path: String,
    host: String,
    query: BTreeMap<String, String>,
    form: BTreeMap<String, String>,
}

pub(super) fn router(sync: Sync) -> Router {
    Router::new()
        .route("/v1/Services", get(services).post(services))
        .route("/v1/Services/{service}/Maps", post(maps))
        .route("/v1/Services/{service}/Maps/{map}/Items", get(items).post(items))
        .route("/v1/Services/{service}/Maps/{map}/Items/{key}", post(item).delete(item))
        .route("/v1/Services/{service}/Documents", post(documents))
        .route("/v1/Services/{service}/Documents/{name}", get(document).post(document))
        .with_state(sync)
}

async fn services(State(sync): State<Sync>, request: Request) -> Response {
    let told = |(at, service): (usize, &Service)| {
        let date = format!("2026-11-{:02}T10:00:00Z", at + 1);
        json!({ "sid": service.sid, "friendly_name": service.friendly_name, "unique_name": null, "date_created": date })
    };
    sync.serve(request, &["FriendlyName"], |account, asked| {
        if asked.method == Method::POST {
            account.add_service(asked.field("FriendlyName")?);
            return Ok(created(&account.services.iter().enumerate().map(told).next_back().unwrap_or_default()));
        }
        asked.page("services", &account.services.iter().enumerate().map(told).rev().collect::<Vec<_>>())
    })
    .await
}

async fn maps(State(sync): State<Sync>, Path(service): Path<String>, request: Request) -> Response {
    sync.serve(request, &["UniqueName"], |account, asked| {
        let name = asked.field("UniqueName")?;
        let maps = &mut account.service(&service)?.maps;
        if maps.contains_key(name) {
            return Err((409, 54301));
        }
        maps.insert(name.to_owned(), Entries::new());
        Ok(created(&json!({ "sid": "MP00000000000000000000000000000001", "unique_name": name })))
    })
    .await
}

async fn items(State(sync): State<Sync>, Path((service, map)): Path<(String, String)>, request: Request) -> Response {
    sync.serve(request, &["Key", "Data"], |account, asked| {
        let items = account.map(&service, &map)?;
        if asked.method == Method::GET {
            return asked.page("items", &items.iter().map(|(key, entry)| told(key, entry)).collect::<Vec<_>>());
        }
        let (key, data) = (asked.field("Key")?, asked.data()?);
        if items.contains_key(key) {
            return Err((409, 54208));
        }
        Ok(created(&told(key, put(items, key, data))))
    })
    .await
}

async fn item(
    State(sync): State<Sync>,
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
        Ok(Json(told(&key, put(items, &key, asked.data()?))).into_response())
    })
    .await
}

async fn documents(State(sync): State<Sync>, Path(service): Path<String>, request: Request) -> Response {
    sync.serve(request, &["UniqueName", "Data"], |account, asked| {
        let documents = &mut account.service(&service)?.documents;
        let (name, data) = (asked.field("UniqueName")?, asked.data()?);
        if documents.contains_key(name) {
            return Err((409, 54301));
        }
        Ok(created(&told(name, put(documents, name, data))))
    })
    .await
}

async fn document(
    State(sync): State<Sync>,
    Path((service, name)): Path<(String, String)>,
    request: Request,
) -> Response {
    sync.serve(request, &["Data"], |account, asked| {
        let documents = &mut account.service(&service)?.documents;
        if asked.method == Method::POST && documents.contains_key(&name) {
            put(documents, &name, asked.data()?);
        }
        Ok(Json(told(&name, documents.get(&name).ok_or((404, 54100))?)).into_response())
    })
    .await
}

impl Sync {
    /// Answers a request with what `work` makes of it. The `allowed` fields are all that its form may have.
    async fn serve(
        &self,
        request: Request,
        allowed: &[&str],
        work: impl FnOnce(&mut Account, &Asked) -> Result<Response, Refused>,
    ) -> Response {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, MAX_BODY).await.unwrap_or_default();
        let fields = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect::<BTreeMap<_, _>>();
        let text =
            |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        let asked = Asked {
            path: head.uri.path().to_owned(),
            host: text(header::HOST).to_owned(),
            query: fields(head.uri.query().unwrap_or_default().as_bytes()),
            form: fields(&body),
            method: head.method,
        };
        let mut account = self.lock();
        if account.down {
            return refuse((503, 20503));
        }
        if text(header::AUTHORIZATION) != account.authorization {
            account.violations.push(format!("{} without the right credentials", asked.path));
            return refuse((401, 20003));
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
        work(&mut account, &asked).unwrap_or_else(refuse)
    }
}

impl Account {
    fn service(&mut self, sid: &str) -> Result<&mut Service, Refused> {
        self.services.iter_mut().find(|service| service.sid == sid).ok_or((404, 54050))
    }

    fn map(&mut self, service: &str, map: &str) -> Result<&mut Entries, Refused> {
        self.service(service)?.maps.get_mut(map).ok_or((404, 54200))
    }
}

impl Asked {
    fn field(&self, name: &str) -> Result<&str, Refused> {
        self.form.get(name).map(String::as_str).filter(|value| !value.is_empty()).ok_or((400, 20001))
    }

    /// The field `Data`: a JSON object, and not too large.
    fn data(&self) -> Result<Value, Refused> {
        let text = self.field("Data")?;
        if text.len() > MAX_DATA {
            return Err((413, 54006));
        }
        serde_json::from_str(text).ok().filter(Value::is_object).ok_or((400, 54008))
    }

    /// The page of a list that is asked for, with the absolute URL of the next one.
    fn page(&self, key: &str, all: &[Value]) -> Result<Response, Refused> {
        let number = |name: &str, default| self.query.get(name).map_or(Some(default), |text| text.parse().ok());
        let (Some(size), Some(page)) = (number("PageSize", 50), number("Page", 0)) else { return Err((400, 54453)) };
        let token = |page: usize| format!("PT{page}");
        if !(1..=100).contains(&size) || (page > 0 && self.query.get("PageToken") != Some(&token(page))) {
            return Err((400, 54453));
        }
        let url =
            |page| format!("http://{}{}?PageSize={size}&Page={page}&PageToken={}", self.host, self.path, token(page));
        let shown: Vec<&Value> = all.iter().skip(page * PAGE).take(PAGE).collect();
        let next = (all.len() > (page + 1) * PAGE).then(|| url(page + 1));
        let meta = json!({
            "key": key, "page": page, "page_size": size, "url": url(page), "first_page_url": url(0),
            "previous_page_url": null, "next_page_url": next,
        });
        Ok(Json(json!({ key: shown, "meta": meta })).into_response())
    }
}

fn told(key: &str, (revision, data): &(usize, Value)) -> Value {
    json!({ "key": key, "unique_name": key, "revision": format!("r{revision}"), "data": data, "date_expires": null })
}

fn created(body: &Value) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}

fn refuse((status, code): Refused) -> Response {
    let body = json!({ "code": code, "message": "refused by the simulator", "status": status });
    (StatusCode::from_u16(status).unwrap_or_default(), Json(body)).into_response()
}
