# Sendmail: takes mail for two people of one domain, with STARTTLS.
account smmta 106 /var/lib/sendmail
account smmsp 107 /var/lib/sendmail
for person in ben cleo; do
  grep -q "^$person:" "$root/etc/passwd" || echo "$person:x:5000:5000::/vmail:/bin/sh" >> "$root/etc/passwd"
done
mkdir -p "$root/etc/mail" "$root/var/log" "$root/etc/ssl/certs"
rm -rf "$root/var/spool/mqueue"
mkdir -p "$root/var/lib/sendmail/host_status"
install -d -o 0 -g 0 -m 700 "$root/var/spool/mqueue"
chmod 600 "$root/far.key"
cat > "$root/etc/mail/far.mc" <<X
include(\`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(\`debian')dnl
define(\`confDOMAIN_NAME', \`mx.$domain')dnl
LOCAL_DOMAIN(\`$domain')dnl
define(\`confCACERT', \`/far.crt')dnl
define(\`confCACERT_PATH', \`/etc/ssl/certs')dnl
define(\`confSERVER_CERT', \`/far.crt')dnl
define(\`confSERVER_KEY', \`/far.key')dnl
dnl However busy the machine, it takes mail.
define(\`confQUEUE_LA', \`1000')dnl
define(\`confREFUSE_LA', \`1000')dnl
define(\`confSERVICE_SWITCH_FILE', \`/etc/mail/service.switch')dnl
define(\`confTO_IDENT', \`0s')dnl
define(\`LOCAL_MAILER_PATH', \`/box')dnl
define(\`LOCAL_MAILER_ARGS', \`box \$u')dnl
FEATURE(\`no_default_msa')dnl
FEATURE(\`accept_unresolvable_domains')dnl
FEATURE(\`nouucp', \`reject')dnl
DAEMON_OPTIONS(\`Family=inet, Name=MTA, Port=smtp, Addr=$address')dnl
MAILER(\`local')dnl
MAILER(\`smtp')dnl
X
printf 'hosts\tfiles dns\naliases\tfiles\n' > "$root/etc/mail/service.switch"
printf '#!/bin/sh\nexec cat >> "/vmail/$1"\n' > "$root/box"
chmod 755 "$root/box"
in_root sh -c 'cd /etc/mail && m4 far.mc > far.cf'
: > "$root/etc/mail/aliases"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /usr/libexec/sendmail/sendmail -C /etc/mail/far.cf -bD -q30s
