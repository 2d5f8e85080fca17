package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/gotd/td/telegram"
	"github.com/gotd/td/telegram/dcs"
	"github.com/gotd/td/tg"
	"github.com/gotd/td/tgtest"
	"github.com/gotd/td/tgtest/services"
	"github.com/gotd/td/tgtest/services/config"
	"github.com/gotd/td/transport"
)

// telegramPorts are where the server takes each transport.
var telegramPorts = map[string]int{"plain": 443, "full": 8888}

// telegramServer is gotd's test server: telegram-server KEYFILE.
func telegramServer(ctx context.Context, args []string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)})
	if err := os.WriteFile(args[0], text, 0o644); err != nil {
		return err
	}
	d := tgtest.NewDispatcher().Fallback(services.NotImplemented)
	config.NewService(&tg.Config{}, &tg.CDNConfig{}).Register(d)
	failed := make(chan error, len(telegramPorts))
	for kind, port := range telegramPorts {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", serverAddr, port))
		if err != nil {
			return err
		}
		s := tgtest.NewServer(tgtest.NewPrivateKey(key), tgtest.UnpackInvoke(d), tgtest.ServerOptions{DC: 2})
		on := transport.Listen(l)
		if kind == "full" {
			on = transport.ListenCodec(transport.Full.Codec, l)
		}
		go func() { failed <- s.Serve(ctx, on) }()
	}
	return <-failed
}

// telegramClient is gotd's client: telegram-client KEYFILE TRANSPORT.
func telegramClient(ctx context.Context, args []string) error {
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("no key in the file")
	}
	public, err := x509.ParsePKCS1PublicKey(block.Bytes)
	if err != nil {
		return err
	}
	option := tg.DCOption{ID: 2, IPAddress: serverAddr, Port: telegramPorts["plain"]}
	plain := dcs.PlainOptions{Protocol: transport.Intermediate}
	switch args[1] {
	case "abridged":
		plain.Protocol = transport.Abridged
	case "padded":
		plain.Protocol = transport.PaddedIntermediate
	case "full":
		plain.Protocol, option.Port = transport.Full, telegramPorts["full"]
	}
	client := telegram.NewClient(telegram.TestAppID, telegram.TestAppHash, telegram.Options{
		PublicKeys: []telegram.PublicKey{{RSA: public}}, DC: 2, DCList: dcs.List{Options: []tg.DCOption{option}}, Resolver: dcs.Plain(plain),
		NoUpdates: true, Device: telegram.DeviceConfig{DeviceModel: "desk", SystemVersion: "1", AppVersion: "1"},
	})
	ctx, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	return client.Run(ctx, func(ctx context.Context) error {
		_, err := client.API().HelpGetConfig(ctx)
		return err
	})
}
