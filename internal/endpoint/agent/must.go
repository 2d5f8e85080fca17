package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

// mustPatterns are the programs that a machine cannot be run, reached and repaired without. What is there starts whatever policy says, as
// long as only root can change it.
func mustPatterns() []string {
	return []string{
		// start, sign-in, shells and what an administrator repairs a machine with
		"/sbin/init", "/usr/lib/systemd/systemd*", "/lib/systemd/systemd*", "/usr/bin/systemctl", "/usr/bin/journalctl", "/usr/bin/loginctl",
		"/bin/systemctl", "/bin/journalctl", "/bin/login", "/usr/bin/login", "/sbin/agetty", "/usr/sbin/agetty", "/sbin/sulogin", "/usr/sbin/sulogin",
		"/bin/sh", "/bin/dash", "/bin/bash", "/bin/busybox", "/usr/bin/sudo", "/bin/su", "/usr/bin/su", "/sbin/unix_chkpwd", "/usr/sbin/unix_chkpwd",
		"/bin/kill", "/usr/bin/kill", "/bin/mount", "/bin/umount", "/sbin/reboot", "/sbin/shutdown", "/usr/bin/dbus-daemon", "/usr/bin/dbus-broker*",
		"/usr/sbin/sshd", "/usr/lib/openssh/*", "/usr/libexec/openssh/*", "/usr/bin/ssh",
		// packages
		"/usr/bin/dpkg*", "/usr/bin/apt*", "/usr/lib/apt/methods/*", "/usr/lib/apt/apt*", "/usr/bin/rpm*", "/usr/bin/dnf*", "/usr/bin/yum", "/usr/bin/zypper",
		"/usr/bin/snap", "/usr/lib/snapd/*", "/usr/bin/flatpak", "/usr/libexec/platform-python*", // which dnf is written in
		"/bin/tar", "/usr/bin/tar", "/bin/rm", "/usr/bin/rm", // which dpkg starts
		// network and VPN
		"/usr/sbin/NetworkManager", "/usr/lib/NetworkManager/*", "/usr/libexec/nm-*", "/usr/bin/nmcli", "/sbin/dhclient", "/usr/sbin/dhclient",
		"/usr/sbin/dhcpcd", "/sbin/wpa_supplicant", "/usr/sbin/wpa_supplicant", "/usr/sbin/iwd", "/usr/libexec/iwd", "/bin/ip", "/sbin/ip", "/usr/sbin/nft", "/usr/sbin/iptables*",
		"/usr/sbin/openvpn", "/usr/sbin/openconnect", "/usr/lib/ipsec/*", "/usr/sbin/ipsec", "/usr/sbin/swanctl", "/usr/bin/wg*", "/usr/sbin/tailscaled", "/usr/bin/tailscale",
		"/opt/cisco/secureclient/bin/*", "/opt/cisco/anyconnect/bin/*", "/opt/paloaltonetworks/globalprotect/*",
		// management clients
		"/usr/bin/salt-minion", "/opt/puppetlabs/puppet/bin/*", "/usr/bin/chef-client", "/opt/chef/bin/*", "/usr/bin/osqueryd", "/opt/osquery/bin/*",
		"/opt/CrowdStrike/*", "/opt/microsoft/mdatp/sbin/*", "/opt/microsoft/intune/bin/*", "/opt/microsoft/omsagent/bin/*", "/usr/bin/landscape-*",
		"/usr/sbin/fleet*", "/opt/orbit/bin/*", "/usr/sbin/auditd", "/usr/sbin/zabbix_agent*", "/usr/bin/node_exporter",
		// ourselves
		"/usr/bin/chaperone*", "/var/lib/dpkg/info/chaperone.*",
	}
}

// loaderPatterns are the dynamic loaders, without which nothing of the above starts.
func loaderPatterns() []string {
	return []string{"/lib64/ld-linux*.so*", "/lib/ld-linux*.so*", "/lib/*/ld-linux*.so*", "/lib64/ld64.so*", "/lib/ld-musl-*.so*", "/usr/lib64/ld-linux*.so*"}
}

// loaders returns the SHA-256 of the loaders that are here.
func loaders() ([]string, error) {
	var out []string
	for _, path := range expand(loaderPatterns()) {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		out = append(out, hex.EncodeToString(sum[:]))
	}
	return out, nil
}

func expand(patterns []string) []string {
	var out []string
	for _, p := range patterns {
		found, _ := filepath.Glob(p) // the patterns are good
		out = append(out, found...)
	}
	return out
}

// maxMust bounds what the holder is told of.
const maxMust = 2000

// mustRun finds the programs of the must-run set that are here.
func mustRun() []wire.Key {
	var out []wire.Key
	known := map[wire.Key]bool{}
	for _, path := range append(expand(loaderPatterns()), expand(mustPatterns())...) {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || !wire.RootOnly(&st) || st.Mode&0o111 == 0 {
			continue
		}
		if k := wire.KeyOf(&st); !known[k] && len(out) < maxMust {
			known[k] = true
			out = append(out, k)
		}
	}
	return out
}
