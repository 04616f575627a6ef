import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Consumer;
import java.util.function.Function;

import org.apache.kafka.clients.ApiVersions;
import org.apache.kafka.clients.BootstrapConfiguration;
import org.apache.kafka.clients.ClientResponse;
import org.apache.kafka.clients.ManualMetadataUpdater;
import org.apache.kafka.clients.MetadataRecoveryStrategy;
import org.apache.kafka.clients.NetworkClient;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.message.DescribeConfigsRequestData;
import org.apache.kafka.common.message.DescribeConfigsRequestData.DescribeConfigsResource;
import org.apache.kafka.common.message.DescribeConfigsResponseData.DescribeConfigsResult;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterConfigsResource;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterableConfig;
import org.apache.kafka.common.message.IncrementalAlterConfigsResponseData.AlterConfigsResourceResponse;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.network.PlaintextChannelBuilder;
import org.apache.kafka.common.network.Selector;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.requests.AbstractRequest;
import org.apache.kafka.common.requests.AbstractResponse;
import org.apache.kafka.common.requests.DescribeConfigsRequest;
import org.apache.kafka.common.requests.DescribeConfigsResponse;
import org.apache.kafka.common.requests.IncrementalAlterConfigsRequest;
import org.apache.kafka.common.requests.IncrementalAlterConfigsResponse;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.internals.LogContext;

/**
 * A Kafka broker's metadata: client metrics subscriptions, changed by IncrementalAlterConfigs and read by
 * DescribeConfigs. Below Kafka's Admin is this same network client; Admin itself takes a thread for each connection,
 * lets one request be under way on it, and goes to which server it likes. Here one thread serves all connections,
 * with as many requests under way on each as lanes go over it.
 */
final class KafkaBackend implements Backend {
    private static final byte KIND = ConfigResource.Type.CLIENT_METRICS.id();
    private static final String CONFIG = "metrics";
    private static final int TIMEOUT_MS = 60_000;
    private static final int CONNECTED_WITHIN_MS = 20_000;
    private static final int POLL_MS = 1000;
    private static final int MOST_UNDER_WAY = 10_000;

    /** A request on its way to the thread. */
    private record Call(Node node, long since, AbstractRequest.Builder<?> request,
                        Function<AbstractResponse, Throwable> check, Consumer<Throwable> done) {
    }

    private final List<String> servers;
    private final int connections;
    private final Map<Integer, Node> nodes = new HashMap<>();
    private final Metrics metrics = new Metrics();
    private final NetworkClient client;
    private final Queue<Call> inbox = new ConcurrentLinkedQueue<>();
    /** By connection, for one that is not there yet, or has not yet taken what was sent before. */
    private final Map<Node, Queue<Call>> waiting = new HashMap<>();
    private final Thread thread;
    private volatile boolean closed;

    KafkaBackend(List<String> servers, int connections) {
        this.servers = servers;
        this.connections = connections;
        LogContext log = new LogContext();
        PlaintextChannelBuilder channels = new PlaintextChannelBuilder(null);
        channels.configure(Map.of());
        Selector selector = new Selector(-1, metrics, Time.SYSTEM, "bench", channels, log);
        client = new NetworkClient(selector, new ManualMetadataUpdater(), "bench", MOST_UNDER_WAY, 50, 1000, -1, -1,
            TIMEOUT_MS, TIMEOUT_MS, TIMEOUT_MS, Time.SYSTEM, true, new ApiVersions(), log,
            MetadataRecoveryStrategy.NONE, BootstrapConfiguration.DISABLED, false);
        thread = new Thread(this::run, "kafka-client");
        thread.start();
    }

    private void run() {
        try {
            while (!closed) {
                for (Call call = inbox.poll(); call != null; call = inbox.poll()) {
                    start(call);
                }
                boolean all = true;
                for (Queue<Call> calls : waiting.values()) {
                    while (!calls.isEmpty() && tried(calls.peek())) {
                        calls.remove();
                    }
                    all &= calls.isEmpty();
                }
                client.poll(all ? POLL_MS : 1, Time.SYSTEM.milliseconds());
            }
        } catch (Throwable failure) {
            // Nobody would ever hear of what is under way.
            failure.printStackTrace();
            Runtime.getRuntime().halt(1);
        } finally {
            client.close();
            metrics.close();
        }
    }

