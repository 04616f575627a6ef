package dohle.compat;

import static dohle.compat.Driver.JSON;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeReplicaLogDirsResult.ReplicaLogDirInfo;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.FeatureMetadata;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.config.ConfigResource;

/** The operations that go through the Admin client. */
final class AdminOperations {
    private final Admin admin;

    AdminOperations(String bootstrap) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("request.timeout.ms", 20000);
        config.put("default.api.timeout.ms", 30000);
        this.admin = Admin.create(config);
    }

    JsonNode perform(JsonNode request) throws Exception {
        ObjectNode result = JSON.createObjectNode();
        switch (request.get("op").asText()) {
            case "create_topic":
                return createTopic(request, result);
            case "delete_topic":
                admin.deleteTopics(List.of(topic(request))).all().get();
                return result;
            case "list_topics":
                ArrayNode topics = result.putArray("topics");
                admin.listTopics().names().get().forEach(topics::add);
                return result;
            case "describe_topic":
                return describeTopic(request, result);
            case "create_partitions":
                admin.createPartitions(Map.of(topic(request), NewPartitions.increaseTo(request.get("total").asInt())))
                        .all().get();
                return result;
            case "describe_configs":
                return describeConfigs(request, result);
            case "alter_configs":
                return alterConfigs(request, result);
            case "delete_records":
                long low = admin.deleteRecords(Map.of(partition(request),
                                RecordsToDelete.beforeOffset(request.get("before").asLong())))
                        .lowWatermarks().get(partition(request)).get().lowWatermark();
                return result.put("low_watermark", low);
            case "list_offset":
                ListOffsetsResultInfo found = admin.listOffsets(Map.of(partition(request), spec(request)))
                        .partitionResult(partition(request)).get();
                return result.put("offset", found.offset()).put("timestamp", found.timestamp());
            case "list_groups":
                ArrayNode groups = result.putArray("groups");
                admin.listGroups().all().get().forEach(group -> groups.addObject().put("group", group.groupId())
                        .put("state", group.groupState().map(Object::toString).orElse(""))
                        .put("protocol", group.protocol()));
                return result;
            case "describe_group":
                return describeGroup(request, result);
            case "delete_group":
                admin.deleteConsumerGroups(List.of(group(request))).all().get();
                return result;
            case "committed":
                return committed(request, result);
            case "alter_group_offsets":
                admin.alterConsumerGroupOffsets(group(request), offsets(request)).all().get();
                return result;
            case "delete_group_offsets":
                admin.deleteConsumerGroupOffsets(group(request), Set.of(partition(request))).all().get();
                return result;
            case "describe_cluster":
                return describeCluster(result);
            case "describe_features":
                return describeFeatures(result);
            case "describe_log_dirs":
                return describeLogDirs(result);
            case "alter_replica_log_dirs":
                admin.alterReplicaLogDirs(Map.of(replica(request), request.get("path").asText())).all().get();
                return result;
            case "describe_replica_log_dirs":
                ReplicaLogDirInfo info = admin.describeReplicaLogDirs(List.of(replica(request))).all().get()
                        .get(replica(request));
                return result.put("path", info.getCurrentReplicaLogDir())
                        .put("lag", info.getCurrentReplicaOffsetLag()).put("future_path", info.getFutureReplicaLogDir())
                        .put("future_lag", info.getFutureReplicaOffsetLag());
            case "list_config_resources":
                return listConfigResources(request, result);
            default:
                throw new IllegalArgumentException("no such operation: " + request.get("op"));
        }
    }

    private static String topic(JsonNode request) {
        return request.get("topic").asText();
    }

    private static String group(JsonNode request) {
        return request.get("group").asText();
    }

    private static TopicPartition partition(JsonNode request) {
        return new TopicPartition(topic(request), request.get("partition").asInt());
    }

    private static TopicPartitionReplica replica(JsonNode request) {
        return new TopicPartitionReplica(topic(request), request.get("partition").asInt(),
                request.get("broker").asInt());
    }

    private static OffsetSpec spec(JsonNode request) {
        switch (request.get("spec").asText()) {
            case "earliest":
                return OffsetSpec.earliest();
            case "latest":
                return OffsetSpec.latest();
            case "max_timestamp":
                return OffsetSpec.maxTimestamp();
            case "earliest_local":
                return OffsetSpec.earliestLocal();
            default:
                return OffsetSpec.forTimestamp(request.get("timestamp").asLong());
        }
    }

    private JsonNode createTopic(JsonNode request, ObjectNode result) throws Exception {
        Map<String, String> configs = new HashMap<>();
        request.path("configs").properties().forEach(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
        NewTopic topic = new NewTopic(topic(request), request.get("partitions").asInt(), (short) 1).configs(configs);
        result.put("topic_id", admin.createTopics(List.of(topic)).topicId(topic(request)).get().toString());
        return result;
    }

    private JsonNode describeTopic(JsonNode request, ObjectNode result) throws Exception {
        DescribeTopicsOptions options = new DescribeTopicsOptions().includeAuthorizedOperations(true);
        TopicDescription description =
                admin.describeTopics(List.of(topic(request)), options).allTopicNames().get().get(topic(request));
        result.put("partitions", description.partitions().size());
        result.put("topic_id", description.topicId().toString());
        result.put("internal", description.isInternal());
        result.put("authorized_operations", description.authorizedOperations().size());
        ArrayNode leaders = result.putArray("leaders");
        for (TopicPartitionInfo partition : description.partitions()) {
            leaders.add(partition.leader() == null ? -1 : partition.leader().id());
        }
        return result;
    }

    private static ConfigResource resource(JsonNode request) {
        return new ConfigResource(ConfigResource.Type.valueOf(request.get("type").asText().toUpperCase()),
                request.get("name").asText());
    }

    private JsonNode describeConfigs(JsonNode request, ObjectNode result) throws Exception {
        DescribeConfigsOptions options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        ObjectNode configs = result.putObject("configs");
        for (ConfigEntry entry : admin.describeConfigs(List.of(resource(request)), options)
                .all().get().get(resource(request)).entries()) {
            configs.putObject(entry.name()).put("value", entry.value()).put("source", entry.source().name())
                    .put("type", entry.type().name()).put("read_only", entry.isReadOnly())
                    .put("sensitive", entry.isSensitive()).put("default", entry.isDefault())
                    .put("synonyms", entry.synonyms().size());
        }
        return result;
    }

    private JsonNode alterConfigs(JsonNode request, ObjectNode result) throws Exception {
        List<AlterConfigOp> operations = new ArrayList<>();
        for (JsonNode change : request.get("changes")) {
            operations.add(new AlterConfigOp(
                    new ConfigEntry(change.get(0).asText(), change.path(2).asText(null)),
                    AlterConfigOp.OpType.valueOf(change.get(1).asText().toUpperCase())));
        }
        admin.incrementalAlterConfigs(Map.of(resource(request), operations)).all().get();
        return result;
    }

    private JsonNode describeGroup(JsonNode request, ObjectNode result) throws Exception {
        ConsumerGroupDescription description =
                admin.describeConsumerGroups(List.of(group(request))).all().get().get(group(request));
        result.put("state", description.groupState().toString());
        result.put("assignor", description.partitionAssignor());
        ArrayNode members = result.putArray("members");
        description.members().forEach(member -> {
            ObjectNode node = members.addObject();
            node.put("member_id", member.consumerId()).put("client_id", member.clientId()).put("host", member.host());
            node.put("instance_id", member.groupInstanceId().orElse(null));
            ArrayNode assignment = node.putArray("assignment");
            member.assignment().topicPartitions().forEach(p -> assignment.addArray().add(p.topic()).add(p.partition()));
        });
        return result;
    }

    private JsonNode committed(JsonNode request, ObjectNode result) throws Exception {
        ArrayNode offsets = result.putArray("offsets");
        Map<TopicPartition, OffsetAndMetadata> committed = admin.listConsumerGroupOffsets(group(request),
                new ListConsumerGroupOffsetsOptions()).partitionsToOffsetAndMetadata().get();
        committed.forEach((partition, offset) -> {
            if (offset != null) {
                offsets.addArray().add(partition.topic()).add(partition.partition()).add(offset.offset());
            }
        });
        return result;
    }

    private static Map<TopicPartition, OffsetAndMetadata> offsets(JsonNode request) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (JsonNode offset : request.get("offsets")) {
            offsets.put(new TopicPartition(offset.get(0).asText(), offset.get(1).asInt()),
                    new OffsetAndMetadata(offset.get(2).asLong(), "altered"));
        }
        return offsets;
    }

    private JsonNode describeCluster(ObjectNode result) throws Exception {
        DescribeClusterResult cluster =
                admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
        result.put("cluster_id", cluster.clusterId().get());
        result.put("controller", cluster.controller().get().id());
        result.put("authorized_operations", cluster.authorizedOperations().get().size());
        ArrayNode nodes = result.putArray("nodes");
        for (Node node : cluster.nodes().get()) {
            nodes.addObject().put("id", node.id()).put("host", node.host()).put("port", node.port());
        }
        return result;
    }

    private JsonNode describeFeatures(ObjectNode result) throws Exception {
        FeatureMetadata features = admin.describeFeatures().featureMetadata().get();
        ObjectNode finalized = result.putObject("finalized");
        features.finalizedFeatures().forEach((name, range) -> finalized.put(name, range.maxVersionLevel()));
        ObjectNode supported = result.putObject("supported");
        features.supportedFeatures().forEach((name, range) -> supported.put(name, range.maxVersion()));
        return result.put("finalized_epoch", features.finalizedFeaturesEpoch().orElse(-1L));
    }

    private JsonNode describeLogDirs(ObjectNode result) throws Exception {
        Set<Integer> brokers = new HashSet<>();
        admin.describeCluster().nodes().get().forEach(node -> brokers.add(node.id()));
        ArrayNode replicas = result.putArray("replicas");
        admin.describeLogDirs(brokers).allDescriptions().get().forEach((broker, directories) ->
                directories.forEach((path, directory) -> directory.replicaInfos().forEach((partition, info) ->
                        replicas.addObject().put("broker", broker).put("path", path).put("topic", partition.topic())
                                .put("partition", partition.partition()).put("size", info.size())
                                .put("lag", info.offsetLag()).put("total_bytes", directory.totalBytes().orElse(-1))
                                .put("future", info.isFuture()))));
        ArrayNode cordoned = result.putArray("cordoned");
        admin.describeLogDirs(brokers).allDescriptions().get().forEach((broker, directories) ->
                directories.forEach((path, directory) -> {
                    if (directory.isCordoned()) {
                        cordoned.add(path);
                    }
                }));
        return result;
    }

    private JsonNode listConfigResources(JsonNode request, ObjectNode result) throws Exception {
        Set<ConfigResource.Type> types = new HashSet<>();
        request.path("types").forEach(type -> types.add(ConfigResource.Type.valueOf(type.asText().toUpperCase())));
        ArrayNode resources = result.putArray("resources");
        admin.listConfigResources(types, new ListConfigResourcesOptions()).all().get()
                .forEach(resource -> resources.addArray().add(resource.type().name().toLowerCase()).add(resource.name()));
        return result;
    }
}
