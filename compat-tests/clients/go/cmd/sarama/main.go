// Command sarama answers the operations of compat-tests/README.md with IBM/sarama.
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

	"github.com/IBM/sarama"
)

type client struct {
	bootstrap []string
	client    sarama.Client
	admin     sarama.ClusterAdmin
	members   map[string]*member
}

func main() {
	bootstrap := os.Args[1:2]
	connection, err := sarama.NewClient(bootstrap, config())
	if err != nil {
		panic(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(connection)
	if err != nil {
		panic(err)
	}
	c := &client{bootstrap: bootstrap, client: connection, admin: admin, members: map[string]*member{}}
	operations := map[string]driver.Operation{
		"info": c.info, "produce": c.produce, "consume": c.consume, "offset_for_time": c.offsetForTime,
		"member_open": c.memberOpen, "member_poll": c.memberPoll, "member_commit": c.memberCommit, "member_close": c.memberClose,
	}
	c.addAdminOperations(operations)
	driver.Serve(operations)
	for _, m := range c.members {
		_ = m.close()
	}
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	// The newest protocol it speaks: its default is 2.8's.
	config.Version = sarama.MaxVersion
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	return config
}

func (c *client) info(driver.Request) (driver.Result, error) {
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == "github.com/IBM/sarama" {
			return driver.Result{"version": module.Version}, nil
		}
	}
	return nil, errors.New("sarama is not in the build")
}

func producerConfig(r driver.Request) (*sarama.Config, error) {
	config := config()
	codecs := map[string]sarama.CompressionCodec{
		"": sarama.CompressionNone, "none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}
	codec, known := codecs[r.Compression]
	if !known {
		return nil, fmt.Errorf("unknown compression %s", r.Compression)
	}
	config.Producer.Compression = codec
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Producer.RequiredAcks = sarama.WaitForAll
	switch r.Acks {
	case "0":
		config.Producer.RequiredAcks = sarama.NoResponse
	case "1":
		config.Producer.RequiredAcks = sarama.WaitForLocal
	}
	if r.Idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	if len(r.Records) > 0 && r.Records[0].Partition != nil {
		config.Producer.Partitioner = sarama.NewManualPartitioner
	}
	return config, nil
}

func encoder(bytes []byte) sarama.Encoder {
	if bytes == nil {
		return nil
	}
	return sarama.ByteEncoder(bytes)
}

func (c *client) produce(r driver.Request) (driver.Result, error) {
	config, err := producerConfig(r)
	if err != nil {
		return nil, err
	}
	producer, err := sarama.NewSyncProducer(c.bootstrap, config)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	messages := make([]*sarama.ProducerMessage, len(r.Records))
	for i, record := range r.Records {
		message := &sarama.ProducerMessage{Topic: r.Topic, Key: encoder(record.Key), Value: encoder(record.Value)}
		if record.Partition != nil {
			message.Partition = *record.Partition
		}
		if record.Timestamp != nil {
			message.Timestamp = time.UnixMilli(*record.Timestamp)
		}
		for _, header := range record.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
		}
		messages[i] = message
	}
	if err := producer.SendMessages(messages); err != nil {
		var failed sarama.ProducerErrors
		if errors.As(err, &failed) {
			return nil, failed[0].Err
		}
		return nil, err
	}
	placed := make([][2]int64, len(messages))
	for i, message := range messages {
		placed[i] = [2]int64{int64(message.Partition), message.Offset}
	}
	return driver.Result{"placed": placed}, nil
}

func describe(message *sarama.ConsumerMessage) driver.Record {
	timestamp := message.Timestamp.UnixMilli()
	out := driver.Record{
		Partition: &message.Partition, Offset: message.Offset, Timestamp: &timestamp,
		Key: message.Key, Value: message.Value, Headers: []driver.Header{},
	}
	for _, header := range message.Headers {
		out.Headers = append(out.Headers, driver.Header{Name: string(header.Key), Value: header.Value})
	}
	return out
}

func (c *client) consume(r driver.Request) (driver.Result, error) {
	consumer, err := sarama.NewConsumer(c.bootstrap, config())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(r.Topic, r.Partition, r.Offset)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	deadline := time.After(time.Duration(r.TimeoutMs) * time.Millisecond)
	records := []driver.Record{}
	for len(records) < r.Count {
		select {
		case message := <-partition.Messages():
			records = append(records, describe(message))
		case failed := <-partition.Errors():
			return nil, failed
		case <-deadline:
			return driver.Result{"records": records}, nil
		}
	}
	return driver.Result{"records": records}, nil
}

func (c *client) offsetForTime(r driver.Request) (driver.Result, error) {
	if err := c.client.RefreshMetadata(r.Topic); err != nil {
		return nil, err
	}
	offset, err := c.client.GetOffset(r.Topic, r.Partition, r.Timestamp)
	if err != nil {
		return nil, err
	}
	if offset < 0 {
		return driver.Result{"offset": nil}, nil
	}
	return driver.Result{"offset": offset}, nil
}

// member runs a consumer group session in the background and keeps what it is given until it is polled.
type member struct {
	group   sarama.ConsumerGroup
	stop    context.CancelFunc
	stopped sync.WaitGroup
	arrived chan driver.Record
	lock    sync.Mutex
	session sarama.ConsumerGroupSession
	failed  error
}

func (c *client) memberOpen(r driver.Request) (driver.Result, error) {
	config := config()
	config.Consumer.Group.Session.Timeout = 10 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Consumer.Group.InstanceId = r.InstanceID
	group, err := sarama.NewConsumerGroup(c.bootstrap, r.Group, config)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{group: group, stop: stop, arrived: make(chan driver.Record, 4096)}
	m.stopped.Add(2)
	go func() {
		defer m.stopped.Done()
		for ctx.Err() == nil {
			if err := group.Consume(ctx, r.Topics, m); err != nil {
				m.fail(err)
				return
			}
		}
	}()
	go func() {
		defer m.stopped.Done()
		for err := range group.Errors() {
			m.fail(err)
		}
	}()
	c.members[r.Member] = m
	return nil, nil
}

func (m *member) fail(err error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.failed = errors.Join(m.failed, err)
}

// Setup, Cleanup and ConsumeClaim are sarama's own names for the life of a session.
func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session = session
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session = nil
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			select {
			case m.arrived <- describe(message):
			case <-session.Context().Done():
				return nil
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (c *client) memberPoll(r driver.Request) (driver.Result, error) {
	m := c.members[r.Member]
	records := []driver.Record{}
	select {
	case record := <-m.arrived:
		records = append(records, record)
	case <-time.After(time.Duration(r.TimeoutMs) * time.Millisecond):
	}
	for more := true; more; {
		select {
		case record := <-m.arrived:
			records = append(records, record)
		default:
			more = false
		}
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.failed != nil {
		return nil, m.failed
	}
	assignment := []driver.Partition{}
	if m.session != nil {
		for topic, partitions := range m.session.Claims() {
			for _, partition := range partitions {
				assignment = append(assignment, driver.Partition{Topic: topic, Partition: partition})
			}
		}
	}
	return driver.Result{"records": records, "assignment": assignment}, nil
}

func (c *client) memberCommit(r driver.Request) (driver.Result, error) {
	m := c.members[r.Member]
	m.lock.Lock()
	session := m.session
	m.lock.Unlock()
	if session == nil {
		return nil, errors.New("the member has no session")
	}
	for _, offset := range r.Offsets {
		session.MarkOffset(offset.Topic, offset.Partition, offset.Offset, "")
	}
	session.Commit()
	m.lock.Lock()
	defer m.lock.Unlock()
	return nil, m.failed
}

func (m *member) close() error {
	m.stop()
	err := m.group.Close()
	m.stopped.Wait()
	return err
}

func (c *client) memberClose(r driver.Request) (driver.Result, error) {
	m := c.members[r.Member]
	delete(c.members, r.Member)
	return nil, m.close()
}
