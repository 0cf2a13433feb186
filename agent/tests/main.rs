//! The agent over real sockets, against a collector that only listens.

mod collector;
mod control;
mod deadline;
mod export;
mod grpc;
mod http;
mod messaging;
mod paused;
mod rig;
mod tarpc;
