//! Tables of the file in words for people.

use rusqlite::{Connection, Result};

/// They live in the connection, and have names of their own.
const VIEWS: &str = "
CREATE TEMP VIEW logs AS
    SELECT r.value ->> 'time' AS time, r.value ->> 'severity' AS severity, r.value ->> 'severity_text' AS severity_text,
           r.value ->> 'body' AS body, r.value ->> 'event_name' AS event_name, r.value -> 'attributes' AS attributes,
           o.service, o.instance, o.version, r.value ->> 'trace_id' AS trace_id, r.value ->> 'span_id' AS span_id,
           r.value ->> 'arrival' AS arrival
    FROM main.log_data d, json_each(log_block(d.data)) r JOIN main.origins o ON o.id = r.value ->> 'origin';
CREATE TEMP VIEW metric_points AS
    SELECT p.time, o.service, o.instance, m.name, m.unit,
           CASE m.kind WHEN 1 THEN 'sum' WHEN 2 THEN 'histogram' WHEN 3 THEN 'exponential_histogram' WHEN 4 THEN 'summary'
                       ELSE 'gauge' END AS kind,
           p.value, p.count, p.sum, pairs_json(m.attributes) AS attributes, p.arrival
    FROM main.points p JOIN main.metrics m ON m.id = p.metric JOIN main.origins o ON o.id = m.origin;
CREATE TEMP VIEW edges AS
    SELECT r.second, s.caller, s.callee, s.operation, s.instance, s.version, r.calls, r.errors, r.refused, r.attempts, r.arrival
    FROM main.rollup r JOIN main.series s ON s.id = r.series WHERE s.inbound = 0;
";

pub(super) fn add(conn: &Connection) -> Result<()> {
    conn.execute_batch(VIEWS)
}
