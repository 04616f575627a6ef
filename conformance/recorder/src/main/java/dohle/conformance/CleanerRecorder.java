package dohle.conformance;

import java.io.File;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ScheduledFuture;
import java.util.function.Supplier;

import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Timer;
import org.apache.kafka.server.util.Scheduler;
import org.apache.kafka.storage.internals.log.Cleaner;
import org.apache.kafka.storage.internals.log.CleanerStats;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogToClean;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.SkimpyOffsetMap;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Has Apache Kafka's own cleaner clean logs in place.
 *
 * Reads lines of a file: the directory of a partition, then for each cleaning the first offset that is not cleaned, the high
 * watermark and the time. After each cleaning the directory is copied beside itself as `NAME.1`, `NAME.2`. With `bench` before
 * the file the time and CPU time of each cleaning are printed.
 */
public final class CleanerRecorder {
    private static final long NOW = 1_700_000_100_000L;

    /** Time stands still, so that no producer is forgotten. */
    private static final class StandingTime implements Time {
        @Override public long milliseconds() { return NOW; }
        @Override public long hiResClockMs() { return NOW; }
        @Override public long nanoseconds() { return NOW * 1_000_000L; }
        @Override public void sleep(long ms) { }
        @Override public void waitObject(Object object, Supplier<Boolean> condition, long deadline) { }
        @Override public Timer timer(long ms) { return Time.SYSTEM.timer(ms); }
    }

    private static final class NoScheduler implements Scheduler {
        @Override public void startup() { }
        @Override public void shutdown() { }
        @Override public ScheduledFuture<?> schedule(String name, Runnable task, long delayMs, long periodMs) { return null; }
        @Override public void resizeThreadPool(int newSize) { }
    }

    public static void main(String[] args) throws Exception {
        boolean bench = args[0].equals("bench");
        for (String line : Files.readAllLines(Path.of(args[bench ? 1 : 0]))) {
            clean(line.split(" "), bench);
        }
    }

    private static void clean(String[] words, boolean bench) throws Exception {
        File dir = new File(words[0]);
        Map<String, Object> props = new HashMap<>();
        props.put("cleanup.policy", "compact");
        props.put("internal.segment.bytes", Integer.parseInt(words[1]));
        props.put("index.interval.bytes", Integer.parseInt(words[2]));
        props.put("delete.retention.ms", Long.parseLong(words[3]));
        Time time = new StandingTime();
        UnifiedLog log = UnifiedLog.create(dir, new LogConfig(props), 0, 0, new NoScheduler(), new BrokerTopicStats(), time,
            900_000, new ProducerStateManagerConfig(Integer.MAX_VALUE, false), Integer.MAX_VALUE, new LogDirFailureChannel(1), true,
            Optional.empty());
        Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(134_217_728), 524_288 / 2, 1_048_588, 0.9,
            new Throttler(Double.MAX_VALUE, 300, "cleaner-io", "bytes", time), time, topicPartition -> { });
        long firstDirty = 0;
        for (int at = 4, round = 1; at < words.length; at += 3, round++) {
            long uncleanable = Long.parseLong(words[at]);
            log.updateHighWatermark(Long.parseLong(words[at + 1]));
            long began = System.nanoTime();
            long cpu = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
            Map.Entry<Long, CleanerStats> done =
                cleaner.doClean(new LogToClean(log, firstDirty, uncleanable, true), Long.parseLong(words[at + 2]));
            if (bench) {
                double seconds = (System.nanoTime() - began) / 1e9;
                double used = (ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - cpu) / 1e9;
                System.out.printf("cleaned to %d: %.3f s, %.3f s of CPU%n", done.getKey(), seconds, used);
            } else {
                copy(dir.toPath(), Path.of(words[0] + "." + round));
            }
            firstDirty = done.getKey();
        }
    }

    private static void copy(Path from, Path to) throws Exception {
        Files.createDirectories(to);
        try (var names = Files.list(from)) {
            for (Path file : (List<Path>) names.toList()) {
                Files.copy(file, to.resolve(file.getFileName()));
            }
        }
    }
}
