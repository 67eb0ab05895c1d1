# OpenSMTPD: takes mail for two people of one domain, with STARTTLS.
account opensmtpd 104 /run/opensmtpd
account opensmtpq 105 /run/opensmtpd
account vmail 5000 /vmail
rm -rf "$root/var/run" "$root/var/spool/smtpd"
ln -s /run "$root/var/run"
mkdir -p "$root/run/opensmtpd" "$root/var/empty" "$root/var/spool/smtpd" "$root/etc/mail"
chmod 711 "$root/var/spool/smtpd"
chmod 600 "$root/far.key"
install -d -o 5000 -g 5000 -m 700 "$root/vmail"
# It does not start without authorities, although it asks nobody for a certificate here.
mkdir -p "$root/etc/ssl/certs" "$root/usr/lib/ssl"
cp "$root/far.crt" "$root/etc/ssl/certs/ca-certificates.crt"
cp "$root/far.crt" "$root/etc/ssl/cert.pem"
ln -sfn /etc/ssl/cert.pem "$root/usr/lib/ssl/cert.pem"
cat > "$root/etc/smtpd.conf" <<X
pki far cert "/far.crt"
pki far key "/far.key"
table people { ben = 5000:5000:/vmail, cleo = 5000:5000:/vmail }
listen on $address port 25 tls pki far hostname mx.$domain
action "box" maildir "/vmail/%{dest.user}" userbase <people>
match from any for domain "$domain" action "box"
X
in_root smtpd -d -f /etc/smtpd.conf > "$root/var/log/smtpd.log" 2>&1
