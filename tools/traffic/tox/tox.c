// tox.c: a node of the Tox network, by c-toxcore: tox server|client IDFILE ADDRESS. The server waits for a friend; the client adds the
// server as a friend through it, and both talk.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <tox/tox.h>

static int talked;

static void request(Tox *t, const uint8_t *key, const uint8_t *m, size_t n, void *u) {
	(void)m, (void)n, (void)u;
	tox_friend_add_norequest(t, key, NULL);
}

static void message(Tox *t, uint32_t friend, TOX_MESSAGE_TYPE kind, const uint8_t *m, size_t n, void *u) {
	(void)kind, (void)m, (void)n, (void)u;
	tox_friend_send_message(t, friend, TOX_MESSAGE_TYPE_NORMAL, (const uint8_t *)"yes", 3, NULL);
	talked++;
}

static void status(Tox *t, uint32_t friend, TOX_CONNECTION c, void *u) {
	(void)u;
	if (c != TOX_CONNECTION_NONE)
		tox_friend_send_message(t, friend, TOX_MESSAGE_TYPE_NORMAL, (const uint8_t *)"lunch at noon?", 14, NULL);
}

int main(int n, char **args) {
	if (n < 4)
		return 2;
	int server = !strcmp(args[1], "server");
	struct Tox_Options *o = tox_options_new(NULL);
	tox_options_set_ipv6_enabled(o, false);
	tox_options_set_local_discovery_enabled(o, false);
	tox_options_set_start_port(o, 33445);
	tox_options_set_end_port(o, 33445);
	tox_options_set_tcp_port(o, server ? 33445 : 0);
	Tox *t = tox_new(o, NULL);
	if (!t)
		return 1;
	tox_callback_friend_request(t, request);
	tox_callback_friend_message(t, message);
	tox_callback_friend_connection_status(t, status);
	uint8_t id[TOX_ADDRESS_SIZE], key[TOX_PUBLIC_KEY_SIZE];
	FILE *f = fopen(args[2], server ? "wb" : "rb");
	if (!f)
		return 1;
	if (server) {
		tox_self_get_dht_id(t, key);
		tox_self_get_address(t, id);
		fwrite(id, 1, sizeof id, f), fwrite(key, 1, sizeof key, f);
	} else {
		if (fread(id, 1, sizeof id, f) != sizeof id || fread(key, 1, sizeof key, f) != sizeof key)
			return 1;
		tox_bootstrap(t, args[3], 33445, key, NULL);
		tox_add_tcp_relay(t, args[3], 33445, key, NULL);
		tox_friend_add(t, id, (const uint8_t *)"hello", 5, NULL);
	}
	fclose(f);
	for (int i = 0; i < 1200 && talked < 3; i++) {
		tox_iterate(t, NULL);
		usleep(25000);
	}
	tox_kill(t);
	return 0;
}
