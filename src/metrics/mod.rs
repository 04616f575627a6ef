//! Metrics: one table, handles that are looked up once, and collectors for what comes and goes.
//!
//! Counting on the hot path is an atomic addition. Nothing is global: who counts holds the `Metrics`.

mod process;
mod samples;
pub mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use parking_lot::{Mutex, RwLock};

pub use process::Process;
pub use samples::{Collect, Samples};
pub use table::{METRICS, MetricSpec};

use crate::error::ErrorCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

impl MetricKind {
    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// One API's handles.
#[derive(Debug)]
struct ApiHandles {
    key: i16,
    name: &'static str,
    requests: Counter,
    duration: Histogram,
    errors: RwLock<BTreeMap<ErrorCode, Counter>>,
}

pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    apis: Vec<ApiHandles>,
    network_in: Counter,
    network_out: Counter,
    connections: Gauge,
    accepted: Counter,
    log_flush: Histogram,
    journal_flush: Histogram,
    journal_bytes: Counter,
    cold_reads: Counter,
    cold_read_bytes: Counter,
    cold_read_wait: Histogram,
    metadata_proposals: Counter,
    metadata_persist: Histogram,
    zab_election: Histogram,
    zab_commit: Histogram,
    zab_snapshot: Gauge,
    metadata_log: Gauge,
    zab_links: Gauge,
    zab_link_sent: Counter,
    zab_link_received: Counter,
    labelled: Mutex<BTreeMap<(&'static str, &'static str), Counter>>,
    collectors: RwLock<Vec<Arc<dyn Collect>>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

const METADATA: Metadata<'static> = Metadata::new("dohle", Level::INFO, None);

fn key(spec: MetricSpec, labels: &[&'static str]) -> Key {
    let labels: Vec<Label> = spec
        .labels
        .iter()
        .zip(labels)
        .map(|(name, value)| Label::from_static_parts(name, value))
        .collect();
    Key::from_parts(spec.name, labels)
}

impl Metrics {
    /// For the APIs served, by key and name.
    pub fn new(apis: impl IntoIterator<Item = (i16, &'static str)>) -> Result<Self, BuildError> {
        let mut builder = PrometheusBuilder::new();
        for spec in METRICS.iter().filter(|s| s.kind == MetricKind::Histogram) {
            builder = builder.set_buckets_for_metric(
                Matcher::Full(spec.name.to_owned()),
                table::LATENCY_BUCKETS,
            )?;
        }
        let recorder = builder.build_recorder();
        for spec in METRICS {
            match spec.kind {
                MetricKind::Counter => {
                    recorder.describe_counter(spec.name.into(), None, spec.help.into());
                }
                MetricKind::Gauge => {
                    recorder.describe_gauge(spec.name.into(), None, spec.help.into());
                }
                MetricKind::Histogram => {
                    recorder.describe_histogram(spec.name.into(), None, spec.help.into());
                }
            }
        }
        let counter = |spec, labels: &[&'static str]| {
            recorder.register_counter(&key(spec, labels), &METADATA)
        };
        let histogram = |spec, labels: &[&'static str]| {
            recorder.register_histogram(&key(spec, labels), &METADATA)
        };
        let gauge =
            |spec, labels: &[&'static str]| recorder.register_gauge(&key(spec, labels), &METADATA);
        gauge(
            table::BUILD_INFO,
            &[env!("CARGO_PKG_VERSION"), crate::KAFKA_VERSION],
        )
        .set(1.0);
        let mut apis: Vec<ApiHandles> = apis
            .into_iter()
            .map(|(key, name)| ApiHandles {
                key,
                name,
                requests: counter(table::REQUESTS, &[name]),
                duration: histogram(table::REQUEST_DURATION, &[name]),
                errors: RwLock::default(),
            })
            .collect();
        apis.sort_by_key(|api| api.key);
        Ok(Self {
            apis,
            network_in: counter(table::NETWORK_IN, &[]),
            network_out: counter(table::NETWORK_OUT, &[]),
            connections: gauge(table::CONNECTIONS, &[]),
            accepted: counter(table::CONNECTIONS_ACCEPTED, &[]),
            log_flush: histogram(table::LOG_FLUSH_DURATION, &[]),
            journal_flush: histogram(table::JOURNAL_FLUSH_DURATION, &[]),
            journal_bytes: counter(table::JOURNAL_BYTES, &[]),
            cold_reads: counter(table::COLD_READS, &[]),
            cold_read_bytes: counter(table::COLD_READ_BYTES, &[]),
            cold_read_wait: histogram(table::COLD_READ_WAIT, &[]),
            metadata_proposals: counter(table::METADATA_PROPOSALS, &[]),
            metadata_persist: histogram(table::METADATA_PERSIST_DURATION, &[]),
            zab_election: histogram(table::ZAB_ELECTION_DURATION, &[]),
            zab_commit: histogram(table::ZAB_COMMIT_DURATION, &[]),
            zab_snapshot: gauge(table::ZAB_SNAPSHOT_BYTES, &[]),
            metadata_log: gauge(table::METADATA_LOG_BYTES, &[]),
            zab_links: gauge(table::ZAB_LINKS, &[]),
            zab_link_sent: counter(table::ZAB_LINK_SENT, &[]),
            zab_link_received: counter(table::ZAB_LINK_RECEIVED, &[]),
            labelled: Mutex::default(),
            collectors: RwLock::new(vec![Arc::new(Process)]),
            handle: recorder.handle(),
            recorder,
        })
    }

    /// Asks it at every scrape from now on.
    pub fn register_collector(&self, collector: Arc<dyn Collect>) {
        self.collectors.write().push(collector);
    }

    pub fn network_bytes_in(&self, bytes: usize) {
        self.network_in.increment(bytes as u64);
    }

    pub fn network_bytes_out(&self, bytes: usize) {
        self.network_out.increment(bytes as u64);
    }

    fn api(&self, key: i16) -> Option<&ApiHandles> {
        let at = self.apis.binary_search_by_key(&key, |api| api.key).ok()?;
        self.apis.get(at)
    }

    pub fn request_served(&self, api_key: i16, elapsed: Duration) {
        if let Some(api) = self.api(api_key) {
            api.requests.increment(1);
            api.duration.record(elapsed.as_secs_f64());
        }
    }

    /// A reply has said this, once.
    pub fn replied_error(&self, api_key: i16, code: ErrorCode) {
        let Some(api) = self.api(api_key).filter(|_| code.is_error()) else {
            return;
        };
        if let Some(counter) = api.errors.read().get(&code) {
            counter.increment(1);
            return;
        }
        let labels = key(table::REQUEST_ERRORS, &[api.name, code.name()]);
        let counter = self.recorder.register_counter(&labels, &METADATA);
        counter.increment(1);
        api.errors.write().insert(code, counter);
    }

    pub fn connection_opened(&self) {
        self.accepted.increment(1);
        self.connections.increment(1.0);
    }

    pub fn connection_closed(&self, reason: &'static str) {
        self.connections.decrement(1.0);
        self.count(table::CONNECTIONS_CLOSED, reason);
    }

    pub fn connection_refused(&self, limit: &'static str) {
        self.count(table::CONNECTIONS_REFUSED, limit);
    }

    fn count(&self, spec: MetricSpec, label: &'static str) {
        self.labelled
            .lock()
            .entry((spec.name, label))
            .or_insert_with(|| {
                self.recorder
                    .register_counter(&key(spec, &[label]), &METADATA)
            })
            .increment(1);
    }

    pub fn log_flushed(&self, elapsed: Duration) {
        self.log_flush.record(elapsed.as_secs_f64());
    }

    pub fn journal_flushed(&self, elapsed: Duration, bytes: usize) {
        self.journal_flush.record(elapsed.as_secs_f64());
        self.journal_bytes.increment(bytes as u64);
    }

    pub fn cold_read(&self, waited: Duration, bytes: u64) {
        self.cold_reads.increment(1);
        self.cold_read_bytes.increment(bytes);
        self.cold_read_wait.record(waited.as_secs_f64());
    }

    pub fn metadata_proposed(&self) {
        self.metadata_proposals.increment(1);
    }

    pub fn metadata_persisted(&self, elapsed: Duration) {
        self.metadata_persist.record(elapsed.as_secs_f64());
    }

    pub fn zab_elected(&self, elapsed: Duration) {
        self.zab_election.record(elapsed.as_secs_f64());
    }

    pub fn zab_committed(&self, elapsed: Duration) {
        self.zab_commit.record(elapsed.as_secs_f64());
    }

    pub fn zab_snapshot_written(&self, bytes: u64) {
        self.zab_snapshot.set(bytes as f64);
    }

    pub fn metadata_log_bytes(&self, bytes: u64) {
        self.metadata_log.set(bytes as f64);
    }

    pub fn metadata_rewritten(&self, kind: &'static str) {
        self.count(table::METADATA_REWRITES, kind);
    }

    pub fn zab_link_up(&self) {
        self.zab_links.increment(1.0);
    }

    pub fn zab_link_down(&self) {
        self.zab_links.decrement(1.0);
    }

    pub fn zab_link_closed(&self, reason: &'static str) {
        self.count(table::ZAB_LINK_CLOSED, reason);
    }

    pub fn zab_link_refused(&self, reason: &'static str) {
        self.count(table::ZAB_LINK_REFUSED, reason);
    }

    pub fn zab_link_sent(&self, bytes: usize) {
        self.zab_link_sent.increment(bytes as u64);
    }

    pub fn zab_link_received(&self, bytes: usize) {
        self.zab_link_received.increment(bytes as u64);
    }

    /// Folds recorded durations into their buckets: to be called now and then, since they wait until
    /// then in a list.
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// What `/metrics` answers.
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        let mut samples = Samples::default();
        for collector in self.collectors.read().iter() {
            collector.collect(&mut samples);
        }
        samples.write(&mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::new([(3, "Metadata"), (0, "Produce")]).unwrap();
        metrics.request_served(3, Duration::from_millis(2));
        metrics.request_served(99, Duration::from_millis(2));
        metrics.replied_error(0, ErrorCode::CorruptMessage);
        metrics.replied_error(0, ErrorCode::CorruptMessage);
        metrics.replied_error(0, ErrorCode::None);
        metrics.connection_opened();
        metrics.connection_opened();
        metrics.connection_closed("client");
        metrics.metadata_proposed();
        metrics.metadata_persisted(Duration::from_millis(2));
        metrics.metadata_log_bytes(512);
        metrics.metadata_rewritten("truncate");
        metrics.zab_link_up();
        let text = metrics.render();
        for line in [
            "dohle_requests_total{api=\"Metadata\"} 1",
            "dohle_requests_total{api=\"Produce\"} 0",
            "dohle_request_duration_seconds_bucket{api=\"Metadata\",le=\"0.0025\"} 1",
            "dohle_request_errors_total{api=\"Produce\",error=\"CORRUPT_MESSAGE\"} 2",
            "dohle_connections 1",
            "dohle_metadata_proposals_total 1",
            "dohle_metadata_persist_duration_seconds_count 1",
            "dohle_metadata_log_bytes 512",
            "dohle_metadata_log_rewrites_total{kind=\"truncate\"} 1",
            "dohle_zab_links 1",
            "dohle_connections_closed_total{reason=\"client\"} 1",
            "# TYPE process_open_fds gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
