//! The one place that is asked whether a principal may do something (KIP-11).
//!
//! Without an authorizer configured Kafka allows everything, and so does this one; ACLs are a later
//! step. What each resource type can be asked for is here already, since clients may ask which
//! operations they are allowed (KIP-430).

use super::Principal;

/// What may be done to a resource; the numbers are Kafka's `AclOperation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

/// What an operation is done to; the numbers are Kafka's `ResourceType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum ResourceType {
    Topic = 2,
    Group = 3,
    Cluster = 4,
    TransactionalId = 5,
}

impl ResourceType {
    /// What can be asked of such a resource (Kafka's `AclEntry.supportedOperations`).
    pub fn operations(self) -> &'static [Operation] {
        use Operation::*;
        match self {
            ResourceType::Topic => &[
                Read,
                Write,
                Create,
                Describe,
                Delete,
                Alter,
                DescribeConfigs,
                AlterConfigs,
            ],
            ResourceType::Group => &[Read, Describe, Delete, DescribeConfigs, AlterConfigs],
            ResourceType::Cluster => &[
                Create,
                ClusterAction,
                DescribeConfigs,
                AlterConfigs,
                IdempotentWrite,
                Alter,
                Describe,
            ],
            ResourceType::TransactionalId => &[Describe, Write],
        }
    }
}

/// The name of the one cluster resource.
pub const CLUSTER: &str = "kafka-cluster";

/// Answers yes or no; never waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Authorizer {
    /// No authorizer is configured.
    #[default]
    AllowAll,
}

impl Authorizer {
    pub fn allows(
        self,
        _principal: &Principal,
        _operation: Operation,
        _resource: ResourceType,
        _name: &str,
    ) -> bool {
        match self {
            Authorizer::AllowAll => true,
        }
    }

    /// The bit field of KIP-430: bit n is operation n.
    pub fn authorized_operations(
        self,
        principal: &Principal,
        resource: ResourceType,
        name: &str,
    ) -> i32 {
        resource
            .operations()
            .iter()
            .filter(|operation| self.allows(principal, **operation, resource, name))
            .fold(0, |bits, operation| bits | 1 << (*operation as i8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_operations_are_a_bit_each() {
        let bits = Authorizer::AllowAll.authorized_operations(
            &Principal::anonymous(),
            ResourceType::TransactionalId,
            "t",
        );
        assert_eq!(bits, 1 << 8 | 1 << 4);
    }
}
