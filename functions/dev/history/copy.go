package history

import (
	"context"
	"encoding/binary"
	"io"

	"github.com/jackc/pgx/v5"
)

// copyRows streams rows into a table while write produces them. It speaks the
// binary COPY format itself: pgx's CopyFrom, which takes a row as []any and looks
// up how to encode each value, costs an import 2.5 times the processor time and
// would break what BenchmarkImport promises.
// https://www.postgresql.org/docs/15/sql-copy.html#id-1.9.3.55.9.4
func copyRows(ctx context.Context, tx pgx.Tx, sql string, write func(*rowBuffer) error) error {
	from, to := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := &rowBuffer{to: to, buf: make([]byte, 0, flushAt+4096)}
		b.buf = append(b.buf, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
		err := write(b)
		if err == nil {
			b.buf = binary.BigEndian.AppendUint16(b.buf, 0xffff) // the end
			_, err = to.Write(b.buf)
		}
		to.CloseWithError(err)
	}()
	_, err := tx.Conn().PgConn().CopyFrom(ctx, from, sql)
	// A writer that PostgreSQL no longer listens to is told so.
	_ = from.CloseWithError(io.ErrClosedPipe)
	<-done
	return err
}

// rowBuffer gathers rows in the binary COPY format.
type rowBuffer struct {
	to  io.Writer
	buf []byte
}

const flushAt = 64 << 10

// flush hands on what was gathered, once it is worth it. It is called between
// rows.
func (b *rowBuffer) flush() error {
	if len(b.buf) < flushAt {
		return nil
	}
	_, err := b.to.Write(b.buf)
	b.buf = b.buf[:0]
	return err
}

func (b *rowBuffer) row(columns int) {
	b.buf = binary.BigEndian.AppendUint16(b.buf, uint16(columns))
}

func (b *rowBuffer) bytes(v []byte) {
	b.buf = append(binary.BigEndian.AppendUint32(b.buf, uint32(len(v))), v...)
}

func (b *rowBuffer) text(v string) {
	b.buf = append(binary.BigEndian.AppendUint32(b.buf, uint32(len(v))), v...)
}

func (b *rowBuffer) bool(v bool) {
	one := byte(0)
	if v {
		one = 1
	}
	b.buf = append(binary.BigEndian.AppendUint32(b.buf, 1), one)
}

func (b *rowBuffer) int16(v int16) {
	b.buf = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(b.buf, 2), uint16(v))
}

func (b *rowBuffer) int64(v int64) {
	b.buf = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b.buf, 8), uint64(v))
}

// timestamp writes Unix seconds as a timestamptz: microseconds since 2000.
func (b *rowBuffer) timestamp(seconds int64) {
	const epoch = 946684800
	b.int64((seconds - epoch) * 1_000_000)
}
