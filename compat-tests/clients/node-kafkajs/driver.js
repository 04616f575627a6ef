'use strict'
// Answers the operations of compat-tests/README.md with kafkajs: one JSON request a line in, one JSON answer a line out.

const { randomUUID } = require('node:crypto')
const readline = require('node:readline')
const {
  CompressionCodecs,
  CompressionTypes,
  ConfigResourceTypes,
  Kafka,
  Partitioners,
  logLevel
} = require('kafkajs')
const snappy = require('kafkajs-snappy')

CompressionCodecs[CompressionTypes.Snappy] = snappy

const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }

const kafka = new Kafka({
  clientId: 'kafkajs',
  brokers: [process.argv[2]],
  logLevel: logLevel.WARN,
  logCreator: () => ({ label, log }) => process.stderr.write(`${label} ${JSON.stringify(log)}\n`)
})
const admin = kafka.admin()
const members = new Map()

const decode = text => (text === null || text === undefined ? null : Buffer.from(text, 'base64'))
const encode = bytes => (bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString('base64'))

// kafkajs keeps headers in an object: a name that comes twice has an array.
function headersOf(pairs) {
  const headers = {}
  for (const [name, value] of pairs) {
    headers[name] = name in headers ? [headers[name], decode(value)].flat() : decode(value)
  }
  return headers
}

