package tracing

import (
	"encoding/binary"
	"time"
)

// The numbers of OTLP's fields that are written here:
// https://github.com/open-telemetry/opentelemetry-proto, trace/v1/trace.proto. The
// generated types would bring gRPC and eight megabytes to say the same.

const schema = "https://opentelemetry.io/schemas/1.37.0"

// request is an ExportTraceServiceRequest of encoded spans.
func request(resource []byte, spans [][]byte) []byte {
	scope := field(nil, 1, field(nil, 1, []byte("github.com/devops-dashboard/dashboard")))
	for _, span := range spans {
		scope = field(scope, 2, span)
	}
	all := field(nil, 1, resource)
	all = field(all, 2, scope)
	all = field(all, 3, []byte(schema))
	return field(nil, 1, all)
}

// resource says what makes the spans.
func resource(of Source) []byte {
	var b []byte
	for _, a := range []Attribute{
		Text("service.name", of.Function), Text("service.version", of.Release),
		Text("deployment.environment.name", of.Environment), Text("service.namespace", "devops-dashboard"),
	} {
		b = field(b, 1, a.encode())
	}
	return b
}

func (s *Span) encode(end time.Time) []byte {
	b := field(nil, 1, s.trace[:])
	b = field(b, 2, s.id[:])
	flags := uint32(0x101) // sampled, and it is known where the parent is
	if s.remote {
		flags |= 0x200
	}
	if s.parent != [8]byte{} {
		b = field(b, 4, s.parent[:])
	}
	b = field(b, 5, []byte(s.name))
	b = number(b, 6, s.kind)
	b = binary.LittleEndian.AppendUint64(tag(b, 7, fixed64), uint64(s.start.UnixNano()))
	b = binary.LittleEndian.AppendUint64(tag(b, 8, fixed64), uint64(end.UnixNano()))
	for _, a := range s.attributes {
		b = field(b, 9, a.encode())
	}
	if s.failure != "" {
		b = field(b, 9, Text("error.type", s.failure).encode())
		b = field(b, 15, number(nil, 3, 2)) // an error
	}
	return binary.LittleEndian.AppendUint32(tag(b, 16, fixed32), flags)
}

func (a Attribute) encode() []byte {
	b := field(nil, 1, []byte(a.name))
	if a.isText {
		return field(b, 2, field(nil, 1, []byte(a.text)))
	}
	return field(b, 2, number(nil, 3, uint64(a.number)))
}

// The wire types of protobuf: https://protobuf.dev/programming-guides/encoding.
const (
	varint  = 0
	fixed64 = 1
	length  = 2
	fixed32 = 5
)

func tag(b []byte, name, wire uint64) []byte { return binary.AppendUvarint(b, name<<3|wire) }

func number(b []byte, name, value uint64) []byte {
	return binary.AppendUvarint(tag(b, name, varint), value)
}

func field(b []byte, name uint64, value []byte) []byte {
	return append(binary.AppendUvarint(tag(b, name, length), uint64(len(value))), value...)
}
