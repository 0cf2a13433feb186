//! Plain HTTP requests.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;

use super::connect::{Link, Sender, Target};
use crate::plan::shown;
use crate::{Caller, LoadError, LoadPlan};

/// The request that is sent again and again.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The request of a plan.
pub(super) fn template(plan: &LoadPlan, target: &Target) -> Result<Template, LoadError> {
    let method = Method::from_bytes(plan.method.as_bytes()).map_err(|_| LoadError::Method(plan.method.clone()))?;
    let mut headers = headers(plan)?;
    if !plan.body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let body = Bytes::from(plan.body.clone());
    Ok(Template { method, uri: uri(plan, target, &mut headers)?, headers, body })
}

/// The headers that a plan asks for.
pub(super) fn headers(plan: &LoadPlan) -> Result<HeaderMap, LoadError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &plan.headers {
        let wrong = |why: String| LoadError::Header { name: name.clone(), why };
        let name = HeaderName::try_from(name.as_str()).map_err(|e| wrong(e.to_string()))?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|e| wrong(e.to_string()))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// As the protocol wants it: HTTP/1.1 names path and `Host`, HTTP/2 everything in one.
pub(super) fn uri(plan: &LoadPlan, target: &Target, headers: &mut HeaderMap) -> Result<Uri, LoadError> {
    let wrong = |why: String| LoadError::Url { url: shown(&plan.url), why };
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(target.path.clone());
    if target.http2 {
        parts.scheme = Some(target.scheme.clone());
        parts.authority = Some(target.authority.parse().map_err(|e: http::uri::InvalidUri| wrong(e.to_string()))?);
    } else if !headers.contains_key(HOST) {
        headers.insert(HOST, HeaderValue::try_from(&target.authority).map_err(|e| wrong(e.to_string()))?);
    }
    Uri::from_parts(parts).map_err(|e| wrong(e.to_string()))
}

/// Sends the template over one connection, or one stream of it.
pub(super) struct HttpCaller {
    link: Link,
    template: Arc<Template>,
}

impl HttpCaller {
    pub(super) fn new(link: Link, template: Arc<Template>) -> Self {
        Self { link, template }
    }

    /// Sends the request and gives the head of its answer and what wrote it.
    pub(super) async fn send(&mut self) -> Result<(Response<Incoming>, Sender), Cow<'static, str>> {
        loop {
            let (mut sender, old) = self.link.sender().await.map_err(|unsent| unsent.kind())?;
            let sent = match &mut sender {
                Sender::One(one) => match one.ready().await {
                    Ok(()) => one.send_request(self.request()).await,
                    Err(error) => Err(error),
                },
                Sender::Two(two) => match two.ready().await {
                    Ok(()) => two.send_request(self.request()).await,
                    Err(error) => Err(error),
                },
            };
            match sent {
                Ok(answer) => return Ok((answer, sender)),
                // The server closed an idle connection before it had seen anything of the request.
                Err(error) if old && (error.is_canceled() || error.is_closed()) => {}
                Err(error) => return Err(kind(&error).into()),
            }
        }
    }

    /// The answer has been read whole: its connection may carry the next request.
    pub(super) fn keep(&mut self, sender: Sender) {
        self.link.keep(sender);
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.template.body.clone()));
        *request.method_mut() = self.template.method.clone();
        *request.uri_mut() = self.template.uri.clone();
        *request.headers_mut() = self.template.headers.clone();
        request
    }
}

impl Caller for HttpCaller {
    async fn call(&mut self) -> Result<(), Cow<'static, str>> {
        let (answer, sender) = self.send().await?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            frame.map_err(|_| "body")?;
        }
        self.keep(sender);
        if status < 400 { Ok(()) } else { Err(format!("http_{status}").into()) }
    }
}

/// The kind of an error after the connection stood.
pub(super) fn kind(error: &hyper::Error) -> &'static str {
    if error.is_parse() {
        "not_http"
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        "reset"
    } else {
        "other"
    }
}
