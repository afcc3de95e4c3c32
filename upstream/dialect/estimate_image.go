package dialect

// The tokens of an image, from its width and height. The picture itself is not decoded.

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
)

// Anthropic's "Vision": an image has width × height / 750 tokens, after it was scaled down to 1,568 pixels on its
// long edge and about 1,600 tokens. An image that cannot be measured counts as a large one.
const (
	pixelsPerToken   = 750
	maxImageEdge     = 1_568
	tokensOfImageMax = 1_600

	maxImageHead = 256 << 10 // bytes of base64 that are looked at: the size of a JPEG stands behind its metadata
)

// estimateImage counts an image: its data in base64, or a URL with such data. One at another address counts as a
// large one.
func estimateImage(data []byte) int64 {
	if at := bytes.Index(data[:min(len(data), 100)], []byte(";base64,")); at >= 0 {
		data = data[at+len(";base64,"):]
	}
	width, height := imageSize(data)
	if width <= 0 || height <= 0 {
		return tokensOfImageMax
	}
	w, h := float64(width), float64(height)
	scale := min(1, maxImageEdge/max(w, h))
	return int64(min(max(w*h*scale*scale/pixelsPerToken, 1), tokensOfImageMax))
}

// imageSize reads the size in pixels from the header of a picture in base64: PNG, JPEG, GIF or WebP, whatever it is
// said to be. The size is 0 if the header cannot be read.
func imageSize(data []byte) (width, height int) {
	data = bytes.ReplaceAll(data[:min(len(data), maxImageHead)], []byte(`\/`), []byte("/"))
	r := bufio.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(data)))
	head, _ := r.Peek(30)
	var config image.Config
	switch {
	case bytes.HasPrefix(head, []byte("\x89PNG")):
		config, _ = png.DecodeConfig(r)
	case bytes.HasPrefix(head, []byte("\xff\xd8")):
		config, _ = jpeg.DecodeConfig(r)
	case bytes.HasPrefix(head, []byte("GIF8")):
		config, _ = gif.DecodeConfig(r)
	case len(head) == 30 && bytes.HasPrefix(head, []byte("RIFF")):
		return webpSize(head)
	}
	return config.Width, config.Height
}

// webpSize reads the size from the first 30 bytes of a WebP file: those of a lossy (RFC 6386, section 9.1), a
// lossless or an extended one (RFC 9649, sections 3.4 and 2.7).
func webpSize(head []byte) (width, height int) {
	switch string(head[8:16]) {
	case "WEBPVP8 ":
		return int(head[27]&0x3f)<<8 | int(head[26]), int(head[29]&0x3f)<<8 | int(head[28])
	case "WEBPVP8L": // 14 bits each, less one
		return 1 + (int(head[22]&0x3f)<<8 | int(head[21])), 1 + (int(head[24]&0x0f)<<10 | int(head[23])<<2 | int(head[22])>>6)
	case "WEBPVP8X": // 24 bits each, less one
		return 1 + (int(head[26])<<16 | int(head[25])<<8 | int(head[24])), 1 + (int(head[29])<<16 | int(head[28])<<8 | int(head[27]))
	}
	return 0, 0
}