    private void start(Call call) {
        Queue<Call> before = waiting.computeIfAbsent(call.node, node -> new ArrayDeque<>());
        if (!before.isEmpty() || !tried(call)) {
            before.add(call);
        }
    }

    /** Whether it is under way, or never will be. */
    private boolean tried(Call call) {
        long now = Time.SYSTEM.milliseconds();
        if (!client.ready(call.node, now)) {
            boolean givenUp = now - call.since > CONNECTED_WITHIN_MS;
            if (givenUp) {
                call.done.accept(Backend.wrong("no connection to " + call.node));
            }
            return givenUp;
        }
        client.send(client.newClientRequest(call.node.idString(), call.request, now, true, TIMEOUT_MS,
            response -> call.done.accept(failure(call, response))), now);
        return true;
    }

    private static Throwable failure(Call call, ClientResponse response) {
        return response.hasResponse() ? call.check.apply(response.responseBody())
            : Backend.wrong("no answer: " + response);
    }

    private void submit(int server, int lane, AbstractRequest.Builder<?> request,
                        Function<AbstractResponse, Throwable> check, Consumer<Throwable> done) {
        Call call = new Call(node(server, lane), Time.SYSTEM.milliseconds(), request, check, done);
        if (Thread.currentThread() == thread) {
            start(call);
        } else {
            inbox.add(call);
            client.wakeup();
        }
    }

    private synchronized Node node(int server, int lane) {
        return nodes.computeIfAbsent(server * connections + lane % connections, id -> {
            String[] address = servers.get(server).split(":");
            return new Node(id, address[0], Integer.parseInt(address[1]));
        });
    }

    private static String name(long key) {
        return "k" + key;
    }

    private static AlterConfigsResource change(long key, String value) {
        AlterConfigsResource resource = new AlterConfigsResource().setResourceType(KIND).setResourceName(name(key));
        resource.configs().add(new AlterableConfig().setName(CONFIG).setConfigOperation(OpType.SET.id()).setValue(value));
        return resource;
    }

    private static Throwable altered(AbstractResponse response) {
        for (AlterConfigsResourceResponse one : ((IncrementalAlterConfigsResponse) response).data().responses()) {
            if (one.errorCode() != 0) {
                return Backend.wrong(Errors.forCode(one.errorCode()) + ": " + one.errorMessage());
            }
        }
        return null;
    }

    private static Throwable described(AbstractResponse response, int size) {
        DescribeConfigsResult result = ((DescribeConfigsResponse) response).data().results().get(0);
        if (result.errorCode() != 0) {
            return Backend.wrong(Errors.forCode(result.errorCode()) + ": " + result.errorMessage());
        }
        boolean whole = result.configs().size() == 1 && result.configs().get(0).value().length() == size;
        return whole ? null : Backend.wrong(result + " is not one value of " + size);
    }

    @Override
    public void create(int server, int lane, long first, String value, Consumer<Throwable> done) {
        IncrementalAlterConfigsRequestData data = new IncrementalAlterConfigsRequestData();
        for (long key = first; key < first + BATCH; key++) {
            data.resources().add(change(key, value));
        }
        submit(server, lane, new IncrementalAlterConfigsRequest.Builder(data), KafkaBackend::altered, done);
    }

    @Override
    public void write(int server, int lane, long key, String value, Consumer<Throwable> done) {
        IncrementalAlterConfigsRequestData data = new IncrementalAlterConfigsRequestData();
        data.resources().add(change(key, value));
        submit(server, lane, new IncrementalAlterConfigsRequest.Builder(data), KafkaBackend::altered, done);
    }

    @Override
    public void read(int server, int lane, long key, int size, Consumer<Throwable> done) {
        DescribeConfigsRequestData data = new DescribeConfigsRequestData().setResources(List.of(
            new DescribeConfigsResource().setResourceType(KIND).setResourceName(name(key))
                .setConfigurationKeys(List.of(CONFIG))));
        submit(server, lane, new DescribeConfigsRequest.Builder(data), response -> described(response, size), done);
    }

    @Override
    public void close() {
        closed = true;
        client.wakeup();
    }
}
