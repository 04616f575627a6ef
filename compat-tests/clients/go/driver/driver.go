// Package driver is the loop that both Go clients share: one JSON request a line in, one JSON answer a line out.
package driver

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// Bytes travels as base64, nil as null, empty as "".
type Bytes = []byte

// Header is a [name, value] pair.
type Header struct {
	Name  string
	Value Bytes
}

func (h Header) MarshalJSON() ([]byte, error) { return json.Marshal([]any{h.Name, h.Value}) }

func (h *Header) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&h.Name, &h.Value})
}

// Record goes both ways; a request may leave out the partition and the timestamp.
type Record struct {
	Partition *int32   `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp *int64   `json:"timestamp"`
	Key       Bytes    `json:"key"`
	Value     Bytes    `json:"value"`
	Headers   []Header `json:"headers"`
}

// Partition is a [topic, partition] pair.
type Partition struct {
	Topic     string
	Partition int32
}

func (p Partition) MarshalJSON() ([]byte, error) { return json.Marshal([]any{p.Topic, p.Partition}) }

// Offset is a [topic, partition, offset] triple.
type Offset struct {
	Topic     string
	Partition int32
	Offset    int64
}

func (o Offset) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{o.Topic, o.Partition, o.Offset})
}

func (o *Offset) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&o.Topic, &o.Partition, &o.Offset})
}

// Request has the arguments of every operation.
type Request struct {
	Op          string            `json:"op"`
	Topic       string            `json:"topic"`
	Topics      []string          `json:"topics"`
	Partition   int32             `json:"partition"`
	Partitions  int32             `json:"partitions"`
	Total       int32             `json:"total"`
	Configs     map[string]string `json:"configs"`
	Compression string            `json:"compression"`
	Idempotent  bool              `json:"idempotent"`
	Acks        string            `json:"acks"`
	Records     []Record          `json:"records"`
	Offset      int64             `json:"offset"`
	Offsets     []Offset          `json:"offsets"`
	Before      int64             `json:"before"`
	Count       int               `json:"count"`
	TimeoutMs   int               `json:"timeout_ms"`
	Timestamp   int64             `json:"timestamp"`
	Spec        string            `json:"spec"`
	Member      string            `json:"member"`
	Group       string            `json:"group"`
	InstanceID  string            `json:"instance_id"`
	Type        string            `json:"type"`
	Name        string            `json:"name"`
	Changes     [][]string        `json:"changes"`
}

// Result is what an operation answers.
type Result map[string]any

// Operation performs one request.
type Operation func(Request) (Result, error)

// Serve answers every request by the operation of its name, until the input ends.
func Serve(operations map[string]Operation) {
	// Whatever a library prints must not be taken for an answer.
	answers := json.NewEncoder(os.Stdout)
	os.Stdout = os.Stderr
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			return
		}
		result, err := perform(operations, line)
		answer := map[string]any{"ok": err == nil}
		if err != nil {
			answer["error"] = err.Error()
		} else {
			if result == nil {
				result = Result{}
			}
			answer["result"] = result
		}
		if err := answers.Encode(answer); err != nil {
			return
		}
	}
}

func perform(operations map[string]Operation, line []byte) (Result, error) {
	var request Request
	if err := json.Unmarshal(line, &request); err != nil {
		return nil, err
	}
	operation, known := operations[request.Op]
	if !known {
		return nil, fmt.Errorf("no such operation: %s", request.Op)
	}
	return operation(request)
}
