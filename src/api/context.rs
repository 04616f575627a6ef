//! What a request knows: the node it came to, and who sent it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::runtime::Node;
use crate::security::{Operation, Principal, ResourceType};

/// Lives as long as its request.
#[derive(Debug, Clone)]
pub struct RequestContext {
    pub node: Arc<Node>,
    /// The API version that both sides speak here.
    pub version: i16,
    pub correlation_id: i32,
    /// A copy: it may outlive the frame.
    pub client_id: Option<Arc<str>>,
    pub client: SocketAddr,
    pub principal: Principal,
    /// The name of the listener it came by: replies point to what is reachable there.
    pub listener: Arc<str>,
}

impl RequestContext {
    pub fn authorize(&self, operation: Operation, resource: ResourceType, name: &str) -> bool {
        self.node
            .authorizer
            .allows(&self.principal, operation, resource, name)
    }

    pub fn authorized_operations(&self, resource: ResourceType, name: &str) -> i32 {
        self.node
            .authorizer
            .authorized_operations(&self.principal, resource, name)
    }

    /// What Kafka logs and keeps of a client that names none.
    pub fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or("")
    }
}
