//! Recorded OTLP requests: a zstd stream of requests in protobuf, each after its length (four bytes, little end first).

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message as _;
use tonic::{Request, Response, Status};

/// What the demo sent within some seconds of its story.
pub(crate) fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/data/demo.otlp.zst")
}

/// All requests of a file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    zstd::stream::read::Decoder::new(File::open(path)?)?.read_to_end(&mut all)?;
    let (mut requests, mut rest) = (Vec::new(), &all[..]);
    while let Some((length, after)) = rest.split_first_chunk() {
        let Some((request, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize) else {
            return Err(io::Error::other("the sample ends in the middle of a request"));
        };
        requests.push(request.to_vec());
        rest = after;
    }
    Ok(requests)
}

/// Takes traces at `address` by OTLP/gRPC until `spans` came, and writes them to a file.
pub(crate) fn record(address: SocketAddr, spans: usize, path: &Path) -> io::Result<()> {
    let (done, finished) = tokio::sync::mpsc::channel(1);
    let file = zstd::stream::write::Encoder::new(File::create(path)?, 19)?;
    let recorder = Recorder { file: Mutex::new((file, 0)), spans, done };
    let recorder = std::sync::Arc::new(recorder);
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut finished = finished;
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::from_arc(recorder.clone()));
        let stop = async move {
            finished.recv().await;
        };
        server.serve_with_shutdown(address, stop).await.map_err(io::Error::other)
    })?;
    let recorder = std::sync::Arc::into_inner(recorder).expect("the server has ended");
    let (file, count) = recorder.file.into_inner().expect("no writer failed");
    file.finish()?.sync_all()?;
    println!("{count} spans in {}", path.display());
    Ok(())
}

/// Writes down what comes.
struct Recorder {
    file: Mutex<(zstd::stream::write::Encoder<'static, File>, usize)>,
    spans: usize,
    done: tokio::sync::mpsc::Sender<()>,
}

#[tonic::async_trait]
impl TraceService for Recorder {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        let spans: usize = request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum();
        let body = request.encode_to_vec();
        let mut file = self.file.lock().expect("no writer failed");
        if file.1 < self.spans {
            let length = u32::try_from(body.len()).map_err(|e| Status::internal(e.to_string()))?;
            file.0.write_all(&length.to_le_bytes()).and_then(|()| file.0.write_all(&body))?;
            file.1 += spans;
        }
        if file.1 >= self.spans {
            let _ = self.done.try_send(());
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
