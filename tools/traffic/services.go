package main

import (
	"errors"
	"os"
	"time"
)

func serviceClasses() []class {
	return []class{
		{"mail", "smtp-source, smtp-sink, swaks", func(w *wire, n func(int) string) error {
			return errors.Join(w.start(w.server, "smtp-sink", "-u", "postfix", "-c", "-8", serverAddr+":25", "500"), w.await(25),
				w.sh("smtp-source -m %s -s 20 -f a@example.org -t b@example.org %s:25; for i in $(seq %s); do swaks -S -t b@example.org -f a@example.org -s %s >/dev/null; done", n(6000), serverAddr, n(40), serverAddr))
		}},
		{"redis", "redis-benchmark, redis-server", func(w *wire, n func(int) string) error {
			return errors.Join(w.start(w.server, "redis-server", "--bind", serverAddr, "--protected-mode", "no", "--save", ""), w.await(6379),
				w.sh("redis-benchmark -h %s -k 0 -n %s -c 40 -t set,get -q >/dev/null", serverAddr, n(8000)))
		}},
		{"postgres", "pgbench, postgresql 15", postgres},
		{"mqtt", "mosquitto", func(w *wire, n func(int) string) error {
			conf, err := w.write("mosquitto.conf", "listener 1883 "+serverAddr+"\nallow_anonymous true\nuser root\n")
			return errors.Join(err, w.start(w.server, "mosquitto", "-c", conf), w.await(1883), w.sh("for i in $(seq %s); do mosquitto_pub -h %s -t room/$i -m hello; done", n(400), serverAddr))
		}},
		{"ssh", "ssh, ssh-keyscan, scp, rsync, borg, sshd", ssh},
		{"rsync", "rsync", func(w *wire, n func(int) string) error {
			conf, err := w.write("rsyncd.conf", "use chroot = no\n[files]\npath = /usr/share/doc/rsync\n")
			return errors.Join(err, w.start(w.server, "rsync", "--daemon", "--no-detach", "--config="+conf, "--address="+serverAddr), w.await(873),
				w.sh("for i in $(seq %s); do rsync -a rsync://%s/files $HOME/f$i; done", n(120), serverAddr))
		}},
		{"git", "git, git daemon", func(w *wire, n func(int) string) error {
			return errors.Join(w.do(20*time.Second, w.server, "bash", "-c", "git init -q --bare r.git && touch r.git/git-daemon-export-ok"),
				w.start(w.server, "git", "-c", "safe.directory=*", "daemon", "--listen="+serverAddr, "--base-path="+w.path(w.server), "--reuseaddr"), w.await(9418),
				w.sh("for i in $(seq %s); do git ls-remote git://%s/r.git; done; true", n(200), serverAddr))
		}},
		{"smb", "smbclient, smbd", func(w *wire, n func(int) string) error {
			if err := os.MkdirAll(w.path("smb"), 0o777); err != nil {
				return err
			}
			conf, err := w.write("smb.conf", "[global]\ninterfaces="+serverAddr+"\nbind interfaces only=yes\nmap to guest=bad user\nprivate dir="+w.path("smb")+"\nlock directory="+w.path("smb")+"\nstate directory="+w.path("smb")+
				"\ncache directory="+w.path("smb")+"\npid directory="+w.path("smb")+"\nncalrpc dir="+w.path("smb")+"\nlog file="+w.path("smb.log")+"\n[files]\npath=/usr/share/doc/rsync\nguest ok=yes\n")
			return errors.Join(err, w.start(w.server, "smbd", "-F", "--no-process-group", "-s", conf), w.await(445),
				w.sh("for i in $(seq %s); do smbclient -N -s %s //%s/files -c ls >/dev/null; done; true", n(50), conf, serverAddr))
		}},
		{"syslog and time", "logger, rsyslogd, chronyd, ntpdate, snmpget, snmpd", small},
		{"media", "ffmpeg, RTP", func(w *wire, n func(int) string) error {
			return w.sh(`for i in $(seq %s); do ffmpeg -v error -re -f lavfi -i sine=440 -t 1 -c:a $([ $((i%%2)) = 0 ] && echo pcm_mulaw -ar 8000 || echo aac) -f rtp rtp://%s:$((20000+2*i)); done; ffmpeg -v error -re -f lavfi -i testsrc=size=160x120:rate=10 -t 3 -f mpegts udp://%s:1234 ; true`, n(30), serverAddr, serverAddr)
		}},
		{"file sharing", "aria2, transmission-create", func(w *wire, n func(int) string) error {
			return w.sh(`head -c 300000 /dev/urandom > seed; transmission-create -o s.torrent seed >/dev/null
timeout 60 ip netns exec %s aria2c -q -d $HOME --check-integrity=true --seed-ratio=0 --listen-port=6881 --enable-dht --dht-listen-port=6881 --bt-external-ip=%s s.torrent & sleep 3
for i in $(seq %s); do timeout 20 aria2c -q -d $HOME/d$i --seed-time=0 --listen-port=$((7000+i)) --enable-dht --dht-listen-port=$((7000+i)) --dht-entry-point=%s:6881 --bt-enable-lpd s.torrent & done; sleep 25; true`, w.server, serverAddr, n(12), serverAddr)
		}},
	}
}

