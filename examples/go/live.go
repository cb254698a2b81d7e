// Streams a WAV file to a speech-to-text server and prints what it hears, while it hears it.
//
//	go run -mod=mod . ws://127.0.0.1:9876/v1/ws speech.wav
//
// The file must be 16-bit mono, at 8000, 16000, 24000, 44100 or 48000 Hz.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/gorilla/websocket"
)

const frameTime = 100 * time.Millisecond

// message is what the server says; fields that are not wanted here are left out.
type message struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	Message string `json:"message"`
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: live ws://127.0.0.1:9876/v1/ws FILE.wav")
	}
	if err := transcribe(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func transcribe(url, path string) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	rate, pcm, err := parseWAV(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	server, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		return err
	}
	defer server.Close()
	for {
		var m message
		if err := server.ReadJSON(&m); err != nil {
			// After our stop and its last final, the server closes the connection.
			if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
				return nil
			}
			return err
		}
		switch m.Type {
		case "ready": // the server has a place for us; it may say that it is busy instead
			go send(server, rate, pcm) // the text comes while we speak
		case "partial": // what is heard so far of this utterance; the next one replaces it
			fmt.Println("...", m.Text)
		case "final": // the whole utterance, which never changes again
			fmt.Println(">>>", m.Text)
		case "error":
			log.Print(m.Message)
		}
	}
}

// send sends the audio as fast as it would be spoken, then asks for the last final. What stands in its way ends the
// connection too, and reading tells it.
func send(server *websocket.Conn, rate int, pcm []byte) {
	// Audio without this is taken for 48 kHz.
	if server.WriteJSON(map[string]any{"type": "configure", "sample_rate": rate}) != nil {
		return
	}
	size := rate / int(time.Second/frameTime) * 2
	for frames := bytes.NewBuffer(pcm); frames.Len() > 0; time.Sleep(frameTime) {
		if server.WriteMessage(websocket.BinaryMessage, frames.Next(size)) != nil {
			return
		}
	}
	_ = server.WriteJSON(map[string]string{"type": "stop"})
}

// parseWAV gives the rate and the audio of a WAV file: a header and chunks, each with a name of four letters and its size.
func parseWAV(file []byte) (rate int, pcm []byte, err error) {
	chunks := bytes.NewReader(file)
	_, _ = chunks.Seek(12, io.SeekStart)
	for {
		var head struct {
			Name [4]byte
			Size uint32
		}
		if binary.Read(chunks, binary.LittleEndian, &head) != nil {
			return 0, nil, errors.New("not a WAV file")
		}
		body, _ := io.ReadAll(io.LimitReader(chunks, int64(head.Size+head.Size%2))) // chunks start at even places
		switch string(head.Name[:]) {
		case "fmt ":
			if len(body) < 16 || binary.LittleEndian.Uint16(body[2:]) != 1 || binary.LittleEndian.Uint16(body[14:]) != 16 {
				return 0, nil, errors.New("not 16-bit mono")
			}
			rate = int(binary.LittleEndian.Uint32(body[4:]))
		case "data":
			return rate, body, nil
		}
	}
}
