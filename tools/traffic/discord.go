package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/bwmarrin/discordgo"
	"github.com/gorilla/websocket"
)

// discordServer answers as much as the client library asks for a voice call: discord-server CERT KEY. It is no part of Discord.
func discordServer(ctx context.Context, args []string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/{version}/gateway", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"url":"wss://gateway.discord.gg"}`)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		if r.Host == "gateway.discord.gg" {
			discordGateway(c)
		} else {
			discordVoice(c)
		}
	})
	voice, err := net.ListenPacket("udp", serverAddr+":50004")
	if err != nil {
		return err
	}
	go discordDiscovery(voice)
	s := &http.Server{Addr: serverAddr + ":443", Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	return s.ListenAndServeTLS(args[0], args[1])
}

func discordGateway(c *websocket.Conn) {
	say := func(text string) { _ = c.WriteMessage(websocket.TextMessage, []byte(text)) }
	say(`{"op":10,"d":{"heartbeat_interval":41250}}`)
	for {
		var m struct{ Op int }
		if err := c.ReadJSON(&m); err != nil {
			return
		}
		switch m.Op {
		case 2:
			say(`{"op":0,"s":1,"t":"READY","d":{"v":9,"session_id":"s1","user":{"id":"7","username":"alice"},"guilds":[{"id":"1","name":"room"}]}}`)
		case 4:
			say(`{"op":0,"s":2,"t":"VOICE_STATE_UPDATE","d":{"guild_id":"1","channel_id":"2","user_id":"7","session_id":"s1"}}`)
			say(`{"op":0,"s":3,"t":"VOICE_SERVER_UPDATE","d":{"token":"t","guild_id":"1","endpoint":"rotterdam1.discord.media:443"}}`)
		}
	}
}

func discordVoice(c *websocket.Conn) {
	for {
		var m struct{ Op int }
		if err := c.ReadJSON(&m); err != nil {
			return
		}
		var answer any
		switch m.Op {
		case 0:
			answer = map[string]any{"ssrc": 4711, "ip": serverAddr, "port": 50004, "modes": []string{"xsalsa20_poly1305"}, "heartbeat_interval": 41250}
		case 1:
			answer = map[string]any{"mode": "xsalsa20_poly1305", "secret_key": [32]int{}}
		default:
			continue
		}
		d, err := json.Marshal(map[string]any{"op": map[int]int{0: 2, 1: 4}[m.Op], "d": answer})
		if err != nil || c.WriteMessage(websocket.TextMessage, d) != nil {
			return
		}
	}
}

// discordDiscovery tells each caller its address, and sends all else back.
func discordDiscovery(c net.PacketConn) {
	b := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		if a, ok := from.(*net.UDPAddr); ok && n == 74 && b[1] == 1 {
			b[1] = 2
			copy(b[8:], a.IP.String())
			binary.BigEndian.PutUint16(b[72:], uint16(a.Port))
		}
		_, _ = c.WriteTo(b[:n], from)
	}
}

// discordClient is the client library, which joins a voice channel and speaks for a second.
func discordClient(context.Context, []string) error {
	s, err := discordgo.New("Bot none")
	if err != nil {
		return err
	}
	if err := s.Open(); err != nil {
		return err
	}
	defer s.Close()
	v, err := s.ChannelVoiceJoin("1", "2", false, false)
	if err != nil {
		return err
	}
	for range 50 {
		v.OpusSend <- make([]byte, 80)
	}
	return v.Disconnect()
}
