//! The ONE table of group options (KIP-848, KIP-932, KIP-1071): all of Kafka 4.4.0's.
//!
//! Checked, stored and shown; the kinds of groups that read them are built one after the other.

use super::options::Valid::{Any, AtLeast};
use super::options::option_table;

option_table! {
    /// A group's options as they apply.
    pub struct GROUP_OPTIONS as GroupConfig {
        consumer_assignment_interval_ms: i32 = "consumer.assignment.interval.ms" "1000" AtLeast(0), Ms, ClusterWide, ["group.consumer.assignment.interval.ms"] "Time between two assignments of a consumer group.";
        consumer_heartbeat_interval_ms: i32 = "consumer.heartbeat.interval.ms" "5000" AtLeast(1), Ms, ClusterWide, ["group.consumer.heartbeat.interval.ms"] "How often the members of a consumer group are told to send a heartbeat.";
        consumer_session_timeout_ms: i32 = "consumer.session.timeout.ms" "45000" AtLeast(1), Ms, ClusterWide, ["group.consumer.session.timeout.ms"] "A member of a consumer group that is silent for so long has left.";
        consumer_assignor_offload_enable: bool = "consumer.assignor.offload.enable" "true" Any, None, ClusterWide, ["group.consumer.assignor.offload.enable"] "Without effect: an assignment never holds up the coordinator.";
        errors_deadletterqueue_copy_record_enable: bool = "errors.deadletterqueue.copy.record.enable" "false" Any, None, ClusterWide, [] "The record itself goes to the dead letter queue, not only where it was.";
        errors_deadletterqueue_topic_name: String = "errors.deadletterqueue.topic.name" "" Any, None, ClusterWide, [] "Where records go that a share group gives up on; empty: nowhere.";
        share_assignment_interval_ms: i32 = "share.assignment.interval.ms" "1000" AtLeast(0), Ms, ClusterWide, ["group.share.assignment.interval.ms"] "Time between two assignments of a share group.";
        share_assignor_offload_enable: bool = "share.assignor.offload.enable" "true" Any, None, ClusterWide, ["group.share.assignor.offload.enable"] "Without effect: an assignment never holds up the coordinator.";
        share_auto_offset_reset: String = "share.auto.offset.reset" "latest" Any, None, ClusterWide, [] "Where a share group begins to read: earliest, latest, or by_duration: and an ISO 8601 duration back from now.";
        share_delivery_count_limit: i32 = "share.delivery.count.limit" "5" AtLeast(2), None, ClusterWide, ["group.share.delivery.count.limit"] "How often a record is offered to a share group.";
        share_heartbeat_interval_ms: i32 = "share.heartbeat.interval.ms" "5000" AtLeast(1), Ms, ClusterWide, ["group.share.heartbeat.interval.ms"] "How often the members of a share group are told to send a heartbeat.";
        share_isolation_level: String = "share.isolation.level" "read_uncommitted" Any, None, ClusterWide, [] "Whether a share group is given the records of open and aborted transactions.";
        share_partition_max_record_locks: i32 = "share.partition.max.record.locks" "2000" AtLeast(100), None, ClusterWide, ["group.share.partition.max.record.locks"] "Records of one partition that a share group may hold at a time.";
        share_record_lock_duration_ms: i32 = "share.record.lock.duration.ms" "30000" AtLeast(1000), Ms, ClusterWide, ["group.share.record.lock.duration.ms"] "How long a member of a share group holds a record before it is offered again.";
        share_renew_acknowledge_enable: bool = "share.renew.acknowledge.enable" "true" Any, None, ClusterWide, [] "A member of a share group may ask to hold a record for longer.";
        share_session_timeout_ms: i32 = "share.session.timeout.ms" "45000" AtLeast(1), Ms, ClusterWide, ["group.share.session.timeout.ms"] "A member of a share group that is silent for so long has left.";
        streams_acceptable_recovery_lag: i64 = "streams.acceptable.recovery.lag" "10000" AtLeast(0), None, ClusterWide, ["group.streams.acceptable.recovery.lag"] "Records that a client of a streams group may be behind with and still be given the task.";
        streams_assignment_interval_ms: i32 = "streams.assignment.interval.ms" "1000" AtLeast(0), Ms, ClusterWide, ["group.streams.assignment.interval.ms"] "Time between two assignments of a streams group.";
        streams_assignor_name: Option<String> = "streams.assignor.name" "" Any, None, ClusterWide, ["group.streams.assignors"] "Which assignor hands out the tasks of a streams group.";
        streams_assignor_offload_enable: bool = "streams.assignor.offload.enable" "true" Any, None, ClusterWide, ["group.streams.assignor.offload.enable"] "Without effect: an assignment never holds up the coordinator.";
        streams_heartbeat_interval_ms: i32 = "streams.heartbeat.interval.ms" "5000" AtLeast(1), Ms, ClusterWide, ["group.streams.heartbeat.interval.ms"] "How often the members of a streams group are told to send a heartbeat.";
        streams_initial_rebalance_delay_ms: i32 = "streams.initial.rebalance.delay.ms" "3000" AtLeast(0), Ms, ClusterWide, ["group.streams.initial.rebalance.delay.ms"] "How long a new streams group waits for more members before its first assignment.";
        streams_num_standby_replicas: i32 = "streams.num.standby.replicas" "0" AtLeast(0), None, ClusterWide, ["group.streams.num.standby.replicas"] "Standby tasks for each task of a streams group.";
        streams_num_warmup_replicas: i32 = "streams.num.warmup.replicas" "2" AtLeast(0), None, ClusterWide, ["group.streams.num.warmup.replicas"] "Tasks of a streams group that are warmed up at a time.";
        streams_rack_aware_assignment_tags: Vec<String> = "streams.rack.aware.assignment.tags" "" Any, None, ClusterWide, ["group.streams.rack.aware.assignment.tags"] "Client tags over whose values the standby tasks of a streams group are spread.";
        streams_session_timeout_ms: i32 = "streams.session.timeout.ms" "45000" AtLeast(1), Ms, ClusterWide, ["group.streams.session.timeout.ms"] "A member of a streams group that is silent for so long has left.";
        streams_task_offset_interval_ms: i32 = "streams.task.offset.interval.ms" "60000" AtLeast(1), Ms, ClusterWide, ["group.streams.task.offset.interval.ms"] "How often the clients of a streams group tell how far their tasks are.";
    }
}
