package demo_test

import (
	"bytes"
	"encoding/binary"
	"image/png"
	"testing"
)

func TestImages(t *testing.T) {
	var made struct {
		Created int64
		Data    []struct {
			PNG []byte `json:"b64_json"`
		}
	}
	ok(t, "/images/generations", `{"model":"demo-fast","prompt":"a cat","n":2}`, &made)
	if len(made.Data) != 2 || made.Created == 0 {
		t.Fatalf("%d images at %d", len(made.Data), made.Created)
	}
	for _, d := range made.Data {
		picture, err := png.Decode(bytes.NewReader(d.PNG))
		if err != nil {
			t.Fatal(err)
		}
		if size := picture.Bounds().Size(); size.X != 64 || size.Y != 64 {
			t.Errorf("the size is %v", size)
		}
	}
}

func TestSpeech(t *testing.T) {
	res, text := post(t, "/audio/speech", `{"model":"demo-fast","input":"hello","voice":"alloy","response_format":"mp3"}`)
	if got := res.Header.Get("Content-Type"); got != "audio/wav" {
		t.Errorf("Content-Type %q", got)
	}
	file := []byte(text)
	var head struct {
		RIFF       [4]byte
		Size       uint32
		WAVEfmt    [8]byte
		PartSize   uint32
		PCM        uint16
		Channels   uint16
		Rate       uint32
		ByteRate   uint32
		BlockAlign uint16
		Bits       uint16
		Data       [4]byte
		DataSize   uint32
	}
	if err := binary.Read(bytes.NewReader(file), binary.LittleEndian, &head); err != nil {
		t.Fatal(err)
	}
	if string(head.RIFF[:]) != "RIFF" || int(head.Size) != len(file)-8 || string(head.WAVEfmt[:]) != "WAVEfmt " || head.PartSize != 16 ||
		head.PCM != 1 || head.Channels != 1 || head.ByteRate != head.Rate*2 || head.BlockAlign != 2 || head.Bits != 16 ||
		string(head.Data[:]) != "data" || int(head.DataSize) != len(file)-binary.Size(head) {
		t.Errorf("%d bytes with the head %+v", len(file), head)
	}
}

func TestModerations(t *testing.T) {
	for input, want := range map[string]int{
		`"text"`:                         1,
		`["one","two"]`:                  2,
		`[{"type":"text","text":"one"}]`: 1,
		`[{"type":"text","text":"one"},{"type":"image_url","image_url":{"url":"data:,"}}]`: 1,
	} {
		var judged struct {
			ID, Model string
			Results   []struct {
				Flagged    *bool
				Categories map[string]bool
				Scores     map[string]float64  `json:"category_scores"`
				Applied    map[string][]string `json:"category_applied_input_types"`
			}
		}
		ok(t, "/moderations", `{"model":"demo-fast","input":`+input+`}`, &judged)
		if len(judged.Results) != want {
			t.Fatalf("%s: %d results", input, len(judged.Results))
		}
		for _, r := range judged.Results {
			if r.Flagged == nil || *r.Flagged || len(r.Categories) != 13 || len(r.Scores) != 13 || len(r.Applied) != 13 {
				t.Errorf("%s: %+v", input, r)
			}
		}
	}
}
