//! What a request under way holds in memory besides its buffers.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;

use super::listener::Handler;
use super::{ToService, ToUpstream};

/// The size of the future that a function makes.
fn made<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
    size_of::<F>()
}

fn handling<H: Handler>() -> usize {
    made(|handler: Arc<H>, request: Request<Incoming>, from: SocketAddr| handler.handle(request, from))
}

/// There are as many of them as requests, and what they hold is moved when they are made.
#[test]
fn a_request_under_way_is_small() {
    let (out, own) = (handling::<ToUpstream>(), handling::<ToService>());
    assert!(out <= 7 * 1024, "{out} bytes for a request to an upstream");
    assert!(own <= 3 * 1024, "{own} bytes for a request to the service");
}
