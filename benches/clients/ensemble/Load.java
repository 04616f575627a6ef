import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Load for an ensemble that keeps small values: `Load zookeeper|kafka SESSIONS HOST:PORT...` (so many sessions, or
 * connections, with each server), then a command in each line of the standard input, answered by a line of JSON. One
 * process measures again and again: its code is compiled.
 *
 * create COUNT SIZE OUTSTANDING                    keys from 0 on, BATCH with a request
 * write OUTSTANDING MILLISECONDS KEYS SIZE [FILE]  over all servers; FILE gets a line for each: when it ended, how long
 *                                                  it took (nanoseconds of the machine's monotonic clock)
 * read SERVER OUTSTANDING MILLISECONDS KEYS SIZE   of one server
 *
 * So many operations are under way at any moment: each lane starts its next one when the one before has ended.
 * Anything that fails ends the process.
 */
final class Load {
    private final Backend backend;
    private final int servers;
    /** No value is written twice: what changes nothing may be for free. */
    private final AtomicLong values = new AtomicLong(System.nanoTime());

    private Load(Backend backend, int servers) {
        this.backend = backend;
        this.servers = servers;
    }

    public static void main(String[] arguments) throws Exception {
        List<String> servers = List.of(arguments).subList(2, arguments.length);
        int sessions = Integer.parseInt(arguments[1]);
        try (Backend backend = arguments[0].equals("zookeeper")
            ? new ZooKeeperBackend(servers, sessions) : new KafkaBackend(servers, sessions)) {
            Load load = new Load(backend, servers.size());
            BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
            for (String line = commands.readLine(); line != null; line = commands.readLine()) {
                System.out.println(load.answer(line.split(" ")));
            }
        }
    }

    private String answer(String[] words) throws Exception {
        long[] numbers = Arrays.stream(words, 1, words.length).filter(word -> word.matches("\\d+"))
            .mapToLong(Long::parseLong).toArray();
        switch (words[0]) {
            case "create":
                return create(numbers[0], (int) numbers[1], (int) numbers[2]);
            case "write": {
                long keys = numbers[2];
                int size = (int) numbers[3];
                // One lane goes from server to server, more are spread over them.
                Lane.Start start = (lane, number, done) -> backend.write((lane.number + (lane.alone ? number : 0)) % servers,
                    lane.number, lane.key(number, keys), value(size), done);
                return run(start, (int) numbers[0], numbers[1], words.length > 5 ? words[5] : null);
            }
            case "read": {
                long keys = numbers[3];
                int server = (int) numbers[0];
                int size = (int) numbers[4];
                return run((lane, number, done) -> backend.read(server, lane.number, lane.key(number, keys), size, done),
                    (int) numbers[1], numbers[2], null);
            }
            default:
                throw new IllegalArgumentException(String.join(" ", words));
        }
    }

    private String value(int size) {
        String number = Long.toHexString(values.incrementAndGet());
        return number + "x".repeat(size - number.length());
    }

    private String create(long count, int size, int outstanding) throws Exception {
        AtomicLong next = new AtomicLong();
        long began = System.nanoTime();
        Lane.Start start = (lane, number, done) ->
            backend.create(lane.number % servers, lane.number, next.getAndAdd(Backend.BATCH), value(size), done);
        int lanesAtMost = (int) Math.min(outstanding, count / Backend.BATCH);
        Lanes lanes = new Lanes(start, lanesAtMost, () -> next.get() < count);
        lanes.run();
        double seconds = (System.nanoTime() - began) / 1e9;
        return String.format("{\"per_s\": %.3f}", count / seconds);
    }

    private String run(Lane.Start start, int outstanding, long milliseconds, String file) throws Exception {
        long end = System.nanoTime() + milliseconds * 1_000_000;
        Lanes lanes = new Lanes(start, outstanding, () -> System.nanoTime() < end);
        lanes.run();
        if (file != null) {
            try (PrintWriter out = new PrintWriter(file)) {
                lanes.all.forEach(lane -> lane.print(out));
            }
        }
        // What ended later had the machine for itself in part.
        long[] took = lanes.all.stream().flatMapToLong(lane -> lane.took(end)).sorted().toArray();
        if (took.length == 0) {
            throw new IllegalStateException("nothing ended within " + milliseconds + " ms");
        }
        return String.format("{\"per_s\": %.3f, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f, \"count\": %d}",
            took.length * 1e3 / milliseconds, at(took, 0.5), at(took, 0.99), at(took, 1), lanes.count());
    }

    private static double at(long[] sorted, double share) {
        return sorted[(int) Math.min(sorted.length - 1, share * sorted.length)] / 1e6;
    }

    /** All lanes of one run. */
    private static final class Lanes {
        interface Going {
            boolean on();
        }

        final List<Lane> all = new ArrayList<>();
        final Going going;
        final CountDownLatch ended;
        final AtomicReference<Throwable> failure = new AtomicReference<>();

        Lanes(Lane.Start start, int outstanding, Going going) {
            this.going = going;
            ended = new CountDownLatch(outstanding);
            for (int number = 0; number < outstanding; number++) {
                all.add(new Lane(this, start, number, outstanding));
            }
        }

        void run() throws Exception {
            all.forEach(Lane::next);
            ended.await();
            if (failure.get() != null) {
                throw new IllegalStateException(failure.get());
            }
        }

        long count() {
            return all.stream().mapToLong(lane -> lane.count).sum();
        }
    }

    /** One operation after the other. What calls it back may be another thread each time, and never two at once. */
    private static final class Lane {
        private static final long SPREAD = 7919; // a prime
        interface Start {
            void operation(Lane lane, int number, java.util.function.Consumer<Throwable> done);
        }

        final int number;
        final boolean alone;
        private final Lanes lanes;
        private final Start start;
        private final int step;
        private int count;
        private long began;
        /** When each ended, and how long it took. */
        private long[] ends = new long[1024];
        private long[] took = new long[1024];

        Lane(Lanes lanes, Start start, int number, int step) {
            this.lanes = lanes;
            this.start = start;
            this.number = number;
            this.step = step;
            alone = step == 1;
        }

        /** All over the keys, and another in each lane, if there are more keys than lanes. */
        long key(int operation, long keys) {
            return (number + (long) operation * step) * SPREAD % keys;
        }

        void next() {
            began = System.nanoTime();
            start.operation(this, count, this::done);
        }

        private void done(Throwable failure) {
            long now = System.nanoTime();
            if (failure != null) {
                lanes.failure.compareAndSet(null, failure);
                lanes.ended.countDown();
                return;
            }
            if (count == ends.length) {
                ends = Arrays.copyOf(ends, 2 * count);
                took = Arrays.copyOf(took, 2 * count);
            }
            ends[count] = now;
            took[count++] = now - began;
            if (lanes.failure.get() == null && lanes.going.on()) {
                next();
            } else {
                lanes.ended.countDown();
            }
        }

        java.util.stream.LongStream took(long end) {
            return java.util.stream.IntStream.range(0, count).filter(at -> ends[at] <= end).mapToLong(at -> took[at]);
        }

        void print(PrintWriter out) {
            for (int at = 0; at < count; at++) {
                out.println(ends[at] + " " + took[at]);
            }
        }
    }
}
