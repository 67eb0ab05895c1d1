# Exim: takes mail for two people of one domain, with STARTTLS.
account Debian-exim 103 /var/spool/exim4
mkdir -p "$root/etc/exim4" "$root/var/log/exim4" "$root/var/spool/exim4"
rm -rf "$root/var/spool/exim4/"*
: > "$root/var/log/exim4/mainlog"
chown -R 103:103 "$root/var/log/exim4" "$root/var/spool/exim4"
# It reads its key without being root.
chown 103:103 "$root/far.key"
cat > "$root/etc/exim4/exim4.conf" <<X
primary_hostname = mx.$domain
local_interfaces = $address
tls_advertise_hosts = *
tls_certificate = /far.crt
tls_privatekey = /far.key
log_selector = +tls_cipher
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = people
message_size_limit = 64K
# However much comes over one connection, it is delivered at once.
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
queue_run_max = 0
begin acl
people:
  accept domains = $domain
         local_parts = ben : cleo : ^ben[+]
  deny message = no such person here
begin routers
people:
  driver = accept
  domains = $domain
  local_part_suffix = +*
  local_part_suffix_optional
  local_parts = ben : cleo
  transport = box
begin transports
box:
  driver = appendfile
  file = /vmail/\$local_part_data
  user = 5000
  group = 5000
  return_path_add
  envelope_to_add
X
chmod 644 "$root/etc/exim4/exim4.conf"
in_root exim4 -bdf -q30s
