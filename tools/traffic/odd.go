package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// quicServer echoes streams over QUIC: quic-server CERT KEY.
func quicServer(ctx context.Context, args []string) error {
	pair, err := tls.LoadX509KeyPair(args[0], args[1])
	if err != nil {
		return err
	}
	l, err := quic.ListenAddr(serverAddr+":443", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h3", "doq", "echo", "smb", "moq-00"}}, nil)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		go func() {
			s, err := c.AcceptStream(ctx)
			if err == nil {
				_, _ = io.Copy(s, s)
				_ = s.Close()
			}
		}()
	}
}

// quicClient opens so many connections to names of nobody's: quic-client COUNT.
func quicClient(ctx context.Context, args []string) error {
	return many(args, func(i int) error {
		ctx, stop := context.WithTimeout(ctx, 5*time.Second)
		defer stop()
		config := &tls.Config{ServerName: odd(i), InsecureSkipVerify: true, NextProtos: []string{[]string{"h3", "doq", "echo", "smb", "moq-00"}[i%5]}}
		version := quic.Version1
		if i%4 == 3 {
			version = quic.Version2
		}
		c, err := quic.DialAddr(ctx, serverAddr+":443", config, &quic.Config{Versions: []quic.Version{version}})
		if err != nil {
			return err
		}
		defer c.CloseWithError(0, "")
		s, err := c.OpenStreamSync(ctx)
		if err != nil {
			return err
		}
		_, _ = s.Write(make([]byte, 600))
		_ = s.Close()
		_, err = io.Copy(io.Discard, s)
		return err
	})
}

// tlsClient makes hellos of many shapes: versions, suites, curves, protocols, with a name and without: tls-client COUNT.
func tlsClient(ctx context.Context, args []string) error {
	suites := tls.CipherSuites()
	words := []string{"h2", "http/1.1", "imap", "pop3", "mqtt", "acme-tls/1", "postgresql", "coap", "ntske/1", "dot", "stun.turn", "managesieve", "nntp", "x-own", "ftp", "sip/2", "webrtc", "c-webrtc", "grpc-exp"}
	return many(args, func(i int) error {
		r := mrand.New(mrand.NewPCG(uint64(i), 7))
		c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, MaxVersion: []uint16{tls.VersionTLS12, tls.VersionTLS13}[i&1]}
		if i%5 != 0 {
			c.ServerName = odd(i)
		}
		for range r.IntN(4) {
			c.NextProtos = append(c.NextProtos, words[r.IntN(len(words))])
		}
		for range 1 + r.IntN(8) {
			c.CipherSuites = append(c.CipherSuites, suites[r.IntN(len(suites))].ID)
		}
		if i%3 == 0 {
			c.CurvePreferences = []tls.CurveID{[]tls.CurveID{tls.X25519, tls.CurveP256, tls.X25519MLKEM768, tls.CurveP384}[r.IntN(4)]}
		}
		d := tls.Dialer{Config: c, NetDialer: &net.Dialer{Timeout: 5 * time.Second}}
		port := []int{443, 8443, 993, 5223, 853, 636, 4443}[i%7]
		conn, err := d.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", serverAddr, port))
		var alert tls.AlertError
		var op *net.OpError
		if errors.As(err, &alert) || errors.As(err, &op) && op.Op == "remote error" {
			return nil // the hello was made, and refused
		}
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// odd is a name of nobody's.
func odd(i int) string {
	tld := []string{"example", "test", "invalid", "example.org", "example.net"}
	word := []string{"shop", "bank", "news", "mail", "files", "cdn", "api", "play", "video", "login", "telemetry", "signal-box", "line-up", "zoomed", "wired", "teamsport", "slackline"}
	return fmt.Sprintf("%s%d.%s", word[i%len(word)], i, tld[i/7%len(tld)])
}

// many does something so many times, eight at a time, and minds errors only when nothing went well.
func many(args []string, do func(i int) error) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var last error
	good, next := 0, make(chan int)
	for range 8 {
		group.Go(func() {
			for i := range next {
				err := do(i)
				mu.Lock()
				if err == nil {
					good++
				} else {
					last = err
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	fmt.Printf("%d of %d went well; the last error: %v\n", good, n, last)
	if good == 0 {
		return last
	}
	return nil
}

// noisePorts are those where messengers are found, and some others.
var noisePorts = []int{80, 443, 1863, 3478, 4244, 5050, 5060, 5190, 5222, 5242, 5243, 6667, 7985, 7987, 8000, 8801, 8443, 9785, 9987, 27015, 33033, 33445, 50000, 64738}

// noiseServer answers bytes of no grammar with others, as a tunnel that is encrypted from its first byte.
func noiseServer(ctx context.Context, _ []string) error {
	for _, port := range noisePorts {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", serverAddr, port))
		if err != nil {
			return err
		}
		u, err := net.ListenPacket("udp", fmt.Sprintf("%s:%d", serverAddr, port))
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(5 * time.Second))
					b := make([]byte, 4096)
					for {
						if _, err := c.Read(b); err != nil {
							return
						}
						_, _ = c.Write(noise())
					}
				}()
			}
		}()
		go func() {
			b := make([]byte, 4096)
			for {
				_, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = u.WriteTo(noise(), from)
			}
		}()
	}
	<-ctx.Done()
	return nil
}

func noise() []byte {
	b := make([]byte, 8+mrand.IntN(600))
	_, _ = rand.Read(b)
	return b
}

// noiseClient speaks noise over TCP and UDP in turn, twice each: noise-client COUNT.
func noiseClient(ctx context.Context, args []string) error {
	return many(args, func(i int) error {
		d := net.Dialer{Timeout: 5 * time.Second}
		c, err := d.DialContext(ctx, []string{"tcp", "udp"}[i&1], fmt.Sprintf("%s:%d", serverAddr, noisePorts[i/2%len(noisePorts)]))
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		b := make([]byte, 4096)
		for range 2 {
			if _, err := c.Write(noise()); err != nil {
				return err
			}
			if _, err := c.Read(b); err != nil {
				return err
			}
		}
		return nil
	})
}
