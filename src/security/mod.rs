//! Who a connection is, and what it may do.

pub mod authorizer;

pub use authorizer::{Authorizer, Operation, ResourceType};

/// Whom a connection speaks for; `User:ANONYMOUS` until it authenticates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    pub kind: std::sync::Arc<str>,
    pub name: std::sync::Arc<str>,
}

impl Principal {
    pub fn anonymous() -> Self {
        Self {
            kind: "User".into(),
            name: "ANONYMOUS".into(),
        }
    }
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}
