package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// spread keeps many partitions busy at once, acks=all. First at a steady rate, one partition after the other: a sample is
// the time from handing a record to the producer until it is acknowledged. Then as fast as it goes.
func spread(ctx context.Context, args []string) (figures, error) {
	set, bootstrap, topic := flags("spread")
	partitions := set.Int("partitions", 1_000, "partitions of the topic")
	rate := set.Int("rate", 10_000, "records a second")
	records := set.Int("records", 50_000, "records to measure at that rate")
	most := set.Int("most", 200_000, "records as fast as it goes")
	size := set.Int("size", 1024, "bytes a record")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	// As in `paced`: lingering would be all that one sees. Compression would be most of the client's work.
	client, err := connect(*bootstrap, kgo.DefaultProduceTopic(*topic), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(20_000))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	value := payload(*size)
	var acked sync.WaitGroup
	send := func(i int, done func()) {
		acked.Add(1)
		record := &kgo.Record{Value: value, Partition: int32(i % *partitions)}
		client.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(err)
			}
			done()
			acked.Done()
		})
	}
	// Every partition has had a record before anything counts.
	for i := range 2 * *partitions {
		send(i, func() {})
	}
	acked.Wait()

	samples := make([]time.Duration, *records)
	first, period := time.Now(), time.Second/time.Duration(*rate)
	for i := range *records {
		time.Sleep(time.Until(first.Add(time.Duration(i) * period)))
		started := time.Now()
		send(i, func() { samples[i] = time.Since(started) })
	}
	acked.Wait()

	var count atomic.Int64
	started := time.Now()
	for i := range *most {
		send(i, func() { count.Add(1) })
	}
	acked.Wait()
	seconds := time.Since(started).Seconds()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	result := latencies(samples)
	result["mb_per_s"] = float64(count.Load()) * float64(*size) / 1e6 / seconds
	return result, nil
}
