// OpenAI images and speech: a picture of one colour and a tone.
// https://platform.openai.com/docs/api-reference/images, …/audio

package demo

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"image"
	"image/color"
	"image/png"
	"math"
	"time"
	"unicode/utf8"
)

const (
	imageSide  = 64 // pixels
	maxImages  = 10
	sampleRate = 8000 // Hz
	maxSpoken  = 4096 // characters
)

func (c call) images() (reply, error) {
	var q struct {
		Prompt string `json:"prompt"`
		N      *int   `json:"n"`
	}
	if err := decode(c.body, &q); err != nil {
		return reply{}, err
	}
	if q.Prompt == "" {
		return reply{}, missing("prompt")
	}
	n := 1
	if q.N != nil {
		n = *q.N
	}
	if n < 1 || n > maxImages {
		return reply{}, invalid("n", "must be 1 to %d", maxImages)
	}
	picture, err := paint(q.Prompt)
	if err != nil {
		return reply{}, err
	}
	type entry struct {
		PNG []byte `json:"b64_json"`
	}
	data := make([]entry, n)
	for i := range data {
		data[i].PNG = picture
	}
	return jsonReply(struct {
		Created int64   `json:"created"`
		Data    []entry `json:"data"`
	}{time.Now().Unix(), data}, 0), nil
}

// paint gives a PNG file in a colour of the prompt's own.
func paint(prompt string) ([]byte, error) {
	h := fnv.New32a()
	h.Write([]byte(prompt))
	sum := h.Sum32()
	colour := color.RGBA{uint8(sum), uint8(sum >> 8), uint8(sum >> 16), 255}
	var file bytes.Buffer
	err := png.Encode(&file, image.NewPaletted(image.Rect(0, 0, imageSide, imageSide), color.Palette{colour}))
	return file.Bytes(), err
}

func (c call) speech() (reply, error) {
	var q struct {
		Input string `json:"input"`
	}
	if err := decode(c.body, &q); err != nil {
		return reply{}, err
	}
	if q.Input == "" {
		return reply{}, missing("input")
	}
	if utf8.RuneCountInString(q.Input) > maxSpoken {
		return reply{}, invalid("input", "is longer than %d characters", maxSpoken)
	}
	return reply{contentType: "audio/wav", body: tone()}, nil
}

// tone gives a WAV file: a quarter of a second at 440 Hz that dies away, 16 bits, mono.
func tone() []byte {
	const samples = sampleRate / 4
	const bytesOfData = 2 * samples
	le := binary.LittleEndian
	file := []byte("RIFF")
	file = le.AppendUint32(file, 36+bytesOfData)
	file = append(file, "WAVEfmt "...)
	file = le.AppendUint32(file, 16)           // size of this part
	file = le.AppendUint16(file, 1)            // PCM
	file = le.AppendUint16(file, 1)            // channel
	file = le.AppendUint32(file, sampleRate)   // samples a second
	file = le.AppendUint32(file, 2*sampleRate) // bytes a second
	file = le.AppendUint16(file, 2)            // bytes a sample
	file = le.AppendUint16(file, 16)           // bits a sample
	file = append(file, "data"...)
	file = le.AppendUint32(file, bytesOfData)
	for i := range samples {
		fade := 1 - float64(i)/samples
		wave := math.Sin(2 * math.Pi * 440 * float64(i) / sampleRate)
		file = le.AppendUint16(file, uint16(int16(8000*fade*wave)))
	}
	return file
}
