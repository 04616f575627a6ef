package dohle.conformance;

import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.io.Writer;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.zip.GZIPOutputStream;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.requests.ResponseHeader;

/**
 * Writes what Apache Kafka's own classes put on the wire: each request and response of each API a broker serves,
 * in each version, with values of several kinds, and record batches in each compression.
 *
 * A line of the output is tab-separated. Messages: API key, version, "request" or "response", variant, frame in hex (header
 * and body, without the length). Batches: "batch", compression, variant, hex.
 */
public final class Recorder {
    private static final HexFormat HEX = HexFormat.of();

    public static void main(String[] args) throws Exception {
        Path path = Path.of(args[0]);
        try (Writer text = new OutputStreamWriter(new GZIPOutputStream(Files.newOutputStream(path)), StandardCharsets.US_ASCII);
             PrintWriter out = new PrintWriter(text)) {
            for (ApiMessageType type : ApiMessageType.values()) {
                if (type.listeners().contains(ApiMessageType.ListenerType.BROKER)) {
                    record(type, out);
                }
            }
            for (CompressionType compression : CompressionType.values()) {
                for (String variant : new String[] {"plain", "transactional", "stamped", "control", "large"}) {
                    out.println(String.join("\t", "batch", compression.name, variant, HEX.formatHex(batch(compression, variant))));
                }
            }
        }
    }

    private static void record(ApiMessageType type, PrintWriter out) {
        short lowest = type.lowestSupportedVersion();
        short highest = type.highestSupportedVersion(false);
        for (short version = lowest; version <= highest; version++) {
            for (Filler.Variant variant : Filler.Variant.values()) {
                boolean flexible = type.requestHeaderVersion(version) >= 2;
                if (variant == Filler.Variant.UNKNOWN_TAGS && !flexible) {
                    continue;
                }
                ApiMessage request = type.newRequest();
                new Filler(variant, version).fill(request);
                String client = variant == Filler.Variant.NULLS ? null : "rec\u00f6rder";
                RequestHeader head = new RequestHeader(ApiKeys.forId(type.apiKey()), version, client, 77);
                byte[] headBytes = bytes(head.data(), type.requestHeaderVersion(version));
                line(out, type, version, "request", variant, headBytes, bytes(request, version));

                ApiMessage response = type.newResponse();
                new Filler(variant, version).fill(response);
                short headVersion = type.responseHeaderVersion(version);
                byte[] responseHead = bytes(new ResponseHeader(77, headVersion).data(), headVersion);
                line(out, type, version, "response", variant, responseHead, bytes(response, version));
            }
        }
    }

    private static void line(PrintWriter out, ApiMessageType type, short version, String kind, Filler.Variant variant,
                             byte[] head, byte[] body) {
        String frame = HEX.formatHex(head) + HEX.formatHex(body);
        out.println(String.join("\t", Short.toString(type.apiKey()), Short.toString(version), kind,
            variant.name().toLowerCase(), frame));
    }

    private static byte[] bytes(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(message.getClass() + " announced a wrong size");
        }
        return buffer.array();
    }

    /** Three records (many, when large) with repeated header keys, nulls and empty keys and values. */
    static byte[] batch(CompressionType compression, String variant) {
        boolean large = variant.equals("large");
        boolean transactional = variant.equals("transactional");
        boolean control = variant.equals("control");
        long producerId = transactional || control ? 4711L : -1L;
        short epoch = (short) (producerId < 0 ? -1 : 3);
        int sequence = transactional ? Integer.MAX_VALUE - 1 : -1;
        TimestampType stamp = variant.equals("stamped") ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME;
        ByteBuffer buffer = ByteBuffer.allocate(4096);
        MemoryRecordsBuilder builder = MemoryRecords.builder(buffer, (byte) 2, Compression.of(compression).build(), stamp, 100L,
            1_700_000_009_999L, producerId, epoch, sequence, transactional || control, control, 5);
        if (control) {
            builder.appendEndTxnMarker(1_700_000_000_000L,
                new org.apache.kafka.common.record.internal.EndTransactionMarker(
                    org.apache.kafka.common.record.internal.ControlRecordType.COMMIT, 9));
        } else {
            Header[] headers = {
                new RecordHeader("trace", "1".getBytes(StandardCharsets.UTF_8)),
                new RecordHeader("trace", (byte[]) null),
                new RecordHeader("", new byte[0]),
            };
            builder.append(1_700_000_000_000L, "key".getBytes(StandardCharsets.UTF_8), "value".getBytes(StandardCharsets.UTF_8), headers);
            builder.append(1_699_999_999_000L, (byte[]) null, new byte[0], Record.NONE);
            builder.append(1_700_000_000_500L, new byte[0], (byte[]) null, Record.NONE);
            // More than one block of each codec.
            for (int index = 0; large && index < 1500; index++) {
                byte[] value = ("the jackdaw sat on chimney number " + index * 7919).getBytes(StandardCharsets.UTF_8);
                builder.append(1_700_000_000_500L + index, Integer.toString(index).getBytes(StandardCharsets.UTF_8), value, Record.NONE);
            }
        }
        ByteBuffer built = builder.build().buffer();
        byte[] out = new byte[built.remaining()];
        built.get(out);
        return out;
    }

    private static final class Record {
        static final Header[] NONE = new Header[0];
    }
}
