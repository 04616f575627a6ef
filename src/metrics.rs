//! stub
use std::time::Duration;
#[derive(Debug, Default)]
pub struct Metrics {}
impl Metrics {
    pub fn network_bytes_in(&self, _: usize) {}
    pub fn network_bytes_out(&self, _: usize) {}
    pub fn request_served(&self, _: i16, _: Duration) {}
    pub fn connection_opened(&self) {}
    pub fn connection_closed(&self, _: &'static str) {}
    pub fn connection_refused(&self, _: &'static str) {}
    pub fn log_flushed(&self, _: Duration) {}
}
