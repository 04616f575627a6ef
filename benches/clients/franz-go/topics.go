package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// create makes one topic and returns once its leaders answer.
func create(ctx context.Context, args []string) (figures, error) {
	set, bootstrap, topic := flags("create")
	partitions := set.Int("partitions", 1, "partitions")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	return createAndWait(ctx, *bootstrap, []string{*topic}, int32(*partitions))
}

// leaders makes many topics in one request and returns once every partition's leader is known and answers for it.
func leaders(ctx context.Context, args []string) (figures, error) {
	set, bootstrap, prefix := flags("leaders")
	topics := set.Int("topics", 200, "topics")
	partitions := set.Int("partitions", 10, "partitions a topic")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	names := make([]string, *topics)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", *prefix, i)
	}
	return createAndWait(ctx, *bootstrap, names, int32(*partitions))
}

// createAndWait reports when, counted from the request, the topics were `created` (its reply came), every leader was
// `known` (Metadata names one without an error for each partition) and every leader `answered` (ListOffsets did).
func createAndWait(ctx context.Context, bootstrap string, names []string, partitions int32) (figures, error) {
	client, err := connect(bootstrap, kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if err := client.Ping(ctx); err != nil {
		return nil, err
	}

	started := time.Now()
	replies, err := admin.CreateTopics(ctx, partitions, 1, nil, names...)
	if err != nil {
		return nil, err
	}
	if err := replies.Error(); err != nil {
		return nil, err
	}
	created := time.Since(started)

	wanted := len(names) * int(partitions)
	known, err := waitFor(ctx, started, func() bool {
		topics, err := admin.ListTopics(ctx, names...)
		if err != nil {
			return false
		}
		count := 0
		topics.EachPartition(func(partition kadm.PartitionDetail) {
			if partition.Err == nil && partition.Leader >= 0 {
				count++
			}
		})
		return count == wanted
	})
	if err != nil {
		return nil, err
	}
	answered, err := waitFor(ctx, started, func() bool {
		offsets, err := admin.ListEndOffsets(ctx, names...)
		if err != nil {
			return false
		}
		count := 0
		offsets.Each(func(offset kadm.ListedOffset) {
			if offset.Err == nil && offset.Offset == 0 {
				count++
			}
		})
		return count == wanted
	})
	if err != nil {
		return nil, err
	}
	return figures{"created_s": created.Seconds(), "known_s": known.Seconds(), "answered_s": answered.Seconds()}, nil
}

// waitFor polls until the condition holds and returns the time since started.
func waitFor(ctx context.Context, started time.Time, holds func() bool) (time.Duration, error) {
	for !holds() {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	return time.Since(started), nil
}
