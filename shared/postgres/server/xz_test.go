package server

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// xz packs data in the container of .xz files, without compressing it, as
// https://tukaani.org/xz/xz-file-format.txt says.
func xz(data []byte) []byte {
	var out bytes.Buffer
	checked := func(b []byte) { // b and its checksum
		out.Write(b)
		_ = binary.Write(&out, binary.LittleEndian, crc32.ChecksumIEEE(b))
	}
	padded := func(b []byte) []byte {
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		return b
	}
	flags := []byte{0, 0} // the content has no checksum
	size := len(data)
	out.WriteString("\xfd7zXZ\x00")
	checked(flags)

	start := out.Len()
	checked([]byte{2, 0, 0x21, 1, 22, 0, 0, 0}) // the head of a block: LZMA2 with 8 MB
	for kind := byte(1); len(data) > 0; kind = 2 {
		chunk := data[:min(len(data), 1<<16)]
		data = data[len(chunk):]
		out.Write([]byte{kind, byte((len(chunk) - 1) >> 8), byte(len(chunk) - 1)})
		out.Write(chunk)
	}
	out.WriteByte(0)
	block := out.Len() - start
	out.Write(padded(make([]byte, block))[block:])

	index := binary.AppendUvarint([]byte{0, 1}, uint64(block))
	index = padded(binary.AppendUvarint(index, uint64(size)))
	checked(index)

	foot := binary.LittleEndian.AppendUint32(nil, uint32(len(index)+4)/4-1)
	foot = append(foot, flags...)
	_ = binary.Write(&out, binary.LittleEndian, crc32.ChecksumIEEE(foot))
	out.Write(foot)
	out.WriteString("YZ")
	return out.Bytes()
}
