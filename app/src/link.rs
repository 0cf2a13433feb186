//! The one asynchronous room: it asks the collector and tells what came.
