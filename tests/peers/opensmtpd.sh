# OpenSMTPD: relays everything to HOST with verified TLS.
account opensmtpd 104 /run/opensmtpd
account opensmtpq 105 /run/opensmtpd
rm -rf "$root/var/run" "$root/run/smtpd.sock" "$root/var/spool/smtpd"
ln -s /run "$root/var/run"
mkdir -p "$root/run/opensmtpd" "$root/var/empty" "$root/var/spool/smtpd" "$root/etc/mail"
cat > "$root/etc/smtpd.conf" <<X
listen on socket
action "out" relay host "smtp+tls://$host:$port" tls helo sender.example.org
match from any for any action "out"
X
if [ -n "${PEER_DNS:-}" ]; then
  sed -i 's|^action.*|action "out" relay helo sender.example.org|' "$root/etc/smtpd.conf"
fi
# It trusts the system's authorities only.
mkdir -p "$root/etc/ssl/certs"
cp "$root/authority.pem" "$root/etc/ssl/certs/ca-certificates.crt"
cp "$root/authority.pem" "$root/etc/ssl/cert.pem"
mkdir -p "$root/usr/lib/ssl"; ln -sfn /etc/ssl/cert.pem "$root/usr/lib/ssl/cert.pem"
# What the package's own installation script would have done.
ln -sf smtpctl "$root/usr/sbin/sendmail"
chown 0:105 "$root/usr/sbin/smtpctl"
chmod 2755 "$root/usr/sbin/smtpctl"
chmod 711 "$root/var/spool/smtpd"
in_root smtpd -d -v -f /etc/smtpd.conf > "$root/var/log/smtpd.log" 2>&1 &
for _ in $(seq 300); do [ -S "$root/run/smtpd.sock" ] && break; sleep 0.1; done
submit() { in_root sh -c 'exec /usr/sbin/sendmail -f "$0" "$@" < /message.eml' "$from" "$@"; }
letters "$@"
again in_root smtpctl schedule all
status=0
wait_empty in_root smtpctl show queue || status=$?
cat "$root/var/log/smtpd.log"
grep -q 'result="Ok"' "$root/var/log/smtpd.log" || status=1
exit $status
