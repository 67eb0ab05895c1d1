# Sendmail: finds its way by DNS, TLS where it is offered.
account smmta 106 /var/lib/sendmail
account smmsp 107 /var/lib/sendmail
mkdir -p "$root/etc/mail" "$root/var/log"
rm -rf "$root/var/spool/mqueue"
mkdir -p "$root/var/lib/sendmail/host_status"
install -d -o 0 -g 0 -m 700 "$root/var/spool/mqueue"
cat > "$root/etc/mail/test.mc" <<'X'
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`debian')dnl
define(`confDOMAIN_NAME', `sender.example.org')dnl
define(`confCACERT', `/authority.pem')dnl
define(`confCACERT_PATH', `/etc/ssl/certs')dnl
define(`confLOG_LEVEL', `14')dnl
dnl However busy the machine, it sends at once.
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch')dnl
FEATURE(`nouucp', `reject')dnl
MAILER(`local')dnl
MAILER(`smtp')dnl
X
printf 'hosts\tfiles dns\naliases\tfiles\n' > "$root/etc/mail/service.switch"
mkdir -p "$root/etc/ssl/certs"
in_root sh -c 'cd /etc/mail && m4 test.mc > test.cf'
: > "$root/etc/mail/aliases"
# It logs to syslog only.
rm -f "$root/var/log/mail.log"
sendmail() { in_root /usr/libexec/sendmail/sendmail -C /etc/mail/test.cf "$@"; }
submit() { sendmail -Am -odb -oi -X "/var/log/mail.log" -f "$from" "$@" < "$root/message.eml"; }
letters "$@"
again in_root /usr/libexec/sendmail/sendmail -C /etc/mail/test.cf -X /var/log/mail.log -q
status=0
wait_empty ls -A "$root/var/spool/mqueue" || status=$?
cat "$root/var/log/mail.log"
exit $status
