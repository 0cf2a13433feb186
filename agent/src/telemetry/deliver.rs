//! Delivers packed spans by OTLP over gRPC (<https://opentelemetry.io/docs/specs/otlp/>): what may be tried again is, with growing
//! pauses or those that the collector asks for; what it has refused is not.

use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use http::HeaderMap;
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use rand::Rng as _;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstDecoder;
use tonic_types::StatusExt as _;

use crate::token::Bearer;

/// What OTLP calls the export of spans.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Longest time that a batch is offered to a collector that does not take it, before it is dropped and counted.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
/// Pauses before another try: the first, after which they double, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Up to so much is added to each, so that agents do not come back all at once.
const JITTER: Duration = Duration::from_millis(100);
/// The longest pause that a collector may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(30);
/// Shortest time between two records about spans that are not taken.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The way of packed spans to the collector.
pub(super) struct Delivery {
    client: Grpc<InterceptedService<Channel, Bearer>>,
    headers: HeaderMap,
    /// When the service was last told of what the collector did not take.
    told: Option<Instant>,
}

impl Delivery {
    /// Over a channel that limits each request, with these headers in each.
    pub(super) fn new(channel: InterceptedService<Channel, Bearer>, headers: HeaderMap) -> Self {
        Self { client: Grpc::new(channel), headers, told: None }
    }

    /// Sends a request until it is taken, and says how many of its spans the collector has rejected; an error when it took none.
    pub(super) async fn send(&mut self, request: Bytes) -> Result<u64, Status> {
        let (until, mut pauses) = (Instant::now() + PATIENCE, Pauses::default());
        loop {
            let refused = match self.once(request.clone()).await {
                Ok(rejected) => return Ok(rejected),
                Err(refused) => refused,
            };
            self.tell(&format!("{:?}: {}", refused.code(), refused.message()));
            let Some(asked) = again(&refused) else { return Err(refused) };
            let due = Instant::now() + pauses.next(asked, rand::rng().random_range(Duration::ZERO..JITTER));
            if due >= until {
                return Err(refused);
            }
            tokio::time::sleep_until(due).await;
        }
    }

    async fn once(&mut self, request: Bytes) -> Result<u64, Status> {
        self.client.ready().await.map_err(|e| Status::unknown(e.to_string()))?;
        let mut request = Request::new(request);
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        let answer = self.client.unary(request, PathAndQuery::from_static(EXPORT), Packed).await?;
        let Some(partial) = answer.into_inner().partial_success else { return Ok(0) };
        if !partial.error_message.is_empty() {
            self.tell(&partial.error_message);
        }
        // A warning with nothing rejected changes nothing.
        Ok(u64::try_from(partial.rejected_spans).unwrap_or(0))
    }

    /// Says now and then, where the service itself writes its log, why spans do not arrive: over the same way nobody would learn
    /// of it.
    fn tell(&mut self, reason: &str) {
        if self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            tracing::warn!(%reason, "the collector does not take all spans");
            self.told = Some(Instant::now());
        }
    }
}

/// Whether a request may be tried again, and after which pause at least.
fn again(refused: &Status) -> Option<Duration> {
    let asked = || refused.get_details_retry_info().and_then(|info| info.retry_delay);
    match refused.code() {
        Code::Unavailable => Some(asked().unwrap_or_default()),
        // Nothing is going to be better, unless the collector says so.
        Code::ResourceExhausted => asked(),
        Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::OutOfRange | Code::DataLoss => {
            Some(Duration::ZERO)
        }
        _ => None,
    }
}

/// The pauses between the tries of one request.
struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST_PAUSE, longest: LONGEST_PAUSE }
    }
}

impl Pauses {
    fn next(&mut self, asked: Duration, jitter: Duration) -> Duration {
        let asked = asked.min(LONGEST_ASKED);
        if asked > self.longest {
            // A collector that still does not take it then needs longer yet.
            self.longest = LONGEST_ASKED;
        }
        let pause = self.next.max(asked);
        self.next = (pause * 2).min(self.longest);
        (pause + jitter).min(self.longest)
    }
}

/// Requests that are packed already.
struct Packed;

impl Codec for Packed {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = ProstDecoder<ExportTraceServiceResponse>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

impl Encoder for Packed {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(item.len());
        to.put(item);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn asking(code: Code, pause: Duration) -> Status {
        Status::with_error_details(code, "busy", ErrorDetails::with_retry_info(Some(pause)))
    }

    /// The table of the specification.
    #[test]
    fn only_what_may_pass_is_tried_again() {
        use Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, Unavailable};
        for number in 1..=16 {
            let code = Code::from_i32(number);
            let may = matches!(code, Cancelled | DeadlineExceeded | Aborted | OutOfRange | Unavailable | DataLoss);
            assert_eq!(again(&Status::new(code, "no")), may.then_some(Duration::ZERO), "{code:?}");
        }
        assert_eq!(again(&asking(Code::ResourceExhausted, MS(7))), Some(MS(7)));
        assert_eq!(again(&asking(Code::Unavailable, MS(7))), Some(MS(7)));
        assert_eq!(again(&asking(Code::InvalidArgument, MS(7))), None);
    }

    #[test]
    fn pauses_grow_to_their_limit() {
        let mut pauses = Pauses::default();
        let all: Vec<_> = (0..7).map(|_| pauses.next(Duration::ZERO, MS(5)).as_millis()).collect();
        assert_eq!(all, [105, 205, 405, 805, 1605, 2000, 2000]);
    }

    #[test]
    fn a_collector_may_ask_for_longer_ones_but_not_for_ever() {
        let mut pauses = Pauses::default();
        assert_eq!(pauses.next(MS(500), MS(1)), MS(501));
        assert_eq!(pauses.next(MS(10), MS(1)), MS(1001));
        assert_eq!(pauses.next(MS(9_000), MS(1)), MS(9_001));
        assert_eq!(pauses.next(Duration::ZERO, MS(1)), MS(18_001));
        assert_eq!(pauses.next(Duration::from_secs(3_600), MS(1)), MS(30_000));
    }
}
