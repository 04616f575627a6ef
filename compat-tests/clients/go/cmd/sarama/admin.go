package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"dohle/compat/driver"

	"github.com/IBM/sarama"
)

func (c *client) addAdminOperations(operations map[string]driver.Operation) {
	operations["create_topic"] = c.createTopic
	operations["delete_topic"] = c.deleteTopic
	operations["list_topics"] = c.listTopics
	operations["describe_topic"] = c.describeTopic
	operations["create_partitions"] = c.createPartitions
	operations["describe_configs"] = c.describeConfigs
	operations["alter_configs"] = c.alterConfigs
	operations["delete_records"] = c.deleteRecords
	operations["list_offset"] = c.listOffset
	operations["list_groups"] = c.listGroups
	operations["describe_group"] = c.describeGroup
	operations["delete_group"] = c.deleteGroup
	operations["committed"] = c.committed
}

func (c *client) createTopic(r driver.Request) (driver.Result, error) {
	configs := map[string]*string{}
	for name, value := range r.Configs {
		configs[name] = &value
	}
	detail := &sarama.TopicDetail{NumPartitions: r.Partitions, ReplicationFactor: 1, ConfigEntries: configs}
	return nil, c.admin.CreateTopic(r.Topic, detail, false)
}

func (c *client) deleteTopic(r driver.Request) (driver.Result, error) {
	return nil, c.admin.DeleteTopic(r.Topic)
}

func (c *client) listTopics(driver.Request) (driver.Result, error) {
	topics, err := c.admin.ListTopics()
	return driver.Result{"topics": slices.Collect(maps.Keys(topics))}, err
}

func (c *client) describeTopic(r driver.Request) (driver.Result, error) {
	topics, err := c.admin.DescribeTopics([]string{r.Topic})
	if err != nil {
		return nil, err
	}
	if topics[0].Err != sarama.ErrNoError {
		return nil, topics[0].Err
	}
	return driver.Result{"partitions": len(topics[0].Partitions)}, nil
}

func (c *client) createPartitions(r driver.Request) (driver.Result, error) {
	return nil, c.admin.CreatePartitions(r.Topic, r.Total, nil, false)
}

func resourceType(r driver.Request) (sarama.ConfigResourceType, error) {
	switch r.Type {
	case "topic":
		return sarama.TopicResource, nil
	case "broker":
		return sarama.BrokerResource, nil
	}
	return 0, fmt.Errorf("unknown resource %s", r.Type)
}

func (c *client) describeConfigs(r driver.Request) (driver.Result, error) {
	kind, err := resourceType(r)
	if err != nil {
		return nil, err
	}
	entries, err := c.admin.DescribeConfig(sarama.ConfigResource{Type: kind, Name: r.Name})
	configs := map[string]any{}
	for _, entry := range entries {
		configs[entry.Name] = driver.Result{"value": entry.Value, "source": entry.Source.String()}
	}
	return driver.Result{"configs": configs}, err
}

func (c *client) alterConfigs(r driver.Request) (driver.Result, error) {
	kind, err := resourceType(r)
	if err != nil {
		return nil, err
	}
	operations := map[string]sarama.IncrementalAlterConfigsOperation{
		"set": sarama.IncrementalAlterConfigsOperationSet, "delete": sarama.IncrementalAlterConfigsOperationDelete,
		"append": sarama.IncrementalAlterConfigsOperationAppend, "subtract": sarama.IncrementalAlterConfigsOperationSubtract,
	}
	entries := map[string]sarama.IncrementalAlterConfigsEntry{}
	for _, change := range r.Changes {
		entry := sarama.IncrementalAlterConfigsEntry{Operation: operations[change[1]]}
		if len(change) > 2 {
			entry.Value = &change[2]
		}
		entries[change[0]] = entry
	}
	return nil, c.admin.IncrementalAlterConfig(kind, r.Name, entries, false)
}

func (c *client) deleteRecords(r driver.Request) (driver.Result, error) {
	// sarama keeps the low watermark to itself: what the partition now begins with is asked for.
	if err := c.admin.DeleteRecords(r.Topic, map[int32]int64{r.Partition: r.Before}); err != nil {
		return nil, err
	}
	low, err := c.client.GetOffset(r.Topic, r.Partition, sarama.OffsetOldest)
	return driver.Result{"low_watermark": low}, err
}

func (c *client) listOffset(r driver.Request) (driver.Result, error) {
	specs := map[string]int64{
		"earliest": sarama.OffsetOldest, "latest": sarama.OffsetNewest, "timestamp": r.Timestamp,
	}
	spec, known := specs[r.Spec]
	if !known {
		return nil, fmt.Errorf("unknown offset %s", r.Spec)
	}
	listed, err := c.admin.ListOffsets(map[string]map[int32]int64{r.Topic: {r.Partition: spec}}, nil)
	if err != nil {
		return nil, err
	}
	found := listed[r.Topic][r.Partition]
	if !errors.Is(found.Err, sarama.ErrNoError) {
		return nil, found.Err
	}
	return driver.Result{"offset": found.Offset, "timestamp": found.Timestamp}, nil
}

func (c *client) listGroups(driver.Request) (driver.Result, error) {
	listed, err := c.admin.ListConsumerGroups()
	groups := []driver.Result{}
	for group, protocol := range listed {
		groups = append(groups, driver.Result{"group": group, "protocol": protocol})
	}
	return driver.Result{"groups": groups}, err
}

func (c *client) describeGroup(r driver.Request) (driver.Result, error) {
	described, err := c.admin.DescribeConsumerGroups([]string{r.Group})
	if err != nil {
		return nil, err
	}
	group := described[0]
	if group.Err != sarama.ErrNoError {
		return nil, group.Err
	}
	members := []driver.Result{}
	for _, m := range group.Members {
		assignment := []driver.Partition{}
		assigned, err := m.GetMemberAssignment()
		if err != nil {
			return nil, err
		}
		if assigned != nil {
			for topic, partitions := range assigned.Topics {
				for _, partition := range partitions {
					assignment = append(assignment, driver.Partition{Topic: topic, Partition: partition})
				}
			}
		}
		members = append(members, driver.Result{"member_id": m.MemberId, "client_id": m.ClientId, "assignment": assignment})
	}
	return driver.Result{"state": group.State, "assignor": group.Protocol, "members": members}, nil
}

func (c *client) deleteGroup(r driver.Request) (driver.Result, error) {
	return nil, c.admin.DeleteConsumerGroup(r.Group)
}

func (c *client) committed(r driver.Request) (driver.Result, error) {
	response, err := c.admin.ListConsumerGroupOffsets(r.Group, nil)
	if err != nil {
		return nil, err
	}
	if response.Err != sarama.ErrNoError {
		return nil, response.Err
	}
	offsets := []driver.Offset{}
	for topic, partitions := range response.Blocks {
		for partition, block := range partitions {
			offsets = append(offsets, driver.Offset{Topic: topic, Partition: partition, Offset: block.Offset})
		}
	}
	return driver.Result{"offsets": offsets}, nil
}
