//! Requests to an MLflow server, and what may go wrong with them.
//!
//! One client, one URL with an optional path (`--static-prefix` of the server is part of every route). An answer in JSON
//! has one time limit for all of it, from the connection to the last byte, and a limit of size; files are limited between
//! two pieces instead, because their size is what it is.
//!
//! Credentials go to the server they are for. A redirect to another origin is not followed, artifacts behind another
//! server's proxy and presigned URLs are asked for without them, and no error holds a URL's query, where a signature is.
//!
//! Invariant: an answer in JSON is whole within the time limit and within [`LARGEST_ANSWER`], or an error.

use super::failure::{Failure, shown};
use crate::registry::source::SourceError;
use reqwest::header::HeaderMap;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

/// The longest answer in JSON, bytes. The alias map and the tags of a model are far smaller; a directory of 10,000 files
/// is about one.
pub const LARGEST_ANSWER: usize = 8 << 20;
/// The most bytes of a refusal that are read.
pub(super) const LARGEST_REFUSAL: usize = 64 << 10;
/// The longest wait for a connection.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request: less than the 5 s after which MLflow's server (uvicorn) closes one, or
/// a request could go to a connection that is being closed.
const IDLE_CONNECTION: Duration = Duration::from_secs(2);
/// The most redirects within one server.
const MOST_REDIRECTS: usize = 5;

/// Where a registry is and how to get in.
#[derive(Clone)]
pub struct MlflowAccess {
    /// The server, `http` or `https`, with a path where it has a static prefix or stands behind one.
    pub url: Url,
    /// Who we are there.
    pub credentials: Option<Credentials>,
    /// The certificates, PEM, that the server's must be signed by; none means the system's. Other hosts, which a store may
    /// be, may be signed by either.
    pub certificate_authority: Option<Vec<u8>>,
    /// How long an answer in JSON may take as a whole, and two pieces of a file may be apart.
    pub timeout: Duration,
}

/// What a server is told of who asks.
#[derive(Clone)]
pub enum Credentials {
    /// HTTP basic authentication, as the server's `basic-auth` app wants it.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token, as most gates before a server want it.
    Bearer {
        /// The token.
        token: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Basic { .. } => "Basic(redacted)",
            Self::Bearer { .. } => "Bearer(redacted)",
        })
    }
}

impl fmt::Debug for MlflowAccess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("MlflowAccess");
        shown.field("origin", &origin_of(&self.url)).field("credentials", &self.credentials);
        shown.field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A client of one MLflow server.
#[derive(Debug)]
pub struct MlflowClient {
    access: MlflowAccess,
    requests: reqwest::Client,
    /// Without credentials, for other hosts and stores; made on first use.
    elsewhere: OnceLock<reqwest::Client>,
}

impl MlflowClient {
    /// A client of the server that `access` names. A TLS provider must have been installed for the process.
    ///
    /// # Errors
    /// [`SourceError::Unexpected`] when the URL is not one of a server, or the certificates cannot be used.
    pub fn new(access: MlflowAccess) -> Result<Self, SourceError> {
        let wrong = |reason: &str| SourceError::Unexpected { place: PLACE.to_owned(), reason: reason.to_owned() };
        let url = &access.url;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("expected an http or https URL with a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("expected credentials beside the URL, found some within"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("expected a URL without a query and a fragment"));
        }
        if access.timeout.is_zero() {
            return Err(wrong("expected a timeout above zero"));
        }
        let requests = build(access.timeout, Roots::of(&access, false)?)?;
        Ok(Self { access, requests, elsewhere: OnceLock::new() })
    }

    /// Scheme, host and port of the server.
    pub(super) fn origin(&self) -> String {
        origin_of(&self.access.url)
    }

    /// The URL of a path of the server; every part is one part, whatever characters it has.
    pub(super) fn url(&self, parts: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.access.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// The same URL on another server.
    pub(super) fn url_elsewhere(&self, netloc: &str, url: &Url) -> Result<Url, SourceError> {
        let text = format!("{}://{netloc}{}", url.scheme(), url.path());
        let mut elsewhere = Url::parse(&text).map_err(|error| SourceError::Unexpected {
            place: "the address of a model".to_owned(),
            reason: format!("expected a host and a port, found {netloc:?}: {error}"),
        })?;
        elsewhere.set_query(url.query());
        Ok(elsewhere)
    }

    /// Asks for JSON; a refusal is an answer, too.
    pub(super) async fn ask<T: DeserializeOwned>(&self, url: Url) -> Result<Result<T, Failure>, SourceError> {
        let place = origin_of(&url);
        self.answer(place, self.request(Method::GET, url)?).await
    }

    /// Has the server change something, which it answers with JSON.
    pub(super) async fn tell<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: &(impl Serialize + Sync),
    ) -> Result<Result<T, Failure>, SourceError> {
        let place = origin_of(&url);
        self.answer(place, self.request(method, url)?.json(body)).await
    }

    /// Sends a request and reads the JSON that comes.
    pub(super) async fn answer<T: DeserializeOwned>(
        &self,
        place: String,
        request: RequestBuilder,
    ) -> Result<Result<T, Failure>, SourceError> {
        let request = request.timeout(self.access.timeout);
        let mut answer = request.send().await.map_err(|error| unreachable(&place, error))?;
        if !answer.status().is_success() {
            return Ok(Err(self.failure(&mut answer).await));
        }
        let body = whole(&mut answer, LARGEST_ANSWER, &place).await?;
        let read = serde_json::from_slice(&body).map_err(|error| {
            let begins = shown(&String::from_utf8_lossy(&body[..body.len().min(LARGEST_REFUSAL)]));
            SourceError::Unexpected {
                place,
                reason: format!("expected the JSON of MLflow, {error}; it begins with {begins:?}"),
            }
        })?;
        Ok(Ok(read))
    }

