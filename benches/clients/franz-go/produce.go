package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// payload is incompressible, as a record that a client compresses (franz-go: snappy) would otherwise vanish.
func payload(size int) []byte {
	source := rand.NewChaCha8([32]byte{7})
	bytes := make([]byte, size)
	_, _ = source.Read(bytes)
	return bytes
}

// produceSync sends one record at a time and waits for its acknowledgement before the next.
func produceSync(ctx context.Context, args []string) (figures, error) {
	set, bootstrap, topic := flags("sync")
	records := set.Int("records", 10_000, "records to measure")
	warmUp := set.Int("warm-up", 2_000, "records before them")
	size := set.Int("size", 1024, "bytes a record")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	client, err := connect(*bootstrap, kgo.DefaultProduceTopic(*topic))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	value := payload(*size)
	samples := make([]time.Duration, 0, *records)
	for i := range *warmUp + *records {
		started := time.Now()
		if err := client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err != nil {
			return nil, err
		}
		if i >= *warmUp {
			samples = append(samples, time.Since(started))
		}
	}
	return latencies(samples), nil
}

// paced produces at a steady rate while a consumer in the same process (one clock) reads the topic's end; a sample is
// the time from handing a record to the producer until the consumer hands it out.
func paced(ctx context.Context, args []string) (figures, error) {
	set, bootstrap, topic := flags("paced")
	rate := set.Int("rate", 1_000, "records a second")
	warmUp := set.Int("warm-up", 2_000, "records before those measured")
	records := set.Int("records", 10_000, "records to measure")
	size := set.Int("size", 1024, "bytes a record")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	// The default of lingering for 10 ms would be all that one sees.
	producer, err := connect(*bootstrap, kgo.DefaultProduceTopic(*topic), kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	consumer, err := connect(*bootstrap, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		*topic: {0: kgo.NewOffset().AtStart()},
	}))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	epoch := time.Now()
	total := *warmUp + *records
	go func() {
		period := time.Second / time.Duration(*rate)
		first := time.Now()
		body := payload(*size)
		for i := range total {
			time.Sleep(time.Until(first.Add(time.Duration(i) * period)))
			value := append([]byte(nil), body...)
			binary.BigEndian.PutUint64(value, uint64(time.Since(epoch)))
			producer.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					cancel(err)
				}
			})
		}
	}()

	samples := make([]time.Duration, 0, *records)
	for seen := 0; seen < total; {
		fetches := consumer.PollFetches(ctx)
		now := time.Since(epoch)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%d of %d records seen: %w", seen, total, context.Cause(ctx))
		}
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if seen >= *warmUp {
				samples = append(samples, now-time.Duration(binary.BigEndian.Uint64(record.Value)))
			}
			seen++
		})
	}
	return latencies(samples), nil
}
