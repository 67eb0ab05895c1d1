# Postfix: a null client that relays everything to HOST with verified TLS.
account postfix 101 /var/spool/postfix
account postdrop 102 /
mkdir -p "$root/etc/postfix" "$root/var/lib/postfix" "$root/var/spool/postfix" "$root/var/log"
cat > "$root/etc/postfix/main.cf" <<X
compatibility_level = 3.6
myhostname = sender.example.org
mydestination =
relayhost = [$host]:$port
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_host_lookup = native
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = hostname
smtp_tls_CAfile = /authority.pem
smtp_tls_loglevel = 1
maillog_file = /var/log/mail.log
shlib_directory = /usr/lib/postfix
daemon_directory = /usr/lib/postfix/sbin
alias_maps =
alias_database =
X
if [ -n "${PEER_DNS:-}" ]; then
  # As Debian has it, but for the waits: TLS where it is offered, and a cache of sessions.
  sed -i -e '/^relayhost/d' -e '/^smtp_host_lookup/d' -e '/^smtp_tls_sec/d' "$root/etc/postfix/main.cf"
  cat >> "$root/etc/postfix/main.cf" <<X
smtp_tls_security_level = may
smtp_tls_session_cache_database = btree:\${data_directory}/smtp_scache
smtp_host_lookup = dns
minimal_backoff_time = 4s
maximal_backoff_time = 8s
queue_run_delay = 4s
X
fi
cp -n "$root/usr/share/postfix/master.cf.dist" "$root/etc/postfix/master.cf" 2>/dev/null || true
# It sends only, and none of its services runs in a chroot of its own inside this one.
sed -i -e '/^smtp  *inet/d' -e '/^[a-z0-9-]\+ \+\(unix\|unix-dgram\)/s/^\([^ ]\+ \+[^ ]\+ \+[^ ]\+ \+[^ ]\+ \+\)y/\1n/' "$root/etc/postfix/master.cf"
grep -q ^postlog "$root/etc/postfix/master.cf" || echo 'postlog unix-dgram n - n - 1 postlogd' >> "$root/etc/postfix/master.cf"
: > "$root/var/log/mail.log"
touch "$root/etc/postfix/dynamicmaps.cf" "$root/etc/postfix/postfix-files"
# What the package's own installation script would have done.
chown postfix "$root/var/lib/postfix" 2>/dev/null || chown 101 "$root/var/lib/postfix"
# Nor is anything left of who used this folder before.
rm -rf "$root/var/spool/postfix/"{pid,maildrop}
for folder in active bounce corrupt defer deferred flush hold incoming private saved trace; do
  rm -rf "${root:?}/var/spool/postfix/$folder"
  install -d -o 101 -m 700 "$root/var/spool/postfix/$folder"
done
install -d -o 101 -g 102 -m 730 "$root/var/spool/postfix/maildrop"
install -d -o 101 -g 102 -m 710 "$root/var/spool/postfix/public"
install -d -m 755 "$root/var/spool/postfix/pid"
in_root postfix start >/dev/null 2>&1 || { cat "$root/var/log/mail.log"; exit 1; }
submit() { in_root sh -c 'exec sendmail -f "$0" "$@" < /message.eml' "$from" "$@"; }
letters "$@"
status=0
wait_empty in_root sh -c 'postqueue -j' || status=$?
in_root postfix stop >/dev/null 2>&1 || true
cat "$root/var/log/mail.log"
exit $status
