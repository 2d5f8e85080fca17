package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// matrix: a client of each of two homeservers, of which one invites the other's into a room and writes there; the homeservers meet over TLS.
func matrix(w *wire) error {
	names := []string{"talk.example", "other.example"}
	if err := errors.Join(w.certificate(names...), w.start(w.server, "dnsmasq", "-k", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root",
		"--listen-address="+nameServer, "--bind-interfaces", "--address=/talk.example/"+serverAddr, "--address=/other.example/"+clientAddr)); err != nil {
		return err
	}
	for i, side := range []string{w.server, w.client} {
		if err := w.homeserver(side, names[i], []string{serverAddr, clientAddr}[i]); err != nil {
			return err
		}
	}
	script, err := w.write("matrix.py", `import asyncio, nio
async def main():
    bob = nio.AsyncClient("http://`+clientAddr+`:8008", "@bob:other.example")
    print(await bob.register("bob", "secret-of-bob"))
    alice = nio.AsyncClient("http://`+serverAddr+`:8008", "@alice:talk.example")
    print(await alice.register("alice", "secret-of-alice"))
    room = await alice.room_create(name="room", invite=["@bob:other.example"])
    print(room)
    print(await alice.room_send(room.room_id, "m.room.message", {"msgtype": "m.text", "body": "lunch at noon?"}))
    print(await alice.sync(timeout=1000))
    await asyncio.sleep(4)
    await bob.sync(timeout=1000)
    print(await bob.join(room.room_id))
    await asyncio.sleep(2)
    await alice.close()
    await bob.close()
asyncio.run(main())
`)
	return errors.Join(err, w.await(8008), w.await(8448), w.rest(2*time.Second), w.do(60*time.Second, w.client, "python3", script))
}

// homeserver starts Dendrite with databases in files.
func (w *wire) homeserver(side, name, addr string) error {
	dir := w.path(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	conf := "version: 2\nglobal:\n  server_name: " + name + "\n  private_key: " + dir + "/key.pem\n  jetstream: {storage_path: " + dir + ", in_memory: true}\n  disable_federation: false\n" +
		"client_api: {registration_disabled: false}\nmedia_api: {base_path: " + dir + "/media, database: {connection_string: 'file:" + dir + "/media.db'}}\n" +
		"user_api: {account_database: {connection_string: 'file:" + dir + "/account.db'}}\nsync_api: {database: {connection_string: 'file:" + dir + "/sync.db'}, search: {enabled: false, index_path: " + dir + "/index}}\n"
	for _, api := range []string{"app_service_api", "federation_api", "key_server", "mscs", "relay_api", "room_server"} {
		conf += api + ": {database: {connection_string: 'file:" + dir + "/" + api + ".db'}}\n"
	}
	path, err := w.write(name+".yaml", conf)
	return errors.Join(err, w.do(20*time.Second, side, w.program("generate-keys"), "--private-key", dir+"/key.pem"),
		w.start(side, w.program("dendrite"), "-config", path, "-http-bind-address", addr+":8008", "-https-bind-address", addr+":8448",
			"-tls-cert", w.path("cert.pem"), "-tls-key", w.path("key.pem"), "-really-enable-open-registration"))
}

// deltaChat: the core of Delta Chat looks for an account at a server where the port of the web serves mail too, as chatmail relays do. What
// answers there is no mail server: the client's first words are the sample.
func deltaChat(w *wire) error {
	script, err := w.write("rpc.sh", `exec 3> >(`+w.module("@deltachat/stdio-rpc-server-linux-x64/deltachat-rpc-server")+`)
say() { echo "$1" >&3; sleep 1; }
say '{"jsonrpc":"2.0","id":1,"method":"add_account","params":[]}'
say '{"jsonrpc":"2.0","id":2,"method":"add_or_update_transport","params":[1,{"addr":"alice@chat.example","password":"secret","imapServer":"chat.example","imapPort":443,"imapSecurity":"ssl","imapUser":"alice@chat.example","smtpServer":"chat.example","smtpPort":443,"smtpSecurity":"ssl","smtpUser":"alice@chat.example","smtpPassword":"secret","certificateChecks":"acceptInvalidCertificates","oauth2":false}]}'
sleep 12
`)
	hosts := os.WriteFile("/etc/netns/"+w.client+"/hosts", []byte("127.0.0.1 localhost\n"+serverAddr+" chat.example\n"), 0o644) // it takes no answer without AAAA
	return errors.Join(err, hosts, w.certificate("chat.example"),
		w.start(w.server, "sh", "-c", fmt.Sprintf("sleep 60 | openssl s_server -accept %s:443 -key %s -cert %s -alpn imap,smtp -quiet", serverAddr, w.path("key.pem"), w.path("cert.pem"))),
		w.rest(2*time.Second), w.do(30*time.Second, w.client, "bash", script))
}

// mumble: a server list asks a server how it is, and a client signs in and reads the channels.
func mumble(w *wire) error {
	conf, err := w.write("murmur.ini", "database="+w.path("murmur.sqlite")+"\nhost="+serverAddr+"\nport=64738\nlogfile=\nuname=\nusers=8\nregisterName=room\n")
	if err != nil {
		return err
	}
	script, err := w.write("mumble.mjs", `import { Client } from "`+w.module("@tf2pickup-org/mumble-client/dist/index.js")+`";
import { GameDig } from "`+w.module("gamedig/lib/index.js")+`";
const host = "`+serverAddr+`";
console.log(await GameDig.query({ type: "protocol-mumbleping", host, port: 64738 }));
const client = new Client({ host, port: 64738, username: "alice", rejectUnauthorized: false });
await client.connect();
console.log(client.welcomeText);
await new Promise((done) => setTimeout(done, 3000));
client.disconnect();
process.exit(0);
`)
	return errors.Join(err, w.start(w.server, "murmurd", "-fg", "-ini", conf), w.await(64738), w.do(30*time.Second, w.client, "node", script))
}
