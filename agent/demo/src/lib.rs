//! A small shop of microservices with scripted weather.
