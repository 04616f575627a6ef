import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;

/** Apache ZooKeeper by its own client's asynchronous calls: setData, getData, and multi for many at once. */
final class ZooKeeperBackend implements Backend {
    private static final int SESSION_TIMEOUT_MS = 30_000;

    private final ZooKeeper[][] sessions;

    ZooKeeperBackend(List<String> servers, int sessionsEach) throws Exception {
        sessions = new ZooKeeper[servers.size()][sessionsEach];
        for (int server = 0; server < sessions.length; server++) {
            for (int number = 0; number < sessionsEach; number++) {
                sessions[server][number] = connect(servers.get(server));
            }
        }
        // Which of the servers is asked does not matter; who comes second finds it there.
        CountDownLatch made = new CountDownLatch(1);
        sessions[0][0].create("/k", new byte[0], Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT,
            (code, path, context, name) -> made.countDown(), null);
        made.await();
    }

    private static ZooKeeper connect(String server) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper session = new ZooKeeper(server, SESSION_TIMEOUT_MS, event -> {
            if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            }
        });
        if (!connected.await(30, TimeUnit.SECONDS)) {
            throw new IllegalStateException("no session with " + server);
        }
        return session;
    }

    private static String parent(long key) {
        return "/k/" + key / BATCH;
    }

    private static String path(long key) {
        return parent(key) + "/" + key;
    }

    private ZooKeeper session(int server, int lane) {
        ZooKeeper[] own = sessions[server];
        return own[lane % own.length];
    }

    /** Latin-1: a character is a byte. */
    private static byte[] bytes(String value) {
        return value.getBytes(java.nio.charset.StandardCharsets.ISO_8859_1);
    }

    private static Throwable failure(int code) {
        return code == Code.OK.intValue() ? null : Backend.wrong("ZooKeeper answered " + Code.get(code));
    }

    @Override
    public void create(int server, int lane, long first, String value, Consumer<Throwable> done) {
        List<Op> ops = new ArrayList<>(BATCH + 1);
        ops.add(Op.create(parent(first), new byte[0], Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        for (long key = first; key < first + BATCH; key++) {
            ops.add(Op.create(path(key), bytes(value), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        }
        session(server, lane).multi(ops, (code, path, context, results) -> done.accept(failure(code)), null);
    }

    @Override
    public void write(int server, int lane, long key, String value, Consumer<Throwable> done) {
        session(server, lane).setData(path(key), bytes(value), -1,
            (code, path, context, stat) -> done.accept(failure(code)), null);
    }

    @Override
    public void read(int server, int lane, long key, int size, Consumer<Throwable> done) {
        session(server, lane).getData(path(key), false, (code, path, context, data, stat) -> {
            Throwable failure = failure(code);
            if (failure == null && data.length != size) {
                failure = Backend.wrong(path + " has " + data.length + " bytes, not " + size);
            }
            done.accept(failure);
        }, null);
    }

    @Override
    public void close() {
        for (ZooKeeper[] own : sessions) {
            for (ZooKeeper session : own) {
                try {
                    session.close();
                } catch (InterruptedException stop) {
                    return;
                }
            }
        }
    }
}
