//! The tables of this room. Rows are appended as they are issued and never touched again.

/// Forecasts as they were issued, and what left its band.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS forecast_series (
    id INTEGER PRIMARY KEY,
    caller TEXT NOT NULL, callee TEXT NOT NULL, operation TEXT NOT NULL,
    quantity INTEGER NOT NULL, -- 0 rate, 1 error ratio, 2 p95
    arrival INTEGER NOT NULL,
    UNIQUE (caller, callee, operation, quantity)
) STRICT;
CREATE TABLE IF NOT EXISTS forecasts (
    series INTEGER NOT NULL REFERENCES forecast_series (id),
    step INTEGER NOT NULL, -- the end of the newest step that was looked at, Unix seconds
    arrival INTEGER NOT NULL,
    lo REAL, mid REAL, hi REAL, -- what is normal for the step that comes next
    width REAL NOT NULL, -- half width of that band, in spreads of the series
    outside INTEGER NOT NULL, -- whether the newest step lay outside the band that was issued for it
    ahead BLOB NOT NULL, -- per horizon: lo, mid, hi as little-endian f32
    breach TEXT, -- JSON
    scored INTEGER NOT NULL, held INTEGER NOT NULL, mean_error REAL NOT NULL,
    model TEXT NOT NULL, sentence TEXT NOT NULL, severity INTEGER NOT NULL,
    PRIMARY KEY (series, step)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS forecasts_by_arrival ON forecasts (arrival);
CREATE TABLE IF NOT EXISTS anomalies (
    id INTEGER PRIMARY KEY,
    series INTEGER NOT NULL REFERENCES forecast_series (id),
    began INTEGER NOT NULL, -- Unix seconds
    sentence TEXT NOT NULL, severity INTEGER NOT NULL,
    arrival INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS anomalies_by_time ON anomalies (began);
CREATE TABLE IF NOT EXISTS anomaly_ends (
    id INTEGER PRIMARY KEY REFERENCES anomalies (id),
    ended INTEGER NOT NULL, -- Unix seconds
    arrival INTEGER NOT NULL
) STRICT;
";
