package dohle.compat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Answers the operations of compat-tests/README.md, one JSON line each, with kafka-clients. */
public final class Driver {
    static final ObjectMapper JSON = new ObjectMapper();

    private final String bootstrap;
    private final AdminOperations admin;
    private final Map<String, Member> members = new HashMap<>();

    private Driver(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = new AdminOperations(bootstrap);
    }

    public static void main(String[] args) throws Exception {
        // Whatever a library prints must not be taken for an answer.
        PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        Driver driver = new Driver(args[0]);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                JsonNode result = driver.perform(JSON.readTree(line));
                answer.put("ok", true).set("result", result);
            } catch (Exception e) {
                Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
                cause.printStackTrace();
                answer.put("ok", false).put("error", cause.toString());
            }
            answers.println(JSON.writeValueAsString(answer));
        }
        for (Member member : driver.members.values()) {
            member.consumer.close();
        }
        System.exit(0);
    }

    private JsonNode perform(JsonNode request) throws Exception {
        switch (request.get("op").asText()) {
            case "info":
                return JSON.createObjectNode().put("version", version());
            case "produce":
                return produce(request);
            case "consume":
                return consume(request);
            case "offset_for_time":
                return offsetForTime(request);
            case "member_open":
                members.put(request.get("member").asText(), new Member(request));
                return JSON.createObjectNode();
            case "member_poll":
                return members.get(request.get("member").asText()).poll(request.get("timeout_ms").asLong());
            case "member_commit":
                members.get(request.get("member").asText()).commit(request.get("offsets"));
                return JSON.createObjectNode();
            case "member_close":
                members.remove(request.get("member").asText()).consumer.close();
                return JSON.createObjectNode();
            default:
                return admin.perform(request);
        }
    }

    private static String version() throws Exception {
        Properties properties = new Properties();
        try (InputStream in = KafkaConsumer.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            properties.load(in);
        }
        return properties.getProperty("version");
    }

    private JsonNode produce(JsonNode request) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("compression.type", request.path("compression").asText("none"));
        config.put("enable.idempotence", request.path("idempotent").asBoolean(false));
        config.put("acks", request.path("acks").asText("all"));
        config.put("linger.ms", 20);
        config.put("delivery.timeout.ms", 30000);
        config.put("request.timeout.ms", 20000);
        config.put("max.block.ms", 20000);
        String topic = request.get("topic").asText();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        ArrayNode placed = JSON.createArrayNode();
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (JsonNode record : request.get("records")) {
                List<Header> headers = new ArrayList<>();
                for (JsonNode header : record.path("headers")) {
                    headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
                }
                Integer partition = record.hasNonNull("partition") ? record.get("partition").asInt() : null;
                Long timestamp = record.hasNonNull("timestamp") ? record.get("timestamp").asLong() : null;
                sent.add(producer.send(new ProducerRecord<>(topic, partition, timestamp,
                        bytes(record.get("key")), bytes(record.get("value")), headers)));
            }
            producer.flush();
            for (Future<RecordMetadata> future : sent) {
                RecordMetadata metadata = future.get();
                placed.addArray().add(metadata.partition()).add(metadata.offset());
            }
        }
        return JSON.createObjectNode().set("placed", placed);
    }

    private Properties consumerConfig() {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("enable.auto.commit", false);
        config.put("auto.offset.reset", "earliest");
        config.put("allow.auto.create.topics", false);
        return config;
    }

    private KafkaConsumer<byte[], byte[]> consumer(Properties config) {
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private JsonNode consume(JsonNode request) {
        TopicPartition partition = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        int count = request.get("count").asInt();
        long deadline = System.nanoTime() + request.get("timeout_ms").asLong() * 1_000_000;
        ArrayNode records = JSON.createArrayNode();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(consumerConfig())) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, request.get("offset").asLong());
            while (records.size() < count && System.nanoTime() < deadline) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    if (records.size() < count) {
                        records.add(describe(record));
                    }
                }
            }
        }
        return JSON.createObjectNode().set("records", records);
    }

    private JsonNode offsetForTime(JsonNode request) {
        TopicPartition partition = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(consumerConfig())) {
            OffsetAndTimestamp found =
                    consumer.offsetsForTimes(Map.of(partition, request.get("timestamp").asLong())).get(partition);
            return JSON.createObjectNode().put("offset", found == null ? null : (Long) found.offset());
        }
    }

    private final class Member implements ConsumerRebalanceListener {
        final KafkaConsumer<byte[], byte[]> consumer;
        final ArrayNode revoked = JSON.createArrayNode();

        Member(JsonNode request) {
            Properties config = consumerConfig();
            config.put("group.id", request.get("group").asText());
            config.put("session.timeout.ms", 10000);
            config.put("heartbeat.interval.ms", 500);
            if (request.hasNonNull("instance_id")) {
                config.put("group.instance.id", request.get("instance_id").asText());
            }
            if (request.hasNonNull("assignor")) {
                config.put("partition.assignment.strategy", request.get("assignor").asText());
            }
            consumer = consumer(config);
            List<String> topics = new ArrayList<>();
            request.get("topics").forEach(topic -> topics.add(topic.asText()));
            consumer.subscribe(topics, this);
        }

        JsonNode poll(long timeoutMs) {
            ArrayNode records = JSON.createArrayNode();
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(timeoutMs))) {
                records.add(describe(record));
            }
            ObjectNode result = JSON.createObjectNode();
            result.set("records", records);
            ArrayNode assignment = result.putArray("assignment");
            consumer.assignment().forEach(p -> assignment.addArray().add(p.topic()).add(p.partition()));
            result.set("revoked", revoked.deepCopy());
            revoked.removeAll();
            return result;
        }

        void commit(JsonNode offsets) {
            Map<TopicPartition, OffsetAndMetadata> commit = new HashMap<>();
            for (JsonNode offset : offsets) {
                commit.put(new TopicPartition(offset.get(0).asText(), offset.get(1).asInt()),
                        new OffsetAndMetadata(offset.get(2).asLong()));
            }
            consumer.commitSync(commit);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            partitions.forEach(p -> revoked.addArray().add(p.topic()).add(p.partition()));
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) { }
    }

    private static ObjectNode describe(ConsumerRecord<byte[], byte[]> record) {
        ObjectNode node = JSON.createObjectNode();
        node.put("partition", record.partition()).put("offset", record.offset()).put("timestamp", record.timestamp());
        node.put("key", text(record.key())).put("value", text(record.value()));
        ArrayNode headers = node.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(text(header.value()));
        }
        return node;
    }

    private static byte[] bytes(JsonNode node) {
        return node == null || node.isNull() ? null : Base64.getDecoder().decode(node.asText());
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }
}
