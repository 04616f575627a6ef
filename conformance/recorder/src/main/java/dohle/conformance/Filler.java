package dohle.conformance;

import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;

/** Sets every field that a message has in a version, as the message's own schema lists them. */
final class Filler {
    enum Variant {
        /** Every field, two elements in each array. */
        FULL,
        /** Null wherever null may be, one element in each array. */
        NULLS,
        /** What a new message holds. */
        DEFAULTS,
        /** The full message, and tagged fields nobody knows in each struct. */
        UNKNOWN_TAGS
    }

    private final Variant variant;
    private final short version;
    private int next = 1;

    Filler(Variant variant, short version) {
        this.variant = variant;
        this.version = version;
    }

    void fill(Message message) {
        if (variant == Variant.DEFAULTS) {
            return;
        }
        try {
            Schema[] schemas = (Schema[]) message.getClass().getField("SCHEMAS").get(null);
            for (BoundField bound : schemas[version].fields()) {
                if (bound.def.type instanceof TaggedFields tagged) {
                    for (org.apache.kafka.common.protocol.types.Field field : tagged.fields().values()) {
                        set(message, field.name, field.type);
                    }
                    if (variant == Variant.UNKNOWN_TAGS) {
                        message.unknownTaggedFields().add(new RawTaggedField(900 + next, new byte[] {1, 2, (byte) next++}));
                        message.unknownTaggedFields().add(new RawTaggedField(100_000, new byte[0]));
                    }
                } else {
                    set(message, bound.def.name, bound.def.type);
                }
            }
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(message.getClass() + " version " + version, error);
        }
    }

    private void set(Message message, String name, Type type) throws ReflectiveOperationException {
        Field field = field(message.getClass(), name);
        field.setAccessible(true);
        if (variant == Variant.NULLS && type.isNullable()) {
            field.set(message, null);
        } else {
            field.set(message, value(field.getType(), field.getGenericType(), type));
        }
    }

    /** The schema writes snake_case, the class camelCase. */
    private static Field field(Class<?> owner, String name) throws NoSuchFieldException {
        String wanted = name.replace("_", "");
        for (Field field : owner.getDeclaredFields()) {
            if (field.getName().equalsIgnoreCase(wanted)) {
                return field;
            }
        }
        throw new NoSuchFieldException(owner + "." + name);
    }

    private Object value(Class<?> type, java.lang.reflect.Type generic, Type schema) throws ReflectiveOperationException {
        int number = next++;
        if (type == boolean.class || type == Boolean.class) {
            return true;
        } else if (type == byte.class || type == Byte.class) {
            return (byte) number;
        } else if (type == short.class || type == Short.class) {
            return (short) (number * 0x0101);
        } else if (type == int.class || type == Integer.class) {
            // An unsigned 16-bit field is an int in Java.
            return schema == Type.UINT16 ? 0xff00 | number & 0xff : number * 0x01010101;
        } else if (type == long.class || type == Long.class) {
            return number * 0x0101010101010101L;
        } else if (type == double.class) {
            return number + 0.5;
        } else if (type == String.class) {
            return "stra\u00dfe-" + number;
        } else if (type == Uuid.class) {
            return new Uuid(number * 0x0101010101010101L, number);
        } else if (type == byte[].class) {
            return ("bytes-" + number).getBytes(StandardCharsets.UTF_8);
        } else if (type == ByteBuffer.class) {
            return ByteBuffer.wrap(("buffer-" + number).getBytes(StandardCharsets.UTF_8));
        } else if (BaseRecords.class.isAssignableFrom(type)) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(Recorder.batch(CompressionType.NONE, "plain")));
        } else if (Collection.class.isAssignableFrom(type)) {
            return collection(type, generic, schema);
        } else if (Message.class.isAssignableFrom(type)) {
            return struct(type);
        }
        throw new IllegalStateException("no value for " + type);
    }

    private Message struct(Class<?> type) throws ReflectiveOperationException {
        Constructor<?> constructor = type.getDeclaredConstructor();
        constructor.setAccessible(true);
        Message message = (Message) constructor.newInstance();
        fill(message);
        return message;
    }

    private Object collection(Class<?> type, java.lang.reflect.Type generic, Type schema) throws ReflectiveOperationException {
        Class<?> element;
        Collection<Object> collection;
        if (type == List.class) {
            java.lang.reflect.Type argument = ((ParameterizedType) generic).getActualTypeArguments()[0];
            element = (Class<?>) (argument instanceof ParameterizedType inner ? inner.getRawType() : argument);
            collection = new ArrayList<>();
        } else {
            // Kafka's linked hash collections, one class for each element class.
            element = (Class<?>) ((ParameterizedType) type.getGenericSuperclass()).getActualTypeArguments()[0];
            collection = untyped(type.getDeclaredConstructor().newInstance());
        }
        Type elementSchema = schema.arrayElementType().orElse(null);
        int count = variant == Variant.NULLS ? 1 : 2;
        for (int index = 0; index < count; index++) {
            collection.add(value(element, element, elementSchema));
        }
        return collection;
    }

    @SuppressWarnings("unchecked")
    private static Collection<Object> untyped(Object collection) {
        return (Collection<Object>) collection;
    }
}
