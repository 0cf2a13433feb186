//! What a service embeds: resilience layers, OTLP export, live control.
