#!/bin/sh
# open.sh POLICY URL PROFILE: open URL in Chromium under a managed policy that only this mount namespace has, and print what it says.
set -eu
mkdir -p /etc/chromium
mount -t tmpfs tmpfs /etc/chromium
mkdir -p /etc/chromium/policies/managed
cp "$1" /etc/chromium/policies/managed/chaperone.json
exec timeout 300 chromium --headless=new --no-sandbox --disable-gpu --user-data-dir="$3" --dump-dom "$2" 2>&1
