package dohle.compat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.StringJoiner;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Delayed;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.AbortedTxn;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.util.Scheduler;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogSegment;
import org.apache.kafka.storage.internals.log.ProducerStateEntry;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.log.VerificationGuard;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Kafka's own log code on partition directories: a JSON request a line in, a JSON answer a line out.
 *
 * "write" (dir, configs, seed, close) makes a log of plain, idempotent and transactional batches; without "close" it is left as
 * a broker that was killed leaves it. "open" (dir, configs, clean, recovery_point, log_start) opens one, recovers it if it was
 * not closed clean, and answers with lines that say all that Kafka knows of it. Nothing is done later: no file is
 * deleted after a delay.
 */
public final class KafkaLog {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long NOW = 1_700_000_000_000L;
    private static final short TRANSACTION_VERSION = 1;

    /** A clock that stands still: no producer is forgotten. */
    private static final Time CLOCK = new Time() {
        @Override
        public long milliseconds() {
            return NOW;
        }

        @Override
        public long nanoseconds() {
            return NOW * 1_000_000;
        }

        @Override
        public void sleep(long ms) {
        }
    };

    /** Writes small files at once, and leaves undone what is not needed to know what a log holds. */
    private static final Scheduler SCHEDULER = new Scheduler() {
        @Override
        public void startup() {
        }

        @Override
        public void shutdown() {
        }

        @Override
        public ScheduledFuture<?> schedule(String name, Runnable task, long delayMs, long periodMs) {
            if (name.startsWith("leader-epoch-cache-flush")) {
                task.run();
            }
            return new Never();
        }

        @Override
        public void resizeThreadPool(int size) {
        }
    };

    /** What was asked for and will not be done. */
    private static final class Never extends CompletableFuture<Void> implements ScheduledFuture<Void> {
        @Override
        public long getDelay(TimeUnit unit) {
            return Long.MAX_VALUE;
        }

        @Override
        public int compareTo(Delayed other) {
            return 0;
        }
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                JsonNode asked = JSON.readTree(line);
                List<String> lines = asked.get("op").asText().equals("write") ? write(asked) : open(asked);
                answer.put("ok", true);
                lines.forEach(answer.putArray("lines")::add);
            } catch (Throwable failure) {
                failure.printStackTrace();
                answer.put("ok", false).put("error", failure.toString());
            }
            answers.println(JSON.writeValueAsString(answer));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static UnifiedLog log(JsonNode asked, boolean clean, long recoveryPoint, long logStart) throws IOException {
        Map<String, String> configs = new HashMap<>();
        asked.get("configs").properties().forEach(config -> configs.put(config.getKey(), config.getValue().asText()));
        return UnifiedLog.create(new File(asked.get("dir").asText()), new LogConfig(configs), logStart, recoveryPoint, SCHEDULER,
            new BrokerTopicStats(), CLOCK, 900_000, new ProducerStateManagerConfig(Integer.MAX_VALUE, false), 600_000,
            new LogDirFailureChannel(1), clean, Optional.empty());
    }

    private static List<String> write(JsonNode asked) throws Exception {
        new File(asked.get("dir").asText()).mkdirs();
        UnifiedLog log = log(asked, true, 0, 0);
        Random random = new Random(asked.get("seed").asLong());
        int epoch = 1;
        int[] sequences = new int[5];
        int steps = asked.get("steps").asInt();
        for (int step = 0; step < steps; step++) {
            int choice = random.nextInt(20);
            if (choice == 0) {
                epoch += 1 + random.nextInt(2);
            } else if (choice == 1) {
                log.roll();
            } else if (choice < 6) {
                long producer = 2 + random.nextInt(3);
                ControlRecordType type = random.nextBoolean() ? ControlRecordType.COMMIT : ControlRecordType.ABORT;
                MemoryRecords marker = MemoryRecords.withEndTransactionMarker(timestamp(random, step), producer, (short) 0,
                    new EndTransactionMarker(type, 3));
                append(log, marker, epoch, AppendOrigin.COORDINATOR);
            } else {
                SimpleRecord[] records = new SimpleRecord[1 + random.nextInt(4)];
                for (int at = 0; at < records.length; at++) {
                    byte[] value = new byte[random.nextInt(200)];
                    random.nextBytes(value);
                    records[at] = new SimpleRecord(timestamp(random, step), ("k" + step).getBytes(StandardCharsets.UTF_8), value);
                }
                CompressionType[] types = CompressionType.values();
                Compression compression = Compression.of(types[random.nextInt(types.length)]).build();
                int producer = choice < 9 ? 0 : choice < 11 ? 1 : 2 + random.nextInt(3);
                MemoryRecords batch = switch (producer) {
                    case 0 -> MemoryRecords.withRecords(compression, records);
                    case 1 -> MemoryRecords.withIdempotentRecords(compression, 1, (short) 0, sequences[1], records);
                    default -> MemoryRecords.withTransactionalRecords(compression, producer, (short) 0, sequences[producer], records);
                };
                sequences[producer] += records.length;
                append(log, batch, epoch, AppendOrigin.CLIENT);
            }
        }
        List<String> lines = describe(log);
        if (asked.get("close").asBoolean()) {
            log.prepareActiveSegmentForClose();
            log.close();
        }
        return lines;
    }

