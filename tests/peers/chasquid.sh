# chasquid: finds its way by DNS, TLS where it is offered.
account chasquid 108 /var/lib/chasquid
domain=${from#*@}
rm -rf "$root/var/lib/chasquid" "$root/etc/chasquid"
mkdir -p "$root/etc/chasquid/certs/$domain" "$root/etc/chasquid/domains/$domain" "$root/var/log" "$root/etc/ssl/certs"
install -d -o 108 -g 108 "$root/var/lib/chasquid"
# It trusts the system's authorities only.
cp "$root/authority.pem" "$root/etc/ssl/certs/ca-certificates.crt"
# It takes mail from who logs in under TLS.
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$domain" -addext "subjectAltName=DNS:$domain" \
  -keyout "$root/etc/chasquid/certs/$domain/privkey.pem" -out "$root/etc/chasquid/certs/$domain/fullchain.pem" 2>/dev/null
cat > "$root/etc/chasquid/chasquid.conf" <<X
hostname: "$domain"
smtp_address: "127.0.0.1:2525"
submission_address: "127.0.0.1:2587"
mail_log_path: "/var/log/mail.log"
X
chown -R 108:108 "$root/etc/chasquid"
: > "$root/var/log/mail.log"; chown 108 "$root/var/log/mail.log"
in_root chasquid-util user-add "$from" --password=secret > /dev/null
chown -R 108:108 "$root/etc/chasquid"
in_root chroot --userspec=108:108 / chasquid > "$root/var/log/chasquid.log" 2>&1 &
submit() {
  python3 - "$root/message.eml" "$from" "$@" <<'X'
import smtplib, ssl, sys, time
for _ in range(100):
    try:
        smtp = smtplib.SMTP('127.0.0.1', 2587, timeout=30)
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
smtp.starttls(context=context)
smtp.login(sys.argv[2], 'secret')
smtp.sendmail(sys.argv[2], sys.argv[3:], open(sys.argv[1], 'rb').read())
smtp.quit()
X
}
letters "$@"
status=0
wait_empty ls -A "$root/var/lib/chasquid/queue" || status=$?
cat "$root/var/log/mail.log" "$root/var/log/chasquid.log"
exit $status
