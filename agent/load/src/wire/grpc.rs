//! gRPC requests: unary ones, and those that a server answers with a stream.

use std::borrow::Cow;

use bytes::{BufMut as _, Bytes, BytesMut};
use fuseboard_policy::codes::GRPC_STATUSES;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt as _;
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};

use super::connect::Target;
use super::http::{HttpCaller, Template, headers, uri};
use crate::{Caller, LoadError, LoadPlan};

/// The request of a plan.
pub(super) fn template(plan: &LoadPlan, target: &Target) -> Result<Template, LoadError> {
    let message = message(plan, target.path.path())?;
    let mut headers = headers(plan)?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    // The server need not work longer than the answer is waited for; eight digits are the most that the header takes.
    let millis = plan.timeout.as_millis().clamp(1, 99_999_999);
    if let Ok(value) = HeaderValue::try_from(format!("{millis}m")) {
        headers.entry("grpc-timeout").or_insert(value);
    }
    let mut body = BytesMut::with_capacity(message.len() + 5);
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).map_err(|_| LoadError::Proto("its message is too long".to_owned()))?);
    body.put_slice(&message);
    Ok(Template { method: Method::POST, uri: uri(plan, target, &mut headers)?, headers, body: body.freeze() })
}

/// The encoded message.
fn message(plan: &LoadPlan, path: &str) -> Result<Bytes, LoadError> {
    let wrong = |why: String| LoadError::Proto(why);
    let Some((service, method)) = path.trim_matches('/').rsplit_once('/') else {
        return Err(wrong(format!("`{path}` names no method; write PACKAGE.SERVICE/METHOD after the host")));
    };
    let Some(proto) = &plan.grpc.proto else { return Ok(plan.body.clone().into()) };
    let own = proto.parent().filter(|folder| !folder.as_os_str().is_empty());
    let own = own.unwrap_or_else(|| std::path::Path::new(".")).to_owned();
    let folders: Vec<_> = std::iter::once(own).chain(plan.grpc.include.iter().cloned()).collect();
    let files = protox::compile([proto], folders).map_err(|e| wrong(format!("{}: {e}", proto.display())))?;
    let pool = DescriptorPool::from_file_descriptor_set(files).map_err(|e| wrong(e.to_string()))?;
    let method = find(&pool, service, method).map_err(|e| wrong(format!("{} {e}", proto.display())))?;
    if method.is_client_streaming() {
        return Err(wrong(format!("{} takes a stream of messages; only single ones are sent", method.full_name())));
    }
    let json = if plan.body.is_empty() { b"{}" } else { plan.body.as_slice() };
    let mut reader = serde_json::Deserializer::from_slice(json);
    let name = method.input().full_name().to_owned();
    let message = DynamicMessage::deserialize(method.input(), &mut reader)
        .and_then(|message| reader.end().map(|()| message))
        .map_err(|e| wrong(format!("the body is no {name} in JSON: {e}")))?;
    Ok(message.encode_to_vec().into())
}

fn find(pool: &DescriptorPool, service: &str, method: &str) -> Result<MethodDescriptor, String> {
    let list = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let found = pool.get_service_by_name(service).ok_or_else(|| {
        let known = pool.services().map(|service| service.full_name().to_owned()).collect();
        format!("has no service `{service}`; it has {}", list(known))
    })?;
    let methods: Vec<_> = found.methods().collect();
    let known = methods.iter().map(|method| method.name().to_owned()).collect();
    let wanted = methods.into_iter().find(|known| known.name() == method);
    wanted.ok_or_else(|| format!("has no method `{method}` in {service}; it has {}", list(known)))
}

/// Sends the template as a gRPC call.
pub(super) struct GrpcCaller(pub(super) HttpCaller);

impl Caller for GrpcCaller {
    async fn call(&mut self) -> Result<(), Cow<'static, str>> {
        let (answer, sender) = self.0.send().await?;
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(format!("http_{status}").into());
        }
        let mut outcome = code(answer.headers());
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            if let Some(trailers) = frame.map_err(|_| "body")?.trailers_ref() {
                outcome = code(trailers).or(outcome);
            }
        }
        self.0.keep(sender);
        match outcome {
            Some("ok") => Ok(()),
            Some(name) => Err(format!("grpc_{name}").into()),
            None => Err("grpc_without_status".into()),
        }
    }
}

/// The status that headers or trailers carry, by name.
fn code(headers: &HeaderMap) -> Option<&'static str> {
    let value = headers.get("grpc-status")?.to_str().ok()?;
    Some(value.parse::<usize>().ok().and_then(|code| GRPC_STATUSES.get(code).copied()).unwrap_or("unknown"))
}