    /** Mostly later and later. */
    private static long timestamp(Random random, int step) {
        return NOW - 1_000_000 + step * 1000L + random.nextInt(3000);
    }

    private static void append(UnifiedLog log, MemoryRecords records, int epoch, AppendOrigin origin) throws IOException {
        log.appendAsLeader(records, epoch, origin, RequestLocal.noCaching(), VerificationGuard.SENTINEL, TRANSACTION_VERSION);
    }

    private static List<String> open(JsonNode asked) throws Exception {
        UnifiedLog log = log(asked, asked.get("clean").asBoolean(), asked.get("recovery_point").asLong(),
            asked.get("log_start").asLong());
        List<String> lines = describe(log);
        log.prepareActiveSegmentForClose();
        log.close();
        return lines;
    }

    /** Everything is replicated. */
    private static List<String> describe(UnifiedLog log) throws Exception {
        log.updateHighWatermark(log.logEndOffset());
        List<String> lines = new ArrayList<>();
        lines.add("log " + log.logStartOffset() + " to " + log.logEndOffset() + ", stable to " + log.lastStableOffset());
        StringJoiner epochs = new StringJoiner(" ");
        log.leaderEpochCache().epochEntries().forEach(entry -> epochs.add(entry.epoch() + "@" + entry.startOffset()));
        lines.add("epochs " + epochs);
        for (Map.Entry<Long, ProducerStateEntry> producer : new TreeMap<>(log.producerStateManager().activeProducers()).entrySet()) {
            ProducerStateEntry entry = producer.getValue();
            int lastSequence = log.activeProducersWithLastSequence().get(producer.getKey());
            lines.add("producer " + producer.getKey() + " epoch " + entry.producerEpoch() + " coordinator " + entry.coordinatorEpoch()
                + " sequence " + lastSequence + " offset " + entry.lastDataOffset() + " time " + entry.lastTimestamp()
                + " open " + entry.currentTxnFirstOffset().orElse(-1));
        }
        for (LogSegment segment : log.logSegments()) {
            CRC32 crc = new CRC32();
            int batches = 0;
            long records = 0;
            for (RecordBatch batch : segment.log().batches()) {
                batch.ensureValid();
                batches++;
                records += batch.countOrNull();
                crc.update(Long.toString(batch.baseOffset()).getBytes(StandardCharsets.UTF_8));
                crc.update(Long.toString(batch.checksum()).getBytes(StandardCharsets.UTF_8));
                crc.update(batch.partitionLeaderEpoch());
            }
            lines.add("segment " + segment.baseOffset() + " bytes " + segment.size() + " batches " + batches + " records " + records
                + " sum " + crc.getValue());
            segment.offsetIndex().sanityCheck();
            segment.timeIndex().sanityCheck();
            segment.txnIndex().sanityCheck();
            for (AbortedTxn txn : segment.txnIndex().allAbortedTxns()) {
                lines.add("aborted " + txn.producerId() + " from " + txn.firstOffset() + " to " + txn.lastOffset()
                    + " stable to " + txn.lastStableOffset());
            }
        }
        for (long time : new long[] {-3, NOW - 1_000_000, NOW - 990_000, NOW - 960_000, NOW - 930_000, NOW}) {
            lines.add("time " + time + " " + log.fetchOffsetByTimestamp(time, Optional.empty()).timestampAndOffsetOpt()
                .map(KafkaLog::found).orElse("none"));
        }
        return lines;
    }

    private static String found(FileRecords.TimestampAndOffset found) {
        return found.offset + " at " + found.timestamp + " epoch " + found.leaderEpoch.orElse(-1);
    }
}
