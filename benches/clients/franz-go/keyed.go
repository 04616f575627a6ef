package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// keyed makes a topic of one partition that is not compacted yet and fills it: every record has one of `-keys` keys,
// drawn by a generator with a fixed seed, so that every broker gets the same log.
func keyed(ctx context.Context, args []string) (figures, error) {
	set, bootstrap, topic := flags("keyed")
	records := set.Int("records", 1_000_000, "records")
	keys := set.Int("keys", 100_000, "different keys")
	size := set.Int("size", 1024, "bytes a value")
	segment := set.Int("segment-bytes", 64<<20, "segment.bytes of the topic")
	codec := set.String("compression", "none", "none or lz4")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	compression := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "lz4": kgo.Lz4Compression()}
	chosen, ok := compression[*codec]
	if !ok {
		return nil, fmt.Errorf("no compression %q", *codec)
	}
	client, err := connect(*bootstrap, kgo.DefaultProduceTopic(*topic), kgo.MaxBufferedRecords(20_000),
		kgo.ProducerBatchCompression(chosen))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	bytes := strconv.Itoa(*segment)
	configs := map[string]*string{"cleanup.policy": kadm.StringPtr("delete"), "segment.bytes": &bytes}
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, configs, *topic); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	source := rand.New(rand.NewPCG(1, 2))
	noise := rand.NewChaCha8([32]byte{7})
	for range *records {
		// Half of it compresses, as much of what people write does.
		value := make([]byte, *size)
		_, _ = noise.Read(value[:*size/2])
		key := binary.BigEndian.AppendUint64(nil, source.Uint64N(uint64(*keys)))
		client.Produce(ctx, &kgo.Record{Key: key, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return nil, err
	}
	return figures{"records": float64(*records)}, context.Cause(ctx)
}

// compact makes a topic compacted, and every dirty byte of it worth a cleaning.
func compact(ctx context.Context, args []string) (figures, error) {
	set, bootstrap, topic := flags("compact")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	client, err := connect(*bootstrap)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	changes := []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "cleanup.policy", Value: kadm.StringPtr("compact")},
		{Op: kadm.SetConfig, Name: "min.cleanable.dirty.ratio", Value: kadm.StringPtr("0.01")},
	}
	replies, err := kadm.NewClient(client).AlterTopicConfigs(ctx, changes, *topic)
	if err != nil {
		return nil, err
	}
	for _, reply := range replies {
		if reply.Err != nil {
			return nil, reply.Err
		}
	}
	return figures{}, nil
}
