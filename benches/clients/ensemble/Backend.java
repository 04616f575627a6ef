import java.util.function.Consumer;

/**
 * What keeps small values under keys: an ensemble, seen by a client. Every operation starts at once and ends with one
 * call of `done`, whose argument is null when it went well. Calls come from threads of the backend.
 */
interface Backend extends AutoCloseable {
    /** Values of this many keys come with one request. */
    int BATCH = 1000;

    /** BATCH new keys, from a multiple of BATCH on, all with one value. */
    void create(int server, int lane, long first, String value, Consumer<Throwable> done);

    /** Gives a key that is there a value that it did not have. */
    void write(int server, int lane, long key, String value, Consumer<Throwable> done);

    /** The value is to be as long as it is said to be. */
    void read(int server, int lane, long key, int size, Consumer<Throwable> done);

    @Override
    void close();

    static Throwable wrong(String what) {
        return new IllegalStateException(what);
    }
}
