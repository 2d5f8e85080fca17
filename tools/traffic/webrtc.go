package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/pion/turn/v4"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// webrtcServer takes calls over HTTP, as a page of somebody's own would, and is the TURN server of both sides.
func webrtcServer(ctx context.Context, _ []string) error {
	l, err := net.ListenPacket("udp4", serverAddr+":3478")
	if err != nil {
		return err
	}
	relay, err := turn.NewServer(turn.ServerConfig{
		Realm: "calls.example",
		AuthHandler: func(user, realm string, _ net.Addr) ([]byte, bool) {
			return turn.GenerateAuthKey(user, realm, "secret"), true
		},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: l, RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{
			RelayAddress: net.ParseIP(serverAddr), Address: serverAddr}}},
	})
	if err != nil {
		return err
	}
	defer relay.Close()
	http.HandleFunc("POST /call", func(w http.ResponseWriter, r *http.Request) {
		answer, err := answerCall(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	s := &http.Server{Addr: serverAddr + ":8080", ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	return s.ListenAndServe()
}

func newPeer(relayed bool) (*webrtc.PeerConnection, error) {
	c := webrtc.Configuration{ICEServers: []webrtc.ICEServer{{URLs: []string{"stun:" + serverAddr + ":3478"}},
		{URLs: []string{"turn:" + serverAddr + ":3478"}, Username: "user", Credential: "secret"}}}
	if relayed {
		c.ICETransportPolicy = webrtc.ICETransportPolicyRelay
	}
	return webrtc.NewPeerConnection(c)
}

func answerCall(r *http.Request) (*webrtc.SessionDescription, error) {
	var offer webrtc.SessionDescription
	if err := json.NewDecoder(r.Body).Decode(&offer); err != nil {
		return nil, err
	}
	p, err := newPeer(false)
	if err != nil {
		return nil, err
	}
	time.AfterFunc(10*time.Second, func() { _ = p.Close() })
	if err := p.SetRemoteDescription(offer); err != nil {
		return nil, err
	}
	answer, err := p.CreateAnswer(nil)
	if err != nil {
		return nil, err
	}
	gathered := webrtc.GatheringCompletePromise(p)
	if err := p.SetLocalDescription(answer); err != nil {
		return nil, err
	}
	<-gathered
	return p.LocalDescription(), nil
}

// webrtcClient calls so many times, every other time through the relay: webrtc-client COUNT.
func webrtcClient(ctx context.Context, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	good := 0
	for i := range n {
		if err := call(ctx, i%2 == 1); err != nil {
			fmt.Println("call:", err)
			continue
		}
		good++
	}
	if good == 0 {
		return errors.New("no call came about")
	}
	return nil
}

func call(ctx context.Context, relayed bool) error {
	p, err := newPeer(relayed)
	if err != nil {
		return err
	}
	defer p.Close()
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "call")
	if err != nil {
		return err
	}
	if _, err := p.AddTrack(track); err != nil {
		return err
	}
	if _, err := p.CreateDataChannel("chat", nil); err != nil {
		return err
	}
	connected := make(chan struct{}, 8)
	p.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			connected <- struct{}{}
		}
	})
	if err := exchange(ctx, p); err != nil {
		return err
	}
	select {
	case <-connected:
	case <-time.After(8 * time.Second):
		return errors.New("not connected")
	}
	for range 25 {
		if err := track.WriteSample(media.Sample{Data: make([]byte, 80), Duration: 20 * time.Millisecond}); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// exchange brings the offer to the other side, and the answer back.
func exchange(ctx context.Context, p *webrtc.PeerConnection) error {
	offer, err := p.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(p)
	if err := p.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	b, err := json.Marshal(p.LocalDescription())
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+serverAddr+":8080/call", bytes.NewReader(b))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer webrtc.SessionDescription
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	return p.SetRemoteDescription(answer)
}
