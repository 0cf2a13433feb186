//! A desktop console for people who run microservices.
