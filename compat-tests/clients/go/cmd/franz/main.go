// Command franz answers the operations of compat-tests/README.md with franz-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"dohle/compat/driver"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type client struct {
	bootstrap string
	admin     *kadm.Client
	members   map[string]*member
}

// member keeps what the group gave it: kgo rebalances in the background.
type member struct {
	*kgo.Client
	lock     sync.Mutex
	assigned map[driver.Partition]bool
}

func (m *member) mark(given bool) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
		m.lock.Lock()
		defer m.lock.Unlock()
		for topic, partitions := range topics {
			for _, partition := range partitions {
				if given {
					m.assigned[driver.Partition{Topic: topic, Partition: partition}] = true
				} else {
					delete(m.assigned, driver.Partition{Topic: topic, Partition: partition})
				}
			}
		}
	}
}

func main() {
	bootstrap := os.Args[1]
	plain, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		panic(err)
	}
	c := &client{bootstrap: bootstrap, admin: kadm.NewClient(plain), members: map[string]*member{}}
	operations := map[string]driver.Operation{
		"info": c.info, "produce": c.produce, "consume": c.consume, "offset_for_time": c.offsetForTime,
		"member_open": c.memberOpen, "member_poll": c.memberPoll, "member_commit": c.memberCommit, "member_close": c.memberClose,
	}
	c.addAdminOperations(operations)
	driver.Serve(operations)
	for _, m := range c.members {
		m.Close()
	}
}

func within(ms int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Duration(ms)*time.Millisecond)
}

func (c *client) info(driver.Request) (driver.Result, error) {
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == "github.com/twmb/franz-go" {
			return driver.Result{"version": module.Version}, nil
		}
	}
	return nil, fmt.Errorf("franz-go is not in the build")
}

func codec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "", "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("unknown compression %s", name)
}

func (c *client) produce(r driver.Request) (driver.Result, error) {
	compression, err := codec(r.Compression)
	if err != nil {
		return nil, err
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(c.bootstrap),
		kgo.ProducerBatchCompression(compression),
		kgo.ProducerLinger(20 * time.Millisecond),
		kgo.AllowAutoTopicCreation(),
	}
	if !r.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	switch r.Acks {
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	default:
		options = append(options, kgo.RequiredAcks(kgo.AllISRAcks()))
	}
	manual := len(r.Records) > 0 && r.Records[0].Partition != nil
	if manual {
		options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	producer, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	records := make([]*kgo.Record, len(r.Records))
	for i, in := range r.Records {
		record := &kgo.Record{Topic: r.Topic, Key: in.Key, Value: in.Value}
		if in.Partition != nil {
			record.Partition = *in.Partition
		}
		if in.Timestamp != nil {
			record.Timestamp = time.UnixMilli(*in.Timestamp)
		}
		for _, header := range in.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
		records[i] = record
	}
	ctx, cancel := within(40000)
	defer cancel()
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return nil, err
	}
	placed := make([][2]int64, len(records))
	for i, record := range records {
		placed[i] = [2]int64{int64(record.Partition), record.Offset}
	}
	return driver.Result{"placed": placed}, nil
}

func describe(record *kgo.Record) driver.Record {
	timestamp := record.Timestamp.UnixMilli()
	out := driver.Record{
		Partition: &record.Partition, Offset: record.Offset, Timestamp: &timestamp,
		Key: record.Key, Value: record.Value, Headers: []driver.Header{},
	}
	for _, header := range record.Headers {
		out.Headers = append(out.Headers, driver.Header{Name: header.Key, Value: header.Value})
	}
	return out
}

func (c *client) consume(r driver.Request) (driver.Result, error) {
	consumer, err := kgo.NewClient(kgo.SeedBrokers(c.bootstrap), kgo.FetchMaxWait(500*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.Topic: {r.Partition: kgo.NewOffset().At(r.Offset)}}))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	ctx, cancel := within(r.TimeoutMs)
	defer cancel()
	records := []driver.Record{}
	for len(records) < r.Count && ctx.Err() == nil {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err0(); err != nil && ctx.Err() == nil {
			return nil, err
		}
		for _, failed := range fetches.Errors() {
			if ctx.Err() == nil {
				return nil, failed.Err
			}
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if len(records) < r.Count {
				records = append(records, describe(record))
			}
		})
	}
	return driver.Result{"records": records}, nil
}

func (c *client) offsetForTime(r driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	listed, err := c.admin.ListOffsetsAfterMilli(ctx, r.Timestamp, r.Topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, err
	}
	found, _ := listed.Lookup(r.Topic, r.Partition)
	// kadm answers the end of the partition, without a timestamp, where no record is that late.
	if found.Timestamp < 0 {
		return driver.Result{"offset": nil}, nil
	}
	return driver.Result{"offset": found.Offset}, nil
}

func (c *client) memberOpen(r driver.Request) (driver.Result, error) {
	m := &member{assigned: map[driver.Partition]bool{}}
	options := []kgo.Opt{
		kgo.OnPartitionsAssigned(m.mark(true)), kgo.OnPartitionsRevoked(m.mark(false)), kgo.OnPartitionsLost(m.mark(false)),
		kgo.SeedBrokers(c.bootstrap), kgo.ConsumerGroup(r.Group), kgo.ConsumeTopics(r.Topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(10 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.FetchMaxWait(500 * time.Millisecond),
	}
	if r.InstanceID != "" {
		options = append(options, kgo.InstanceID(r.InstanceID))
	}
	consumer, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	m.Client = consumer
	c.members[r.Member] = m
	return nil, nil
}

func (c *client) memberPoll(r driver.Request) (driver.Result, error) {
	m := c.members[r.Member]
	ctx, cancel := within(r.TimeoutMs)
	defer cancel()
	fetches := m.PollFetches(ctx)
	records := []driver.Record{}
	fetches.EachRecord(func(record *kgo.Record) { records = append(records, describe(record)) })
	for _, failed := range fetches.Errors() {
		if ctx.Err() == nil {
			return nil, failed.Err
		}
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	assignment := []driver.Partition{}
	for partition := range m.assigned {
		assignment = append(assignment, partition)
	}
	return driver.Result{"records": records, "assignment": assignment}, nil
}

func (c *client) memberCommit(r driver.Request) (driver.Result, error) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for _, offset := range r.Offsets {
		if offsets[offset.Topic] == nil {
			offsets[offset.Topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[offset.Topic][offset.Partition] = kgo.EpochOffset{Epoch: -1, Offset: offset.Offset}
	}
	ctx, cancel := within(20000)
	defer cancel()
	var failed error
	c.members[r.Member].CommitOffsetsSync(ctx, offsets,
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			if failed = err; err != nil {
				return
			}
			for _, topic := range response.Topics {
				for _, partition := range topic.Partitions {
					failed = errors.Join(failed, kerr.ErrorForCode(partition.ErrorCode))
				}
			}
		})
	return nil, failed
}

func (c *client) memberClose(r driver.Request) (driver.Result, error) {
	c.members[r.Member].Close()
	delete(c.members, r.Member)
	return nil, nil
}
