# Postfix: takes mail for two people of one domain, with opportunistic TLS; round@ and, in one transaction to two addresses of it,
# twice@ lead back to the house. What is written here goes out, over TLS that DANE proves where there are such
# records.
account postfix 101 /var/spool/postfix
account postdrop 102 /
mkdir -p "$root/etc/postfix" "$root/var/lib/postfix" "$root/var/spool/postfix" "$root/var/log"
cat > "$root/etc/postfix/main.cf" <<X
compatibility_level = 3.6
myhostname = mx.$domain
mydestination =
virtual_mailbox_domains = $domain
virtual_mailbox_maps = inline:{ben@$domain=ben, cleo@$domain=cleo}
virtual_alias_maps = inline:{round@$domain=round@home.test, {twice@$domain = round@home.test, around@home.test}}
virtual_mailbox_base = /vmail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
virtual_mailbox_limit = 0
inet_interfaces = $address
inet_protocols = $(case $address in *:*) echo ipv6 ;; *) echo ipv4 ;; esac)
smtpd_tls_security_level = may
smtpd_tls_cert_file = /far.crt
smtpd_tls_key_file = /far.key
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
smtp_dns_support_level = dnssec
smtp_tls_security_level = dane
smtp_tls_loglevel = 1
smtpd_client_connection_count_limit = 0
# ben+anything is ben.
recipient_delimiter = +
local_recipient_maps =
in_flow_delay = 0
# A loop is ours to end.
hopcount_limit = 200
maillog_file = /var/log/mail.log
shlib_directory = /usr/lib/postfix
daemon_directory = /usr/lib/postfix/sbin
alias_maps =
alias_database =
X
cp "$root/usr/share/postfix/master.cf.dist" "$root/etc/postfix/master.cf"
sed -i -e 's/^\([a-z0-9-]\+ \+[a-z-]\+ \+[^ ]\+ \+[^ ]\+ \+\)y/\1n/' "$root/etc/postfix/master.cf"
grep -q ^postlog "$root/etc/postfix/master.cf" || echo 'postlog unix-dgram n - n - 1 postlogd' >> "$root/etc/postfix/master.cf"
: > "$root/var/log/mail.log"
touch "$root/etc/postfix/dynamicmaps.cf" "$root/etc/postfix/postfix-files"
# What the package's own installation script would have done.
chown 101 "$root/var/lib/postfix"
rm -rf "$root/var/spool/postfix/pid"
for folder in active bounce corrupt defer deferred flush hold incoming private saved trace; do
  rm -rf "${root:?}/var/spool/postfix/$folder"
  install -d -o 101 -m 700 "$root/var/spool/postfix/$folder"
done
install -d -o 101 -g 102 -m 730 "$root/var/spool/postfix/maildrop"
install -d -o 101 -g 102 -m 710 "$root/var/spool/postfix/public"
install -d -m 755 "$root/var/spool/postfix/pid"
in_root postfix start >/dev/null 2>&1 || { cat "$root/var/log/mail.log"; exit 1; }
exec sleep infinity