function describe(partition, message) {
  const headers = []
  for (const [name, value] of Object.entries(message.headers || {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      headers.push([name, encode(one)])
    }
  }
  return {
    partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: encode(message.key),
    value: encode(message.value),
    headers
  }
}

// Waits for `condition` to hold, woken by every `wake()`, at most until the deadline.
class Queue {
  records = []
  #waiting = null
  push(record) {
    this.records.push(record)
    if (this.#waiting) this.#waiting()
  }
  wait(milliseconds) {
    if (this.records.length > 0) return Promise.resolve()
    return new Promise(resolve => {
      const timer = setTimeout(resolve, milliseconds)
      this.#waiting = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
  take() {
    return this.records.splice(0)
  }
}

const operations = {
  info: () => ({ version: require('kafkajs/package.json').version }),

  async produce(request) {
    const compression = CODECS[request.compression || 'none']
    if (compression === undefined) throw new Error(`kafkajs does not know ${request.compression}`)
    const placedOn = new Map()
    const choose = Partitioners.DefaultPartitioner()
    const producer = kafka.producer({
      idempotent: request.idempotent === true,
      allowAutoTopicCreation: true,
      createPartitioner: () => args => {
        const partition = choose(args)
        placedOn.set(args.message, partition)
        return partition
      }
    })
    await producer.connect()
    try {
      const messages = request.records.map(record => ({
        key: decode(record.key),
        value: decode(record.value),
        headers: headersOf(record.headers || []),
        ...(record.partition === null || record.partition === undefined ? {} : { partition: record.partition }),
        ...(record.timestamp === null || record.timestamp === undefined ? {} : { timestamp: String(record.timestamp) })
      }))
      const sent = await producer.send({
        topic: request.topic,
        acks: request.acks === undefined || request.acks === 'all' ? -1 : Number(request.acks),
        compression,
        messages
      })
      const next = new Map(sent.map(({ partition, baseOffset }) => [partition, Number(baseOffset)]))
      const placed = messages.map(message => {
        const partition = placedOn.get(message)
        const offset = next.get(partition)
        next.set(partition, offset + 1)
        return [partition, offset]
      })
      return { placed }
    } finally {
      await producer.disconnect()
    }
  },

  // kafkajs has no assignment by hand: a group of one that seeks.
  async consume(request) {
    const queue = new Queue()
    const groupId = `kafkajs-${randomUUID()}`
    const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 500 })
    await consumer.connect()
    await consumer.subscribe({ topics: [request.topic], fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        if (partition === request.partition && Number(message.offset) >= request.offset) {
          queue.push(describe(partition, message))
        }
      }
    })
    consumer.seek({ topic: request.topic, partition: request.partition, offset: String(request.offset) })
    const deadline = Date.now() + request.timeout_ms
    const records = []
    while (records.length < request.count && Date.now() < deadline) {
      await queue.wait(deadline - Date.now())
      records.push(...queue.take())
    }
    await consumer.disconnect()
    await admin.deleteGroups([groupId])
    return { records: records.slice(0, request.count) }
  },

  async offset_for_time(request) {
    const offsets = await admin.fetchTopicOffsetsByTimestamp(request.topic, request.timestamp)
    const end = await admin.fetchTopicOffsets(request.topic)
    const offset = Number(offsets.find(({ partition }) => partition === request.partition).offset)
    // kafkajs answers the end of the partition where no record is that late.
    const high = Number(end.find(({ partition }) => partition === request.partition).high)
    return { offset: offset === high ? null : offset }
  },

  async member_open(request) {
    const queue = new Queue()
    const consumer = kafka.consumer({
      groupId: request.group,
      sessionTimeout: 10000,
      heartbeatInterval: 500,
      maxWaitTimeInMs: 500,
      rebalanceTimeout: 10000
    })
    const member = { consumer, queue, assignment: [], failed: null }
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      member.assignment = Object.entries(payload.memberAssignment).flatMap(([topic, partitions]) =>
        partitions.map(partition => [topic, partition])
      )
    })
    consumer.on(consumer.events.REBALANCING, () => {
      member.assignment = []
    })
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      member.failed = payload.error
    })
    await consumer.connect()
    await consumer.subscribe({ topics: request.topics, fromBeginning: true })
    // Joining takes until every member polls: not waited for.
    member.running = consumer
      .run({
        autoCommit: false,
        eachMessage: async ({ partition, message }) => queue.push(describe(partition, message))
      })
      .catch(error => {
        member.failed = error
      })
    members.set(request.member, member)
  },

  async member_poll(request) {
    const member = members.get(request.member)
    await member.queue.wait(request.timeout_ms)
    if (member.failed) throw member.failed
    return { records: member.queue.take(), assignment: member.assignment }
  },

  async member_commit(request) {
    await members
      .get(request.member)
      .consumer.commitOffsets(
        request.offsets.map(([topic, partition, offset]) => ({ topic, partition, offset: String(offset) }))
      )
  },

  async member_close(request) {
    const member = members.get(request.member)
    members.delete(request.member)
    await member.consumer.disconnect()
  },

  async create_topic(request) {
    const configEntries = Object.entries(request.configs || {}).map(([name, value]) => ({ name, value }))
    const topic = { topic: request.topic, numPartitions: request.partitions, replicationFactor: 1, configEntries }
    const created = await admin.createTopics({ topics: [topic], waitForLeaders: true })
    if (!created) throw new Error('the topic exists')
  },

  async delete_topic(request) {
    await admin.deleteTopics({ topics: [request.topic] })
  },

  async list_topics() {
    return { topics: await admin.listTopics() }
  },

  async describe_topic(request) {
    const { topics } = await admin.fetchTopicMetadata({ topics: [request.topic] })
    return { partitions: topics[0].partitions.length }
  },

  async create_partitions(request) {
    await admin.createPartitions({ topicPartitions: [{ topic: request.topic, count: request.total }] })
  },

  async describe_configs(request) {
    const type = ConfigResourceTypes[request.type.toUpperCase()]
    const { resources } = await admin.describeConfigs({
      includeSynonyms: true,
      resources: [{ type, name: request.name }]
    })
    const entries = resources[0].configEntries.map(entry => [entry.configName, { value: entry.configValue }])
    return { configs: Object.fromEntries(entries) }
  },

  // The old AlterConfigs: what is set here is all that is set.
  async replace_configs(request) {
    const configEntries = Object.entries(request.configs).map(([name, value]) => ({ name, value }))
    const type = ConfigResourceTypes[request.type.toUpperCase()]
    await admin.alterConfigs({ validateOnly: false, resources: [{ type, name: request.name, configEntries }] })
  },

  async delete_records(request) {
    const partitions = [{ partition: request.partition, offset: String(request.before) }]
    // It looks for the partition's leader before it has asked where the topic is.
    await admin.fetchTopicOffsets(request.topic)
    await admin.deleteTopicRecords({ topic: request.topic, partitions })
    const offsets = await admin.fetchTopicOffsets(request.topic)
    return { low_watermark: Number(offsets.find(({ partition }) => partition === request.partition).low) }
  },

  async list_offset(request) {
    if (request.spec === 'timestamp') {
      const offsets = await admin.fetchTopicOffsetsByTimestamp(request.topic, request.timestamp)
      return { offset: Number(offsets.find(({ partition }) => partition === request.partition).offset) }
    }
    const offsets = await admin.fetchTopicOffsets(request.topic)
    const found = offsets.find(({ partition }) => partition === request.partition)
    return { offset: Number(request.spec === 'earliest' ? found.low : found.high) }
  },

  async list_groups() {
    const { groups } = await admin.listGroups()
    return { groups: groups.map(({ groupId, protocolType }) => ({ group: groupId, protocol: protocolType })) }
  },

  async describe_group(request) {
    const { groups } = await admin.describeGroups([request.group])
    const { AssignerProtocol } = require('kafkajs')
    const members = groups[0].members.map(member => {
      const decoded = AssignerProtocol.MemberAssignment.decode(member.memberAssignment)
      const assignment = Object.entries(decoded ? decoded.assignment : {}).flatMap(([topic, partitions]) =>
        partitions.map(partition => [topic, partition])
      )
      return { member_id: member.memberId, client_id: member.clientId, assignment }
    })
    return { state: groups[0].state, assignor: groups[0].protocol, members }
  },

  async delete_group(request) {
    await admin.deleteGroups([request.group])
  },

  async committed(request) {
    const topics = await admin.fetchOffsets({ groupId: request.group })
    const offsets = topics.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition, offset }) => [topic, partition, Number(offset)])
    )
    return { offsets }
  }
}

async function main() {
  await admin.connect()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line)
    let answer
    try {
      if (!(request.op in operations)) throw new Error(`no such operation: ${request.op}`)
      answer = { ok: true, result: (await operations[request.op](request)) || {} }
    } catch (error) {
      process.stderr.write(`${error.stack}\n`)
      answer = { ok: false, error: `${error.name}: ${error.message}` }
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`)
  }
  for (const member of members.values()) {
    await member.consumer.disconnect()
  }
  process.exit(0)
}

main()