func postgres(w *wire, n func(int) string) error {
	dir := w.path("pg")
	script, err := w.write("one.sql", "select 1;\n")
	return errors.Join(err, w.do(time.Minute, w.server, "bash", "-c", "mkdir -m 700 "+dir+" && chown postgres "+dir+" && setpriv --reuid=postgres --regid=postgres --clear-groups initdb -D "+dir+" -U postgres -A trust >/dev/null && echo 'host all all 0.0.0.0/0 trust' >> "+dir+"/pg_hba.conf"),
		w.start(w.server, "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "postgres", "-D", dir, "-h", serverAddr, "-k", dir), w.await(5432), w.rest(2*time.Second),
		w.sh("pgbench -h %s -U postgres -n -C -c 8 -t %s -f %s postgres >/dev/null", serverAddr, n(350), script))
}

func ssh(w *wire, n func(int) string) error {
	if err := w.do(20*time.Second, w.server, "bash", "-c", "ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f user; chmod 755 .; mkdir -p /run/sshd; cp user.pub keys"); err != nil {
		return err
	}
	home := w.path(w.server)
	conf, err := w.write("sshd.conf", "ListenAddress "+serverAddr+"\nHostKey "+home+"/host\nAuthorizedKeysFile "+home+"/keys\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nMaxStartups 300\nPidFile none\nPerSourceMaxStartups none\n")
	login := "ssh -q -F none -i " + home + "/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
	return errors.Join(err, w.start(w.server, "/usr/sbin/sshd", "-D", "-f", conf), w.await(22),
		w.sh("for i in $(seq %s); do ssh-keyscan -T 3 %s >/dev/null 2>&1; done; for i in $(seq %s); do %s root@%s true; done; for i in 1 2 3 4 5 6; do rsync -a -e '%s' root@%s:/usr/share/doc/rsync ./r$i; done; export BORG_RSH='%s' BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes; borg init -e none ssh://root@%s%s/borg; borg create ssh://root@%s%s/borg::one /usr/share/doc/rsync; true",
			n(200), serverAddr, n(60), login, serverAddr, login, serverAddr, login, serverAddr, home, serverAddr, home))
}

func small(w *wire, n func(int) string) error {
	log, err := w.write("rsyslog.conf", "module(load=\"imudp\")\nmodule(load=\"imtcp\")\ninput(type=\"imudp\" port=\"514\")\ninput(type=\"imtcp\" port=\"514\")\n*.* "+w.path("messages")+"\n")
	clock, err2 := w.write("chrony.conf", "local stratum 5\nallow\nbindaddress "+serverAddr+"\npidfile "+w.path("chrony.pid")+"\nbindcmdaddress /\ncmdport 0\n")
	snmp, err3 := w.write("snmpd.conf", "rocommunity public\n")
	return errors.Join(err, err2, err3, w.start(w.server, "rsyslogd", "-n", "-i", "NONE", "-f", log), w.start(w.server, "chronyd", "-x", "-d", "-u", "root", "-f", clock),
		w.start(w.server, "snmpd", "-f", "-C", "-c", snmp, "udp:"+serverAddr+":161"), w.rest(2*time.Second),
		w.sh("for i in $(seq %s); do logger -n %s -P 514 -d message $i; logger -n %s -P 514 -T message $i; done; for i in $(seq %s); do ntpdate -q %s; snmpget -v2c -c public -t 1 -r 0 %s 1.3.6.1.2.1.1.1.0; done >/dev/null 2>&1; true", n(1200), serverAddr, serverAddr, n(150), serverAddr, serverAddr))
}

func tunnelClasses() []class {
	return []class{
		{"shadowsocks", "shadowsocks-libev, curl, nginx", func(w *wire, n func(int) string) error {
			run := []string{"-s", serverAddr, "-k", "secret", "-m", "chacha20-ietf-poly1305", "-u"}
			return errors.Join(w.names(), w.web("shop.example"), w.start(w.server, append([]string{"ss-server"}, append(run, "-p", "8388")...)...),
				w.start(w.client, append([]string{"ss-local"}, append(run, "-p", "8388", "-b", "127.0.0.1", "-l", "1080")...)...), w.rest(2*time.Second),
				w.sh("for i in $(seq %s); do curl -s -o /dev/null --socks5 127.0.0.1:1080 'http://%s/[1-20]' -H 'Connection: close'; done; true", n(80), serverAddr))
		}},
		{"turn", "turnutils_uclient, turnserver", func(w *wire, n func(int) string) error {
			return errors.Join(w.start(w.server, "turnserver", "-n", "-L", serverAddr, "-E", serverAddr, "-a", "-u", "user:secret", "-r", "calls.example", "--no-cli", "--allow-loopback-peers", "--log-file", "stdout"), w.rest(2*time.Second),
				w.sh("timeout 40 turnutils_uclient -u user -w secret -y -c -m %s -n 4 %s; timeout 20 turnutils_uclient -t -u user -w secret -y -c -m %s -n 3 %s; for i in $(seq 60); do turnutils_stunclient %s; done; true", n(120), serverAddr, n(40), serverAddr, serverAddr))
		}},
		{"openvpn", "openvpn", func(w *wire, n func(int) string) error {
			return errors.Join(w.certificate("vpn.example"), w.start(w.server, "openvpn", "--dev", "null", "--tls-server", "--mode", "server", "--dh", "none", "--local", serverAddr, "--ca", w.path("cert.pem"), "--cert", w.path("cert.pem"),
				"--key", w.path("key.pem"), "--duplicate-cn", "--verb", "1", "--server", "10.9.0.0", "255.255.255.0"), w.rest(2*time.Second),
				w.sh("for i in $(seq %s); do timeout 2 openvpn --dev null --tls-client --nobind --remote %s --proto $([ $((i%%3)) = 0 ] && echo tcp-client || echo udp) --ca %s --cert %s --key %s --verb 0; done; true", n(20), serverAddr, w.path("cert.pem"), w.path("cert.pem"), w.path("key.pem")))
		}},
		{"noise", "this program: bytes of no grammar, on 24 ports", func(w *wire, n func(int) string) error {
			return errors.Join(w.start(w.server, w.self, "speak", "noise-server"), w.await(64738), w.do(4*time.Minute, w.client, w.self, "speak", "noise-client", n(16000)))
		}},
	}
}
