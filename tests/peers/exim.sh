# Exim: relays everything to HOST with verified TLS; queue runs at once.
account Debian-exim 103 /var/spool/exim4
mkdir -p "$root/etc/exim4" "$root/var/log/exim4" "$root/var/spool/exim4"
rm -rf "$root/var/spool/exim4/"*
chown -R 103:103 "$root/var/log/exim4" "$root/var/spool/exim4"
cat > "$root/etc/exim4/exim4.conf" <<X
primary_hostname = sender.example.org
log_selector = +tls_cipher +tls_certificate_verified
tls_advertise_hosts =
local_interfaces = <; 127.0.0.1
keep_environment =
begin routers
relay:
  driver = manualroute
  route_list = * $host::$port byname
  transport = tls
  self = send
begin transports
tls:
  driver = smtp
  hosts_require_tls = *
  tls_verify_hosts = *
  tls_verify_certificates = /authority.pem
  tls_verify_cert_hostnames = *
X
if [ -n "${PEER_DNS:-}" ]; then
  # As Debian has it: TLS where it is offered, DANE where there is any, no certificate demanded.
  cat > "$root/etc/exim4/exim4.conf" <<X
primary_hostname = sender.example.org
log_selector = +tls_cipher +tls_certificate_verified
tls_advertise_hosts =
local_interfaces = <; 127.0.0.1
keep_environment =
begin routers
mx:
  driver = dnslookup
  transport = smtp
  ignore_target_hosts = 127.0.0.0/8
begin transports
smtp:
  driver = smtp
  tls_verify_certificates = /authority.pem
  tls_try_verify_hosts = *
begin retry
* * F,2h,4s
X
fi
chmod 644 "$root/etc/exim4/exim4.conf"
: > "$root/var/log/exim4/mainlog"; chown 103:103 "$root/var/log/exim4/mainlog"
# Where the first attempt may wait for long, it is not waited for.
mode=-odf
[ -z "${PEER_DNS:-}" ] || mode=-odb
submit() { in_root sh -c 'exec exim4 "$0" -oi -f "$@" < /message.eml' "$mode" "$from" "$@"; }
letters "$@"
again in_root exim4 -qff
status=0
wait_empty in_root exim4 -bpr || status=$?
cat "$root/var/log/exim4/mainlog"
# A message that failed for good leaves the queue too.
grep -q ' \*\* ' "$root/var/log/exim4/mainlog" && status=1
exit $status
