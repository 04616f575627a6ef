package dohle.conformance;

import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.zip.GZIPOutputStream;

import kafka.server.KafkaConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.config.DynamicBrokerConfig;
import org.apache.kafka.storage.internals.log.LogConfig;

/**
 * Writes what Apache Kafka's own classes say to one value for one option: of topics, of groups, and of brokers while they
 * run (for all of them, and for one).
 *
 * A line of the output is tab-separated. An option: kind, option, "is", type, default, "internal" or "". A value: kind,
 * option, value, "ok" and the value as it is shown, or "no" and the message.
 */
public final class ConfigRecorder {
    private static final String[] PROBES = {
        "", " ", "0", "1", " 7 ", "+5", "-0", "-1", "-2", "-3", "-131073", "2", "9", "10", "18", "22", "23", "100", "4000", "5000",
        "45000", "60001", "1048575", "1048576", "524287", "2147483639", "2147483640", "2147483647", "2147483648",
        "9223372036854775807", "9223372036854775808", "0.5", "1.5", ".5", "1e3", "1e-5", "0.5f", "NaN", "Infinity", "inf",
        "true", "TRUE", "yes", "7d", "1GiB", "compact", "delete", "delete,compact", "compact , delete", "delete,delete", "delete,",
        "shred", "delete,shred", "Delete", "gzip", "GZIP", "zstd", "producer", "none", "uncompressed", "CreateTime", "LogAppendTime",
        "createtime", "*", "*,", "0:1", "0:1,2:3", "0:1, 2:3", "0:1:2", "+0:1", "a:b", "*,0:1", "earliest", "latest", "by_duration:P1DT2H",
        "by_duration:PT-1S", "by_duration:pt1s", "by_duration:P", "read_committed", "READ_COMMITTED", "sticky", "a,b,a", "__x", "dlq",
    };

    public static void main(String[] args) throws Exception {
        Properties node = new Properties();
        node.putAll(Map.of("process.roles", "broker,controller", "node.id", "1", "controller.quorum.voters", "1@localhost:9093",
            "listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093", "controller.listener.names", "CONTROLLER"));
        KafkaConfig broker = KafkaConfig.fromProps(node, false);
        try (PrintWriter out = new PrintWriter(new OutputStreamWriter(
                new GZIPOutputStream(Files.newOutputStream(Path.of(args[0]))), StandardCharsets.UTF_8))) {
            for (String name : new TreeSet<>(LogConfig.configNames())) {
                record(out, "topic", name, LogConfig.configKeys().get(name), props ->
                    LogConfig.validate(Map.of(), props, broker.extractLogConfigMap(), false));
            }
            for (String name : new TreeSet<>(GroupConfig.configNames())) {
                record(out, "group", name, GroupConfig.CONFIG_DEF.configKeys().get(name), props ->
                    GroupConfig.validate(props, broker.groupCoordinatorConfig(), broker.shareGroupConfig()));
            }
            for (boolean one : List.of(false, true)) {
                for (String name : new TreeSet<>(AbstractKafkaConfig.CONFIG_DEF.configKeys().keySet())) {
                    record(out, one ? "broker" : "brokers", name, AbstractKafkaConfig.CONFIG_DEF.configKeys().get(name), props -> {
                        Properties changed = new Properties();
                        changed.putAll(props);
                        DynamicBrokerConfig.validateConfigs(changed, changed, one);
                        Properties together = new Properties();
                        together.putAll(node);
                        together.putAll(props);
                        KafkaConfig.fromProps(together, false);
                    });
                }
            }
        }
    }

    private interface Check {
        void of(Map<String, String> props);
    }

    private static void record(PrintWriter out, String kind, String name, ConfigDef.ConfigKey key, Check check) {
        String otherwise = key.hasDefault() ? String.valueOf(ConfigDef.convertToString(key.defaultValue, key.type)) : "";
        out.println(String.join("\t", kind, name, "is", key.type.name(), otherwise, key.internalConfig ? "internal" : ""));
        for (String value : PROBES) {
            String verdict;
            try {
                check.of(Map.of(name, value));
                Object parsed = new ConfigDef().define(key).parse(Map.of(name, value)).get(name);
                verdict = "ok\t" + ConfigDef.convertToString(parsed, key.type);
            } catch (Exception e) {
                verdict = "no\t" + e.getMessage();
            }
            out.println(String.join("\t", kind, name, value, verdict));
            // What cannot be changed is told before its value is looked at.
            if (verdict.startsWith("no\tCannot update") || verdict.startsWith("no\tThese security")) {
                break;
            }
        }
    }
}
