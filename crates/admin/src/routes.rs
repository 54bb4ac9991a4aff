//! Questions to calls, answers to JSON.

use std::future::Future;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;

use crate::answers::{CertificatesNow, DigestQuery, GiveUpQuery, Group, LogDigest, MembersNow, SiteStatus};
use crate::metrics::Metrics;

/// What a site answers to its operator. The node implements it.
pub trait Admin: Send + Sync + 'static {
    /// `Ok` while the process can do its work; the reason if it had better be started anew.
    fn healthy(&self) -> Result<(), String>;

    /// `Ok` while clients can be sent here; the reason if not.
    fn ready(&self) -> Result<(), String>;

    /// Where the site stands.
    fn status(&self) -> impl Future<Output = Result<SiteStatus, AdminError>> + Send;

    /// Digests of merged logs.
    fn digests(&self, query: DigestQuery) -> impl Future<Output = Result<Vec<LogDigest>, AdminError>> + Send;

    /// Consumer groups and their progress.
    fn groups(&self) -> impl Future<Output = Result<Vec<Group>, AdminError>> + Send;

    /// Believes a wall clock that jumped ahead; answers by how many milliseconds.
    fn accept_clock(&self) -> impl Future<Output = Result<u64, AdminError>> + Send;

    /// Has the members end a silent site's journal; returns once they are asked.
    fn fence(&self, site: String) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Goes on without silent sites where no majority is left, as this operator decides.
    fn give_up(&self, sites: Vec<String>, who: String)
    -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Makes a known site a member; returns when it is one.
    fn add(&self, site: String) -> impl Future<Output = Result<MembersNow, AdminError>> + Send;

    /// Lets a site be a member no more, for good; returns when that is so.
    fn remove(&self, site: String) -> impl Future<Output = Result<MembersNow, AdminError>> + Send;

    /// Reads the certificates anew and goes by them.
    fn renew_certificates(&self) -> impl Future<Output = Result<CertificatesNow, AdminError>> + Send;

    /// Begins a clean stop and returns at once.
    fn stop(&self) -> Result<(), AdminError>;
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdminError {
    /// What was asked for does not exist: ask for something else.
    #[error("{0}")]
    Unknown(String),
    /// The question makes no sense: ask it differently.
    #[error("{0}")]
    Refused(String),
    /// Not now: ask again.
    #[error("{0}")]
    Unavailable(String),
}

/// What every handler has at hand.
pub(crate) struct Desk<A> {
    pub(crate) admin: Arc<A>,
    pub(crate) metrics: Arc<Metrics>,
}

impl<A> Clone for Desk<A> {
    fn clone(&self) -> Desk<A> {
        Desk { admin: Arc::clone(&self.admin), metrics: Arc::clone(&self.metrics) }
    }
}

/// What anyone may ask who reaches the port.
pub(crate) fn looks<A: Admin>(desk: Desk<A>) -> Router {
    answering(desk, Router::new())
}

/// What whoever may open the socket may ask.
pub(crate) fn everything<A: Admin>(desk: Desk<A>) -> Router {
    let acts = Router::new()
        .route("/v1/accept-clock", post(accept_clock::<A>))
        .route("/v1/certificates", post(renew_certificates::<A>))
        .route("/v1/fence/{site}", post(fence::<A>))
        .route("/v1/give-up", post(give_up::<A>))
        .route("/v1/add/{site}", post(add::<A>))
        .route("/v1/remove/{site}", post(remove::<A>))
        .route("/v1/stop", post(stop::<A>));
    answering(desk, acts)
}

/// What a site answers that does not run yet: that it is well, and why it is not ready. Each connection ends with its answer,
/// so that the next one finds the site that runs.
pub(crate) fn starting(why: watch::Receiver<String>) -> Router {
    let unready = why.clone();
    let refusal = async move || last(answer::<()>(Err(AdminError::Unavailable(why.borrow().clone()))));
    Router::new()
        .route("/healthz", get(async || last(verdict(Ok(())))))
        .route("/readyz", get(async move || last(verdict(Err(unready.borrow().clone())))))
        .fallback(refusal)
}

/// The last answer on its connection.
fn last(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn answering<A: Admin>(desk: Desk<A>, more: Router<Desk<A>>) -> Router {
    more.route("/healthz", get(health::<A>))
        .route("/readyz", get(readiness::<A>))
        .route("/metrics", get(metrics::<A>))
        .route("/v1/status", get(status::<A>))
        .route("/v1/digests", get(digests::<A>))
        .route("/v1/groups", get(groups::<A>))
        .fallback(nothing)
        .with_state(desk)
}

async fn health<A: Admin>(State(desk): State<Desk<A>>) -> Response {
    verdict(desk.admin.healthy())
}

async fn readiness<A: Admin>(State(desk): State<Desk<A>>) -> Response {
    verdict(desk.admin.ready())
}

fn verdict(outcome: Result<(), String>) -> Response {
    match outcome {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics<A: Admin>(State(desk): State<Desk<A>>) -> Response {
    match desk.admin.status().await {
        Ok(status) => desk.metrics.observe(&status),
        Err(error) => tracing::warn!(%error, "metrics show the site as it last was"),
    }
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], desk.metrics.text()).into_response()
}

async fn status<A: Admin>(State(desk): State<Desk<A>>) -> Response {
    answer(desk.admin.status().await)
}

async fn digests<A: Admin>(State(desk): State<Desk<A>>, Query(query): Query<DigestQuery>) -> Response {
    answer(desk.admin.digests(query).await)
}

async fn groups<A: Admin>(State(desk): State<Desk<A>>) -> Response {
    answer(desk.admin.groups().await)
}

async fn accept_clock<A: Admin>(State(desk): State<Desk<A>>) -> Response {
    answer(desk.admin.accept_clock().await.map(|jump_ms| json!({ "accepted_ms": jump_ms })))
}

async fn renew_certificates<A: Admin>(State(desk): State<Desk<A>>) -> Response {
    answer(desk.admin.renew_certificates().await)
}

async fn stop<A: Admin>(State(desk): State<Desk<A>>) -> Response {
    answer(desk.admin.stop().map(|()| json!({ "stopping": true })))
}

async fn fence<A: Admin>(State(desk): State<Desk<A>>, Path(site): Path<String>) -> Response {
    answer(desk.admin.fence(site).await.map(|()| json!({ "fencing": true })))
}

async fn give_up<A: Admin>(State(desk): State<Desk<A>>, Query(query): Query<GiveUpQuery>) -> Response {
    let sites = query.sites.split(',').map(str::to_owned).collect();
    answer(desk.admin.give_up(sites, query.who).await.map(|()| json!({ "given_up": true })))
}

async fn add<A: Admin>(State(desk): State<Desk<A>>, Path(site): Path<String>) -> Response {
    answer(desk.admin.add(site).await)
}

async fn remove<A: Admin>(State(desk): State<Desk<A>>, Path(site): Path<String>) -> Response {
    answer(desk.admin.remove(site).await)
}

async fn nothing() -> Response {
    answer::<()>(Err(AdminError::Unknown("there is nothing at this path".to_owned())))
}

fn answer<T: Serialize>(outcome: Result<T, AdminError>) -> Response {
    let error = match outcome {
        Ok(answer) => return Json(answer).into_response(),
        Err(error) => error,
    };
    let status = match error {
        AdminError::Unknown(_) => StatusCode::NOT_FOUND,
        AdminError::Refused(_) => StatusCode::BAD_REQUEST,
        AdminError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(json!({ "error": error.to_string() }))).into_response()
}
