//! OTLP in: gRPC and HTTP, protobuf and JSON, decoded once into typed rows and handed to the store.
