package main

import (
	"errors"
	"fmt"

	"dohle/compat/driver"

	"github.com/twmb/franz-go/pkg/kadm"
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
	ctx, cancel := within(20000)
	defer cancel()
	configs := map[string]*string{}
	for name, value := range r.Configs {
		configs[name] = kadm.StringPtr(value)
	}
	_, err := c.admin.CreateTopic(ctx, r.Partitions, 1, configs, r.Topic)
	return nil, err
}

func (c *client) deleteTopic(r driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	_, err := c.admin.DeleteTopic(ctx, r.Topic)
	return nil, err
}

func (c *client) listTopics(driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	topics, err := c.admin.ListTopicsWithInternal(ctx)
	return driver.Result{"topics": topics.Names()}, err
}

func (c *client) describeTopic(r driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	topics, err := c.admin.ListTopicsWithInternal(ctx, r.Topic)
	if err != nil {
		return nil, err
	}
	topic := topics[r.Topic]
	return driver.Result{"partitions": len(topic.Partitions)}, topic.Err
}

func (c *client) createPartitions(r driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	responses, err := c.admin.UpdatePartitions(ctx, int(r.Total), r.Topic)
	return nil, errors.Join(err, responses.Error())
}

func (c *client) describeConfigs(r driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	resources, err := c.admin.DescribeTopicConfigs(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	configs := map[string]any{}
	for _, resource := range resources {
		if resource.Err != nil {
			return nil, resource.Err
		}
		for _, config := range resource.Configs {
			configs[config.Key] = driver.Result{"value": config.Value, "source": config.Source.String()}
		}
	}
	return driver.Result{"configs": configs}, nil
}

func (c *client) alterConfigs(r driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	operations := map[string]kadm.IncrementalOp{
		"set": kadm.SetConfig, "delete": kadm.DeleteConfig, "append": kadm.AppendConfig, "subtract": kadm.SubtractConfig,
	}
	changes := []kadm.AlterConfig{}
	for _, change := range r.Changes {
		alter := kadm.AlterConfig{Name: change[0], Op: operations[change[1]]}
		if len(change) > 2 {
			alter.Value = kadm.StringPtr(change[2])
		}
		changes = append(changes, alter)
	}
	responses, err := c.admin.AlterTopicConfigs(ctx, changes, r.Name)
	for _, response := range responses {
		err = errors.Join(err, response.Err)
	}
	return nil, err
}

func (c *client) deleteRecords(r driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	offsets := kadm.Offsets{}
	offsets.AddOffset(r.Topic, r.Partition, r.Before, -1)
	responses, err := c.admin.DeleteRecords(ctx, offsets)
	if err := errors.Join(err, responses.Error()); err != nil {
		return nil, err
	}
	response, _ := responses.Lookup(r.Topic, r.Partition)
	return driver.Result{"low_watermark": response.LowWatermark}, nil
}

func (c *client) listOffset(r driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	var listed kadm.ListedOffsets
	var err error
	switch r.Spec {
	case "earliest":
		listed, err = c.admin.ListStartOffsets(ctx, r.Topic)
	case "latest":
		listed, err = c.admin.ListEndOffsets(ctx, r.Topic)
	case "max_timestamp":
		listed, err = c.admin.ListMaxTimestampOffsets(ctx, r.Topic)
	case "timestamp":
		listed, err = c.admin.ListOffsetsAfterMilli(ctx, r.Timestamp, r.Topic)
	default:
		err = fmt.Errorf("unknown offset %s", r.Spec)
	}
	if err := errors.Join(err, listed.Error()); err != nil {
		return nil, err
	}
	found, _ := listed.Lookup(r.Topic, r.Partition)
	return driver.Result{"offset": found.Offset, "timestamp": found.Timestamp}, nil
}

func (c *client) listGroups(driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	listed, err := c.admin.ListGroups(ctx)
	groups := []driver.Result{}
	for _, group := range listed {
		groups = append(groups, driver.Result{"group": group.Group, "state": group.State, "protocol": group.ProtocolType})
	}
	return driver.Result{"groups": groups}, err
}

func (c *client) describeGroup(r driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	groups, err := c.admin.DescribeGroups(ctx, r.Group)
	if err := errors.Join(err, groups.Error()); err != nil {
		return nil, err
	}
	group := groups[r.Group]
	members := []driver.Result{}
	for _, m := range group.Members {
		assignment := []driver.Partition{}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, topic := range assigned.Topics {
				for _, partition := range topic.Partitions {
					assignment = append(assignment, driver.Partition{Topic: topic.Topic, Partition: partition})
				}
			}
		}
		members = append(members, driver.Result{"member_id": m.MemberID, "client_id": m.ClientID, "assignment": assignment})
	}
	return driver.Result{"state": group.State, "assignor": group.Protocol, "members": members}, nil
}

func (c *client) deleteGroup(r driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	_, err := c.admin.DeleteGroup(ctx, r.Group)
	return nil, err
}

func (c *client) committed(r driver.Request) (driver.Result, error) {
	ctx, cancel := within(20000)
	defer cancel()
	fetched, err := c.admin.FetchOffsets(ctx, r.Group)
	offsets := []driver.Offset{}
	fetched.Each(func(offset kadm.OffsetResponse) {
		err = errors.Join(err, offset.Err)
		offsets = append(offsets, driver.Offset{Topic: offset.Topic, Partition: offset.Partition, Offset: offset.At})
	})
	return driver.Result{"offsets": offsets}, err
}
