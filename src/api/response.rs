//! A reply as it leaves: a whole frame, cut into bytes made here and ranges of log files that the
//! connection sends without reading them.

use std::sync::Arc;

use bytes::Bytes;

use crate::log::storage::File;

/// A range of a log file. The file stays readable when its name is gone.
#[derive(Debug, Clone)]
pub struct FileRange {
    pub file: Arc<dyn File>,
    pub position: u64,
    pub len: usize,
    /// It may have to come from the disk first.
    pub maybe_cold: bool,
}

/// A piece of a reply.
#[derive(Debug, Clone)]
pub enum ResponsePart {
    Bytes(Bytes),
    File(FileRange),
}

impl ResponsePart {
    pub fn len(&self) -> usize {
        match self {
            ResponsePart::Bytes(bytes) => bytes.len(),
            ResponsePart::File(range) => range.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One reply, from its four bytes of length to its end.
#[derive(Debug, Default)]
pub struct Response {
    pub parts: Vec<ResponsePart>,
}

impl Response {
    pub fn new(parts: Vec<ResponsePart>) -> Self {
        Self { parts }
    }

    /// In bytes, the length in front included.
    pub fn len(&self) -> usize {
        self.parts.iter().map(ResponsePart::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Response {
    fn from(frame: Bytes) -> Self {
        Self::new(vec![ResponsePart::Bytes(frame)])
    }
}
