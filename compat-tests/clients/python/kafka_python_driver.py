"""Answers the operations of compat-tests/README.md with kafka-python."""

import sys
import threading
import time

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, KafkaAdminClient, OffsetSpec
from kafka.structs import OffsetAndMetadata

from serve import decode, encode, serve


def describe(record):
    return {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": encode(record.key),
        "value": encode(record.value),
        "headers": [[name, encode(value)] for name, value in record.headers],
    }


def refuse_unless_ok(outcome):
    """Some admin calls of kafka-python return a refusal instead of raising it."""
    if outcome != "OK":
        raise RuntimeError(str(outcome))


class Member:
    """A member of a group: joining takes several polls, so it polls by itself."""

    def __init__(self, consumer):
        self.consumer = consumer
        # The consumer is not safe to use from two threads.
        self.lock = threading.Lock()
        self.records = []
        self.arrived = threading.Condition()
        self.failed = None
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping:
            try:
                with self.lock:
                    batches = self.consumer.poll(timeout_ms=100)
            except Exception as error:
                self.failed = error
                return
            with self.arrived:
                for batch in batches.values():
                    self.records.extend(describe(record) for record in batch)
                self.arrived.notify()
            # Leaves the lock to others for a moment.
            time.sleep(0.001)

    def poll(self, timeout):
        with self.arrived:
            self.arrived.wait_for(lambda: self.records or self.failed, timeout)
            records, self.records = self.records, []
        if self.failed is not None:
            raise self.failed
        return records

    def close(self):
        self.stopping = True
        self.thread.join()
        self.consumer.close(autocommit=False)


class Operations:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        self.members = {}

    def close(self):
        for member in self.members.values():
            member.close()

    def info(self, _request):
        return {"version": kafka.__version__}

    # ---- records

    def produce(self, request):
        compression = request.get("compression", "none")
        acks = request.get("acks", "all")
        producer = KafkaProducer(
            bootstrap_servers=self.bootstrap,
            compression_type=None if compression == "none" else compression,
            enable_idempotence=request.get("idempotent", False),
            acks=acks if acks == "all" else int(acks),
            linger_ms=20,
            delivery_timeout_ms=40000,
        )
        try:
            sent = [
                producer.send(
                    request["topic"],
                    key=decode(record["key"]),
                    value=decode(record["value"]),
                    headers=[(name, decode(value)) for name, value in record.get("headers", [])],
                    partition=record.get("partition"),
                    timestamp_ms=record.get("timestamp"),
                )
                for record in request["records"]
            ]
            producer.flush(timeout=40)
            placed = [future.get(timeout=10) for future in sent]
        finally:
            producer.close(timeout=10)
        return {"placed": [[metadata.partition, metadata.offset] for metadata in placed]}

    def consumer(self, **more):
        return KafkaConsumer(
            bootstrap_servers=self.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest", **more)

    def consume(self, request):
        consumer = self.consumer()
        position = TopicPartition(request["topic"], request["partition"])
        consumer.assign([position])
        consumer.seek(position, request["offset"])
        deadline = time.monotonic() + request["timeout_ms"] / 1000
        records = []
        while len(records) < request["count"] and time.monotonic() < deadline:
            for batch in consumer.poll(timeout_ms=200).values():
                records.extend(describe(record) for record in batch)
        consumer.close()
        return {"records": records[: request["count"]]}

    def offset_for_time(self, request):
        consumer = self.consumer()
        position = TopicPartition(request["topic"], request["partition"])
        found = consumer.offsets_for_times({position: request["timestamp"]})[position]
        consumer.close()
        return {"offset": found.offset if found is not None else None}

    # ---- group members

    def member_open(self, request):
        more = {"session_timeout_ms": 10000, "heartbeat_interval_ms": 500}
        if request.get("instance_id"):
            more["group_instance_id"] = request["instance_id"]
        consumer = self.consumer(group_id=request["group"], **more)
        consumer.subscribe(request["topics"])
        self.members[request["member"]] = Member(consumer)

    def member_poll(self, request):
        member = self.members[request["member"]]
        records = member.poll(request["timeout_ms"] / 1000)
        with member.lock:
            assignment = member.consumer.assignment()
        return {"records": records, "assignment": [[p.topic, p.partition] for p in assignment]}

    def member_commit(self, request):
        member = self.members[request["member"]]
        with member.lock:
            member.consumer.commit({
                TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)
                for topic, partition, offset in request["offsets"]
            })

    def member_close(self, request):
        self.members.pop(request["member"]).close()

    # ---- admin

    def create_topic(self, request):
        self.admin.create_topics({
            request["topic"]: {
                "num_partitions": request["partitions"],
                "replication_factor": 1,
                "configs": request.get("configs", {}),
            }
        })

    def delete_topic(self, request):
        self.admin.delete_topics([request["topic"]])

    def list_topics(self, _request):
        return {"topics": self.admin.list_topics()}

    def describe_topic(self, request):
        (topic,) = self.admin.describe_topics([request["topic"]])
        if topic["error_code"]:
            raise RuntimeError(f"error {topic['error_code']}")
        return {"partitions": len(topic["partitions"])}

    def create_partitions(self, request):
        self.admin.create_partitions({request["topic"]: request["total"]})

    def describe_configs(self, request):
        resource = ConfigResource(request["type"], request["name"])
        described = self.admin.describe_configs([resource], include_synonyms=True, config_filter="all")
        (resources,) = described.values()
        return {"configs": {name: {"value": entry["value"]} for name, entry in resources[request["name"]].items()}}

    def alter_configs(self, request):
        changes = {name: (change.upper(), value[0] if value else None) for name, change, *value in request["changes"]}
        (results,) = self.admin.alter_configs([ConfigResource(request["type"], request["name"], changes)]).values()
        refuse_unless_ok(results[request["name"]])

    def delete_records(self, request):
        position = TopicPartition(request["topic"], request["partition"])
        return {"low_watermark": self.admin.delete_records({position: request["before"]})[position]["low_watermark"]}

    def list_offset(self, request):
        position = TopicPartition(request["topic"], request["partition"])
        spec = {
            "earliest": OffsetSpec.EARLIEST,
            "latest": OffsetSpec.LATEST,
            "max_timestamp": OffsetSpec.MAX_TIMESTAMP,
            "timestamp": request.get("timestamp"),
        }[request["spec"]]
        found = self.admin.list_partition_offsets({position: spec})[position]
        return {"offset": found.offset, "timestamp": found.timestamp}

    def list_groups(self, _request):
        return {"groups": [
            {"group": group["group_id"], "state": str(group.get("group_state"))} for group in self.admin.list_groups()
        ]}

    def describe_group(self, request):
        group = self.admin.describe_groups([request["group"]])[request["group"]]
        members = []
        for member in group["members"]:
            assigned = (member["member_assignment"] or {}).get("assigned_partitions", [])
            members.append({
                "member_id": member["member_id"],
                "client_id": member["client_id"],
                "assignment": [[entry["topic"], p] for entry in assigned for p in entry["partitions"]],
            })
        return {"state": group["group_state"], "members": members}

    def delete_group(self, request):
        refuse_unless_ok(self.admin.delete_groups([request["group"]])[request["group"]])

    def committed(self, request):
        offsets = self.admin.list_group_offsets({request["group"]: None})[request["group"]]
        return {"offsets": [[p.topic, p.partition, offset.offset] for p, offset in offsets.items()]}


serve(Operations(sys.argv[1]))
