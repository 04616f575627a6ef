"""Answers the operations of compat-tests/README.md with confluent-kafka (librdkafka)."""

import sys
import time

import confluent_kafka
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from serve import decode, encode, serve


def describe(message):
    return {
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "key": encode(message.key()),
        "value": encode(message.value()),
        "headers": [[name, encode(value)] for name, value in message.headers() or []],
    }


def one(futures):
    """The result of the only future of an admin call."""
    (future,) = futures.values()
    return future.result()


class Operations:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.members = {}

    def close(self):
        for member in self.members.values():
            member.close()

    def info(self, _request):
        return {"version": f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})"}

    # ---- records

    def produce(self, request):
        producer = Producer({
            "bootstrap.servers": self.bootstrap,
            "compression.type": request.get("compression", "none"),
            "enable.idempotence": request.get("idempotent", False),
            "acks": request.get("acks", "all"),
            "linger.ms": 20,
            "message.timeout.ms": 30000,
        })
        placed = {}
        failed = []

        def delivered(index):
            def on_delivery(error, message):
                if error is not None:
                    failed.append(error)
                else:
                    placed[index] = [message.partition(), message.offset()]
            return on_delivery

        for index, record in enumerate(request["records"]):
            fields = {}
            if record.get("partition") is not None:
                fields["partition"] = record["partition"]
            if record.get("timestamp") is not None:
                fields["timestamp"] = record["timestamp"]
            producer.produce(
                request["topic"],
                key=decode(record["key"]),
                value=decode(record["value"]),
                headers=[(name, decode(value)) for name, value in record.get("headers", [])],
                on_delivery=delivered(index),
                **fields,
            )
            producer.poll(0)
        producer.flush(40)
        if failed:
            raise failed[0] if isinstance(failed[0], Exception) else RuntimeError(str(failed[0]))
        return {"placed": [placed[index] for index in range(len(request["records"]))]}

    def consumer(self, group, **more):
        return Consumer({
            "bootstrap.servers": self.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            **more,
        })

    def consume(self, request):
        consumer = self.consumer("confluent-assign")
        consumer.assign([TopicPartition(request["topic"], request["partition"], request["offset"])])
        deadline = time.monotonic() + request["timeout_ms"] / 1000
        records = []
        while len(records) < request["count"] and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None:
                if message.error():
                    raise RuntimeError(str(message.error()))
                records.append(describe(message))
        consumer.close()
        return {"records": records}

    def offset_for_time(self, request):
        consumer = self.consumer("confluent-assign")
        (found,) = consumer.offsets_for_times(
            [TopicPartition(request["topic"], request["partition"], request["timestamp"])], timeout=10)
        consumer.close()
        # librdkafka says "the end" where no record is that late.
        return {"offset": found.offset if found.offset >= 0 else None}

    # ---- group members

    def member_open(self, request):
        more = {"session.timeout.ms": 10000, "heartbeat.interval.ms": 500}
        if request.get("instance_id"):
            more["group.instance.id"] = request["instance_id"]
        if request.get("assignor"):
            more["partition.assignment.strategy"] = request["assignor"]
        consumer = self.consumer(request["group"], **more)
        consumer.subscribe(request["topics"])
        self.members[request["member"]] = consumer

    def member_poll(self, request):
        consumer = self.members[request["member"]]
        records = []
        message = consumer.poll(request["timeout_ms"] / 1000)
        while message is not None:
            if message.error():
                raise RuntimeError(str(message.error()))
            records.append(describe(message))
            message = consumer.poll(0) if len(records) < 500 else None
        return {"records": records, "assignment": [[p.topic, p.partition] for p in consumer.assignment()]}

    def member_commit(self, request):
        offsets = [TopicPartition(topic, partition, offset) for topic, partition, offset in request["offsets"]]
        for committed in self.members[request["member"]].commit(offsets=offsets, asynchronous=False):
            if committed.error:
                raise RuntimeError(str(committed.error))

    def member_close(self, request):
        self.members.pop(request["member"]).close()

    # ---- admin

    def create_topic(self, request):
        topic = NewTopic(request["topic"], request["partitions"], 1, config=request.get("configs", {}))
        one(self.admin.create_topics([topic]))

    def delete_topic(self, request):
        one(self.admin.delete_topics([request["topic"]]))

    def list_topics(self, _request):
        return {"topics": list(self.admin.list_topics(timeout=10).topics)}

    def describe_topic(self, request):
        topic = self.admin.list_topics(request["topic"], timeout=10).topics[request["topic"]]
        if topic.error:
            raise RuntimeError(str(topic.error))
        return {"partitions": len(topic.partitions)}

    def create_partitions(self, request):
        one(self.admin.create_partitions([NewPartitions(request["topic"], request["total"])]))

    def resource(self, request):
        return ConfigResource(ResourceType[request["type"].upper()], request["name"])

    def describe_configs(self, request):
        configs = one(self.admin.describe_configs([self.resource(request)]))
        return {"configs": {name: {"value": entry.value} for name, entry in configs.items()}}

    def alter_configs(self, request):
        resource = self.resource(request)
        for name, change, *value in request["changes"]:
            resource.add_incremental_config(
                ConfigEntry(name, value[0] if value else None, incremental_operation=AlterConfigOpType[change.upper()]))
        one(self.admin.incremental_alter_configs([resource]))

    def delete_records(self, request):
        position = TopicPartition(request["topic"], request["partition"], request["before"])
        return {"low_watermark": one(self.admin.delete_records([position])).low_watermark}

    def list_offset(self, request):
        spec = {
            "earliest": OffsetSpec.earliest,
            "latest": OffsetSpec.latest,
            "max_timestamp": OffsetSpec.max_timestamp,
            "timestamp": lambda: OffsetSpec.for_timestamp(request["timestamp"]),
        }[request["spec"]]()
        found = one(self.admin.list_offsets({TopicPartition(request["topic"], request["partition"]): spec}))
        return {"offset": found.offset, "timestamp": found.timestamp}

    def list_groups(self, _request):
        result = self.admin.list_consumer_groups().result()
        if result.errors:
            raise result.errors[0]
        return {"groups": [{"group": group.group_id, "state": group.state.name.capitalize()} for group in result.valid]}

    def describe_group(self, request):
        group = one(self.admin.describe_consumer_groups([request["group"]]))
        return {
            "state": group.state.name.capitalize(),
            "assignor": group.partition_assignor,
            "members": [
                {
                    "member_id": member.member_id,
                    "client_id": member.client_id,
                    "assignment": [[p.topic, p.partition] for p in member.assignment.topic_partitions],
                }
                for member in group.members
            ],
        }

    def delete_group(self, request):
        one(self.admin.delete_consumer_groups([request["group"]]))

    def committed(self, request):
        result = one(self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(request["group"])]))
        return {"offsets": [[p.topic, p.partition, p.offset] for p in result.topic_partitions]}


serve(Operations(sys.argv[1]))