    /// Asks for JSON that must be there; `what` is it, for people.
    pub(super) async fn json<T: DeserializeOwned>(&self, url: Url, what: &str) -> Result<T, SourceError> {
        let place = origin_of(&url);
        self.ask(url).await?.map_err(|failure| failure.into_error(&place, what))
    }

    /// Asks for bytes; the body is still to come. Only the start of the answer has the time limit of JSON.
    pub(super) async fn bytes(&self, url: Url, headers: HeaderMap) -> Result<Response, SourceError> {
        let place = origin_of(&url);
        self.start(&place, self.request(Method::GET, url)?.headers(headers)).await
    }

    /// Asks for bytes at a URL that says in itself who may have them: credentials besides are an error to a store.
    pub(super) async fn signed_bytes(&self, url: Url, headers: HeaderMap) -> Result<Response, SourceError> {
        let place = origin_of(&url);
        self.start(&place, self.elsewhere()?.get(url).headers(headers)).await
    }

    pub(super) async fn start(&self, place: &str, request: RequestBuilder) -> Result<Response, SourceError> {
        let late = |_elapsed| SourceError::Unreachable {
            place: place.to_owned(),
            cause: format!("no answer within {:?}", self.access.timeout),
        };
        let answer = tokio::time::timeout(self.access.timeout, request.send()).await.map_err(late)?;
        answer.map_err(|error| unreachable(place, error))
    }

    /// What an answer that is no success says.
    pub(super) async fn failure(&self, answer: &mut Response) -> Failure {
        let mut body = Vec::new();
        // What can be read of it in time is enough, and its status is more than nothing.
        let read = read_beginning(answer, &mut body, LARGEST_REFUSAL);
        let _in_time = tokio::time::timeout(self.access.timeout, read).await;
        Failure::read(answer.status().as_u16(), answer.headers(), &body)
    }

    /// A request with the credentials of the server, if it goes there.
    pub(super) fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, SourceError> {
        if url.origin() != self.access.url.origin() {
            return Ok(self.elsewhere()?.request(method, url));
        }
        let request = self.requests.request(method, url);
        Ok(match &self.access.credentials {
            Some(Credentials::Basic { user, password }) => request.basic_auth(user, Some(password)),
            Some(Credentials::Bearer { token }) => request.bearer_auth(token),
            None => request,
        })
    }

    fn elsewhere(&self) -> Result<&reqwest::Client, SourceError> {
        if let Some(client) = self.elsewhere.get() {
            return Ok(client);
        }
        let client = build(self.access.timeout, Roots::of(&self.access, true)?)?;
        Ok(self.elsewhere.get_or_init(|| client))
    }
}

const PLACE: &str = "the client of the MLflow registry";

/// Whose signatures count.
enum Roots {
    System,
    These(Vec<Certificate>),
    SystemAnd(Vec<Certificate>),
}

impl Roots {
    fn of(access: &MlflowAccess, elsewhere: bool) -> Result<Self, SourceError> {
        let Some(pem) = &access.certificate_authority else { return Ok(Self::System) };
        let certificates = Certificate::from_pem_bundle(pem).map_err(not_built)?;
        if certificates.is_empty() {
            let reason = "expected certificates in PEM, found none".to_owned();
            return Err(SourceError::Unexpected { place: PLACE.to_owned(), reason });
        }
        Ok(if elsewhere { Self::SystemAnd(certificates) } else { Self::These(certificates) })
    }
}

fn build(timeout: Duration, roots: Roots) -> Result<reqwest::Client, SourceError> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeout.min(LONGEST_CONNECT))
        .read_timeout(timeout)
        .pool_idle_timeout(IDLE_CONNECTION)
        .referer(false)
        .redirect(Policy::custom(redirect));
    let builder = match roots {
        Roots::System => builder,
        Roots::These(certificates) => builder.tls_certs_only(certificates),
        Roots::SystemAnd(certificates) => builder.tls_certs_merge(certificates),
    };
    builder.build().map_err(not_built)
}

fn not_built(error: reqwest::Error) -> SourceError {
    SourceError::Unexpected { place: PLACE.to_owned(), reason: causes(error) }
}

fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let stays = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if stays && attempt.previous().len() <= MOST_REDIRECTS { attempt.follow() } else { attempt.stop() }
}

/// Scheme, host and port, which hold no secret.
pub(super) fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

pub(super) async fn read_beginning(answer: &mut Response, body: &mut Vec<u8>, limit: usize) {
    while let Ok(Some(piece)) = answer.chunk().await {
        body.extend_from_slice(&piece[..piece.len().min(limit - body.len())]);
        if body.len() == limit {
            break;
        }
    }
}

async fn whole(answer: &mut Response, limit: usize, place: &str) -> Result<Vec<u8>, SourceError> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| unreachable(place, error))? {
        if body.len() + piece.len() > limit {
            let reason = format!("expected at most {limit} bytes of JSON, found more");
            return Err(SourceError::Unexpected { place: place.to_owned(), reason });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// A connection that failed, without the URL.
pub(super) fn unreachable(place: &str, error: reqwest::Error) -> SourceError {
    SourceError::Unreachable { place: place.to_owned(), cause: causes(error) }
}

fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

/// Whether a status says that a server does not know how to do what it was asked.
pub(super) fn is_not_offered(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED)
}
